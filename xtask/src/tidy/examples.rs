//! Every example policy can be read and is run: a folder has a README and cases.

use super::{Finding, Tree};

const FOLDER: &str = "examples/policies/";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in &tree.folders {
        let Some(name) = folder.strip_prefix(FOLDER).filter(|name| !name.contains('/')) else { continue };
        for wanted in ["README.md", "cases.yaml"] {
            if !tree.texts.contains_key(&format!("{FOLDER}{name}/{wanted}")) {
                findings.push(Finding::new(folder, 0, format!("an example has a `{wanted}`")));
            }
        }
    }
    findings
}
