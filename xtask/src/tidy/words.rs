//! Words that must not stand in the tree: paths of one machine, hosts of registries, what is not finished.

use super::{Finding, Tree};

/// The pattern, written so that this file does not contain it, where it may stand, and what is wrong with it.
const FORBIDDEN: [(&str, &str, &[&str], &str); 11] = [
    ("../", "shared", &[".ci/run"], "a path outside the repository"),
    ("/wo", "rk/", &[], "a path of one machine"),
    ("/ro", "ot/", &[], "a path of one machine"),
    ("/ho", "me/", &[], "a path of one machine"),
    ("proxy.gol", "ang.org", &[], "a registry's host"),
    ("sum.gol", "ang.org", &[], "a registry's host"),
    ("index.cra", "tes.io", &[], "a registry's host"),
    ("pyp", "i.org", &[], "a registry's host"),
    ("registry.npm", "js.org", &[], "a registry's host"),
    ("todo", "!(", &[], "something not finished"),
    ("FIX", "ME", &[], "something not finished"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts.iter().filter(|(path, _)| path.as_str() != "Cargo.lock") {
        for (first, rest, allowed, why) in FORBIDDEN {
            let pattern = format!("{first}{rest}");
            if allowed.contains(&path.as_str()) || !text.contains(&pattern) {
                continue;
            }
            for (index, _) in text.lines().enumerate().filter(|(_, line)| line.contains(&pattern)) {
                findings.push(Finding::new(path, index + 1, format!("`{pattern}`: {why}")));
            }
        }
    }
    findings
}
