//! What people declare: read from YAML or TOML, checked field by field, then as a whole fleet.
//! It opens no file and asks no database: texts and what is in effect are given.
//!
//! - `parse`: texts to typed definitions; every fault has file, line, field and what is allowed there.
//! - `validate`: declared and existing objects together; all or nothing.
//! - `describe`, `references`, `delete`: questions about what is in effect.

mod check;
mod declared;
mod delete;
mod describe;
mod document;
mod edges;
mod error;
mod fields;
pub mod limits;
mod places;
mod rename;
mod schedule_fit;
mod schedule_shape;
mod suggest;
mod sync_check;
mod target_check;
mod text;
mod toml;
mod validate;
mod yaml;

pub use declared::{Declared, parse};
pub use delete::{DeleteError, delete};
pub use describe::{DescribedField, Description, Origin, describe, names, object};
pub use edges::{Reference, references};
pub use error::{DefinitionError, Warning, code};
pub use places::{Place, Places};
pub use rename::{Rename, renames};
pub use validate::{Accepted, Prunable, validate, validate_pruned};
