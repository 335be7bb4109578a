//! `unsafe` is forbidden in the leaves, and elsewhere stands only in a file of its own that is listed here.

use super::{Finding, Tree};

/// The files that consist of unsafe code, and what for.
const ALLOWED: [(&str, &str); 4] = [
    ("proxy/src/log/mapping.rs", "a file mapped into memory, so that what is filed outlives the process"),
    ("proxy/src/memory/release.rs", "asks the C library's allocator to give back what is free"),
    ("proxy/src/handover/adopted.rs", "descriptors that a service manager passes by their numbers"),
    ("proxy/src/presence/acknowledged.rs", "asks the kernel when a peer has last acknowledged something"),
];

/// Crates that forbid it in their first lines.
const LEAVES: [&str; 3] = ["identity", "policy", "audit"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.sources {
        if ALLOWED.iter().any(|(path, _)| source.path == *path) {
            continue;
        }
        for (line, code) in source.lines().filter(|(_, code)| has_word(code, "unsafe")) {
            let about_the_lint = code.contains("unsafe_code");
            if !about_the_lint {
                let message = "`unsafe` outside the files listed in xtask/src/tidy/unsafe_code.rs";
                findings.push(Finding::new(&source.path, line, message));
            }
        }
    }
    for leaf in LEAVES {
        let path = format!("{leaf}/src/lib.rs");
        let forbids = |text: &String| text.contains("#![forbid(unsafe_code)]");
        if tree.texts.get(&path).is_some_and(|text| !forbids(text)) {
            findings.push(Finding::new(&path, 0, "a leaf says `#![forbid(unsafe_code)]`"));
        }
    }
    for source in tree.sources.iter().filter(|source| ALLOWED.iter().any(|(path, _)| source.path == *path)) {
        if !source.lines().any(|(_, code)| has_word(code, "unsafe")) {
            findings.push(Finding::new(
                &source.path,
                0,
                "listed as unsafe, but is not: take it off the list",
            ));
        }
    }
    findings
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}
