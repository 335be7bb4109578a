//! The leaves depend on no other room, and on nothing that does I/O; nothing in the tree brings a second TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Finding;

/// Pure libraries: bytes, strings and `now` in; values out.
const LEAVES: [(&str, &str); 4] = [
    ("postern-identity", "identity"),
    ("postern-rego", "rego"),
    ("postern-policy", "policy"),
    ("postern-audit", "audit"),
];

/// What a leaf of ours may stand on that is ours as well.
const STANDS_ON: [(&str, &str); 1] = [("postern-policy", "postern-rego")];

/// What a leaf must not reach by any path.
const FORBIDDEN: [&str; 8] = ["tokio", "hyper", "http", "tonic", "tower", "reqwest", "mio", "async-std"];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    /// `null` for a dependency of the product itself.
    kind: Option<String>,
}

pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata is not understood")?;
    Ok(judge(&metadata))
}

fn judge(metadata: &Metadata) -> Vec<Finding> {
    let names: BTreeMap<&str, &str> =
        metadata.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect();
    let mut findings = Vec::new();
    for (leaf, folder) in LEAVES {
        let Some(package) = metadata.packages.iter().find(|package| package.name == leaf) else { continue };
        for reached in reachable(metadata, &package.id) {
            let name = names.get(reached).copied().unwrap_or_default();
            let own = name == leaf || STANDS_ON.contains(&(leaf, name));
            if FORBIDDEN.contains(&name) || (name.starts_with("postern-") && !own) {
                let message = format!(
                    "`{leaf}` is a leaf and must not reach `{name}`; see `cargo tree -p {leaf} -i {name}`"
                );
                findings.push(Finding::new(&format!("{folder}/Cargo.toml"), 0, message));
            }
        }
    }
    findings
}

/// Every package that the product of `from` is built of.
fn reachable<'a>(metadata: &'a Metadata, from: &'a str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let Some(node) = metadata.resolve.nodes.iter().find(|node| node.id == id) else { continue };
        let normal = |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
        open.extend(node.deps.iter().filter(normal).map(|dependency| dependency.pkg.as_str()));
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dependencies: &str, expected: &[&str]) {
        let text = format!(
            r#"{{"packages":[{{"id":"a","name":"postern-audit"}},{{"id":"t","name":"tokio"}},{{"id":"m","name":"middle"}},
                {{"id":"p","name":"postern-policy"}}],
               "resolve":{{"nodes":[{{"id":"a","deps":[{dependencies}]}},
                {{"id":"m","deps":[{{"pkg":"t","dep_kinds":[{{"kind":null}}]}}]}},{{"id":"t","deps":[]}},{{"id":"p","deps":[]}}]}}}}"#
        );
        let findings = judge(&serde_json::from_str(&text).expect("metadata"));
        assert_eq!(findings.len(), expected.len(), "{findings:?}");
        for (finding, name) in findings.iter().zip(expected) {
            assert!(finding.message.contains(name), "{finding}");
        }
    }

    #[test]
    fn a_leaf_that_reaches_a_runtime_or_another_room_is_found_at_any_distance() {
        check("", &[]);
        check(r#"{"pkg":"m","dep_kinds":[{"kind":null}]}"#, &["tokio"]);
        check(r#"{"pkg":"p","dep_kinds":[{"kind":null}]}"#, &["postern-policy"]);
    }

    #[test]
    fn what_only_tests_use_is_allowed() {
        check(r#"{"pkg":"m","dep_kinds":[{"kind":"dev"}]}"#, &[]);
    }
}
