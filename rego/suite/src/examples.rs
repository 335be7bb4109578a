//! The worked examples of OPA's documentation: folders that hold a policy, what it is asked with, and the answer that the
//! page shows.
use crate::Case;
use postern_rego::ast::Version;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::io;
use std::path::Path;

/// What a page asks the policy, where it is not the whole package.
#[derive(Default, Deserialize)]
struct Page {
    command: Option<String>,
}

/// The examples below a folder whose page shows an answer, in the order of their paths.
///
/// # Errors
/// A file that cannot be read or understood.
pub fn from_documentation(folder: &Path) -> io::Result<Vec<Case>> {
    let mut found = Vec::new();
    collect(folder, folder, &mut found)?;
    Ok(found)
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Case>) -> io::Result<()> {
    if folder.join("policy.rego").is_file() && folder.join("output.json").is_file() {
        found.push(example(root, folder)?);
    }
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries.iter().filter(|entry| entry.path().is_dir()) {
        collect(root, &entry.path(), found)?;
    }
    Ok(())
}

fn example(root: &Path, folder: &Path) -> io::Result<Case> {
    let policy = std::fs::read_to_string(folder.join("policy.rego"))?;
    let page: Page = json(&folder.join("config.json"))?.unwrap_or_default();
    let asked = page
        .command
        .or_else(|| package(&policy))
        .ok_or_else(|| io::Error::other(format!("`{}` asks nothing and has no package", folder.display())))?;
    let answer: Value = json(&folder.join("output.json"))?.unwrap_or_default();
    Ok(Case {
        note: folder.strip_prefix(root).unwrap_or(folder).display().to_string(),
        query: format!("x = {asked}"),
        modules: vec![policy],
        data: json(&folder.join("data.json"))?,
        input: json(&folder.join("input.json"))?,
        input_term: None,
        want_result: Some(vec![Map::from_iter([("x".to_owned(), answer)])]),
        want_error_code: None,
        want_error: None,
        sort_bindings: false,
        strict_error: false,
        experimental_keywords: false,
        folder: "documentation".to_owned(),
        version: Version::V1,
    })
}

fn package(policy: &str) -> Option<String> {
    let line = policy.lines().find_map(|line| line.strip_prefix("package "))?;
    Some(format!("data.{}", line.split_whitespace().next()?))
}

/// What a file holds; `None` where there is none.
fn json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path)?;
    // A page with an empty pane.
    if text.trim().is_empty() {
        return Ok(None);
    }
    let read = serde_json::from_str(&text);
    read.map(Some).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}
