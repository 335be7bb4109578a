//! A document that names a file of this repository names one that is there.

use std::path::{Component, Path, PathBuf};

use super::{Finding, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (index, line) in text.lines().enumerate() {
            for target in links(line) {
                if !exists(tree, path, target) {
                    findings.push(Finding::new(
                        path,
                        index + 1,
                        format!("links to `{target}`, which is not there"),
                    ));
                }
            }
        }
    }
    findings
}

/// The targets of `[text](target)` that are files: no scheme, no bare anchor.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()).filter(|target| {
        !target.is_empty()
            && !target.starts_with('#')
            && !target.contains("://")
            && !target.starts_with("mailto:")
    })
}

fn exists(tree: &Tree, from: &str, target: &str) -> bool {
    let file = target.split('#').next().unwrap_or_default();
    let mut path = Path::new(from).parent().map(Path::to_path_buf).unwrap_or_default();
    for part in Path::new(file).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            Component::RootDir => path = PathBuf::new(),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let path = path.to_string_lossy().into_owned();
    tree.texts.contains_key(&path) || tree.folders.contains(&path) || path.is_empty()
}

#[cfg(test)]
mod tests {
    use super::links;

    #[test]
    fn only_links_to_files_count() {
        let line = "see [a](b.md#c), [d](https://postern.dev), [e](#f) and [g](../h/i.rs)";
        assert_eq!(links(line).collect::<Vec<_>>(), ["b.md#c", "../h/i.rs"]);
    }
}
