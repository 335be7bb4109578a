//! OPA's cases about what the author of a policy is told: which errors, and where. The words are ours.
use crate::Tally;
use crate::cases::texts_in;
use postern_rego::ast::Version;
use postern_rego::{Source, problems};
use serde::Deserialize;
use std::io;
use std::path::Path;

/// One case.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Its name.
    pub note: String,
    /// The modules.
    pub modules: Vec<String>,
    /// What is wrong with them.
    pub want_errors: Vec<Wanted>,
    /// Whether nothing else may be told.
    #[serde(default)]
    pub exhaustive: bool,
    /// Whether `print` is heard.
    #[serde(default)]
    pub print_statements: bool,
    /// The language, where it is not the one of OPA 1.0.
    pub rego_version: Option<String>,
}

/// An error.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Wanted {
    /// Its class.
    pub code: String,
    /// Its row.
    pub row: u32,
    /// Its column.
    pub col: u32,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    cases: Vec<Case>,
}

/// The cases in a gzipped tar.
///
/// # Errors
/// A file that cannot be read or understood.
pub fn from_archive(archive: &Path) -> io::Result<Vec<Case>> {
    let mut all = Vec::new();
    for (path, text) in texts_in(archive)? {
        let file: File = serde_saphyr::from_str(&text)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        all.extend(file.cases);
    }
    Ok(all)
}

/// Judges cases.
pub fn tally(cases: &[Case]) -> Tally {
    let mut tally = Tally::default();
    for case in cases {
        tally.cases += 1;
        if case.print_statements {
            // What decides is compiled without it, whatever it mentions.
            *tally.refused.entry("`print` is left out".to_owned()).or_default() += 1;
            continue;
        }
        let told = told(case);
        let missing = case.want_errors.iter().any(|wanted| !told.contains(wanted));
        if missing || case.exhaustive && told.len() != case.want_errors.len() {
            let how = format!("told {told:?}, wanted {:?}", case.want_errors);
            tally.wrong.push((case.note.clone(), how));
        } else {
            tally.passed += 1;
        }
    }
    tally
}

fn told(case: &Case) -> Vec<Wanted> {
    let version = if case.rego_version.as_deref() == Some("v0") { Version::V0 } else { Version::V1 };
    let names: Vec<String> = (0..case.modules.len()).map(|index| format!("test-{index}.rego")).collect();
    let sources = case.modules.iter().zip(&names);
    let sources: Vec<Source<'_>> = sources.map(|(text, name)| Source { name, text, version }).collect();
    let told = problems(&sources).into_iter();
    told.map(|one| Wanted { code: one.code.to_owned(), row: one.loc.row, col: one.loc.col }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_are_told_what_opa_tells_them() {
        let Some(root) = std::env::var_os("POSTERN_DATA") else {
            println!("SKIPPED authors_are_told_what_opa_tells_them: POSTERN_DATA is not set");
            return;
        };
        let archive = Path::new(&root).join("opa-cases/compilecases.tar.gz");
        if !archive.exists() {
            println!("SKIPPED authors_are_told_what_opa_tells_them: there are no cases of diagnostics");
            return;
        }
        let tally = tally(&from_archive(&archive).unwrap());
        assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
        assert!(tally.passed >= 10, "{tally:?}");
    }
}
