//! Where the examples lie: a folder is a topic, with one table of cases for the policies in each language below it.
use postern_policy::tooling::{CASES_FILE, CasesError, Suite, Table};
use std::fs;
use std::path::{Path, PathBuf};

/// The topics.
pub(crate) fn topics() -> Vec<PathBuf> {
    folders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policies"))
}

/// The policies of a topic: one in each language; the demo's is one alone.
pub(crate) fn policies(topic: &Path) -> Vec<PathBuf> {
    if topic.join("bundle").is_dir() { vec![topic.to_owned()] } else { folders(topic) }
}

/// All policies, in order; those alone whose name has `POSTERN_EXAMPLE` in it, for whoever is writing one.
pub(crate) fn all() -> Vec<PathBuf> {
    let wanted = std::env::var("POSTERN_EXAMPLE").unwrap_or_default();
    let all = topics();
    let all = all.iter().flat_map(|topic| policies(topic));
    all.filter(|policy| name(policy).contains(&wanted)).collect()
}

/// What a policy is called: `rbac/rego`.
pub(crate) fn name(policy: &Path) -> String {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let topic = policy.parent().map(name).unwrap();
    if topic == "policies" { name(policy) } else { format!("{topic}/{}", name(policy)) }
}

/// A policy with its cases.
pub(crate) fn suite(policy: &Path) -> Suite {
    let mut files = Vec::new();
    sources(&policy.join("bundle"), "", &mut files);
    let read = |name: &str| {
        let refuse = |error: std::io::Error| CasesError { file: name.to_owned(), what: error.to_string() };
        fs::read(policy.join(name)).map_err(refuse)
    };
    let table = Table::read(CASES_FILE, &read(CASES_FILE).unwrap());
    let table = table.unwrap_or_else(|error| panic!("{}: {error}", name(policy)));
    let cases = table.all_cases(&read).unwrap_or_else(|error| panic!("{}: {error}", name(policy)));
    let table = Some((CASES_FILE.to_owned(), table));
    Suite { root: name(policy), files: files.into_iter().collect(), table, cases }
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn sources(folder: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            sources(&path, &format!("{name}/"), files);
        } else {
            files.push((name, fs::read(&path).unwrap()));
        }
    }
}
