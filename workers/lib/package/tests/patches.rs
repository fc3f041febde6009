//! Patches between revisions of real trees: they give exactly what a builder stored, or nothing.

mod support;

use package::patch::{IndexContent, PatchName, apply_index, make_index};
use package::{EncodedIndex, FormatError};
use support::Source;

/// Two revisions of 400 files, one of them edited.
fn two_indexes() -> (EncodedIndex, EncodedIndex) {
    let source = Source::new();
    (0..400).for_each(|n| drop(source.write(&format!("d{}/{n}.txt", n % 9), format!("{n}").repeat(100))));
    let (first, _) = support::build(&source.sources(), None);
    source.write("d3/12.txt", "edited");
    let (second, _) = support::build(&source.sources(), Some(&first.index));
    (first.index.seal(), second.index.seal())
}

fn content(index: &EncodedIndex) -> IndexContent {
    IndexContent::of(&index.bytes).unwrap()
}

#[test]
fn an_index_patch_gives_the_stored_bytes_and_is_a_fraction_of_them() {
    let (first, second) = two_indexes();
    let name = PatchName::index(first.at.digest, second.at.digest);
    let patch = make_index(&name, &content(&first), &content(&second), second.at.bytes).unwrap();
    assert!(patch.len() as u64 * 20 < second.at.bytes, "{} of {}", patch.len(), second.at.bytes);
    assert_eq!(apply_index(&name, &patch, &content(&first), &second.at).unwrap(), second);
}

#[test]
fn a_patch_that_is_no_smaller_is_not_offered() {
    let (first, second) = two_indexes();
    let name = PatchName::index(first.at.digest, second.at.digest);
    let bytes = make_index(&name, &content(&first), &content(&second), second.at.bytes).unwrap().len() as u64;
    assert_eq!(make_index(&name, &content(&first), &content(&second), bytes), None);
    assert!(make_index(&name, &content(&first), &content(&second), bytes + 1).is_some());
}

#[test]
fn a_patch_on_another_base_or_of_another_index_gives_nothing() {
    let (first, second) = two_indexes();
    let name = PatchName::index(first.at.digest, second.at.digest);
    let patch = make_index(&name, &content(&first), &content(&second), second.at.bytes).unwrap();
    assert!(apply_index(&name, &patch, &content(&second), &second.at).is_err());
    assert!(apply_index(&name, &patch, &content(&first), &first.at).is_err());
    let wrong = make_index(&name, &content(&first), &content(&first), second.at.bytes).unwrap();
    let error = apply_index(&name, &wrong, &content(&first), &second.at).unwrap_err();
    assert!(matches!(error, FormatError::Damaged { .. } | FormatError::DigestMismatch { .. }), "{error}");
}
