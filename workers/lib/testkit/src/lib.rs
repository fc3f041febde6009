//! What tests need and programs must not have: real services, private ones to break, and servers that misbehave. It
//! knows no role.

pub mod blobs_suite;
pub mod broker;
mod counting;
mod http;
pub mod postgres;
mod private;
mod proxy;
pub mod s3;
pub mod services;
mod table_lock;
mod tampered;

pub use broker::Vhost;
pub use counting::Counting;
pub use postgres::Database;
pub use private::Private;
pub use proxy::Proxy;
pub use services::{Service, Services, services};
pub use table_lock::TableLock;
pub use tampered::{Tamper, Tampered};
