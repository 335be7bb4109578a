//! Which files of a bundle's folder are tests of it.
use std::collections::BTreeMap;

/// Whether a file holds tests of policies, by its name: `*_test.rego`. Tests are no part of what decides.
pub fn is_test_file(name: &str) -> bool {
    name.ends_with("_test.rego")
}

/// The files without those that hold tests.
pub fn without_tests(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let kept = files.iter().filter(|(name, _)| !is_test_file(name));
    kept.map(|(name, content)| (name.clone(), content.clone())).collect()
}
