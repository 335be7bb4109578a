//! `postern policy`: what people who write policies need before a bundle is built. Nothing here decides for a service.
mod bench;
mod check;
mod diff;
mod eval;
mod new;
mod prove;
mod replay;
mod test;
#[cfg(test)]
mod tests;

use crate::sources::policy::{DirectoryError, files_at};
use crate::sources::watched_file::{self, FileError};
use postern_policy::tooling::{CASES_FILE, CasesError, EvalError, Suite, SuiteError, TABLE_BYTES_MAX, Table};
use postern_policy::{BundleError, Entry};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Arguments of `policy`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Write a policy to begin with: a bundle's folder, its tests and its cases
    New(new::Args),
    /// Run the tests of policies: `test_` rules and the cases of `cases.yaml`
    Test(test::Args),
    /// Tell what is wrong with policies, what in them has no effect, and what will be slow
    Check(check::Args),
    /// Ask a policy one question, and explain the answer
    Eval(eval::Args),
    /// Tell what two policies decide differently
    Diff(diff::Args),
    /// Decide recorded decisions again, and tell which come out differently
    Replay(replay::Args),
    /// Measure how long decisions take on this machine
    Bench(bench::Args),
    /// Prove what a change of Cedar policies can let through, or show an example
    Prove(prove::Args),
}

#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Source(#[from] DirectoryError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("`{}`: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Suite(#[from] SuiteError),
    #[error(transparent)]
    Cases(#[from] CasesError),
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error("{0}")]
    Other(String),
    #[error("cannot write the report: {0}")]
    Report(#[from] io::Error),
}

/// A bundle as it lies on disk.
const FILES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Exit code 0 as asked, 1 refused or failed.
pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let outcome = match &args.action {
        Action::New(args) => new::run(args, out),
        Action::Test(args) => test::run(args, out, err),
        Action::Check(args) => check::run(args, out),
        Action::Eval(args) => eval::run(args, out),
        Action::Diff(args) => diff::run(args, out),
        Action::Replay(args) => replay::run(args, out),
        Action::Bench(args) => bench::run(args, out),
        Action::Prove(args) => return prove::run(args, err),
    };
    match outcome {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => super::fail(err, &error),
    }
}

/// Where a policy and its cases lie.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    bundle: PathBuf,
    cases: Option<PathBuf>,
}

impl Place {
    /// Finds both by a path: a bundle's folder, the folder around it, or an archive.
    fn of(path: &Path, cases: Option<&Path>) -> Self {
        let inner = path.join("bundle");
        let around = !path.join(".manifest").exists() && inner.is_dir();
        let bundle = if around { inner } else { path.to_owned() };
        let beside = path.join(CASES_FILE);
        let above = path.parent().map(|parent| parent.join(CASES_FILE));
        let above = above.filter(|_| !around && path.file_name().is_some_and(|name| name == "bundle"));
        let found = [Some(beside), above].into_iter().flatten().find(|file| file.is_file());
        Self { bundle, cases: cases.map(Path::to_owned).or(found) }
    }

    /// What decides, by the table of cases; `None` without one.
    fn entry(&self) -> Result<Option<Entry>, CommandError> {
        let Some(path) = &self.cases else { return Ok(None) };
        Ok(Some(Table::read(&path.display().to_string(), &read_table(path)?)?.decision.entry()))
    }

    /// The bundle's files.
    fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, CommandError> {
        files_at(&self.bundle, FILES_BYTES_MAX).map_err(|error| {
            let DirectoryError::Bundle(what) = error else { return error.into() };
            let mend = if matches!(what, BundleError::Archive { .. }) {
                "; name an archive, a bundle's folder, or the folder around it"
            } else {
                ""
            };
            CommandError::Other(format!("`{}`: {what}{mend}", self.bundle.display()))
        })
    }

    fn suite(&self) -> Result<Suite, CommandError> {
        let files = self.files()?;
        let root = self.bundle.display().to_string();
        let Some(path) = &self.cases else {
            return Ok(Suite { root, files, table: None, cases: Vec::new() });
        };
        let name = path.display().to_string();
        let table = Table::read(&name, &read_table(path)?)?;
        let beside = path.parent().unwrap_or(Path::new(""));
        let other = |name: &str| {
            let refuse = |error: FileError| CasesError { file: name.to_owned(), what: error.to_string() };
            read_table(&beside.join(name)).map_err(refuse)
        };
        let cases = table.all_cases(&other)?;
        Ok(Suite { root, files, table: Some((name, table)), cases })
    }
}

fn write_file(path: &Path, text: &str) -> Result<(), CommandError> {
    std::fs::write(path, text).map_err(|error| CommandError::Io { path: path.to_owned(), error })
}

fn read_table(path: &Path) -> Result<Vec<u8>, FileError> {
    watched_file::read(path, TABLE_BYTES_MAX as u64)
}

/// A file, or standard input for `-`.
fn read_input(path: &Path) -> Result<Vec<u8>, CommandError> {
    const INPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;
    if path != Path::new("-") {
        return Ok(watched_file::read(path, INPUT_BYTES_MAX)?);
    }
    let mut content = Vec::new();
    let failed = |error| CommandError::Io { path: PathBuf::from("standard input"), error };
    let mut limited = io::Read::take(io::stdin().lock(), INPUT_BYTES_MAX.saturating_add(1));
    io::Read::read_to_end(&mut limited, &mut content).map_err(failed)?;
    if content.len() as u64 > INPUT_BYTES_MAX {
        return Err(CommandError::Other(format!("standard input holds more than {INPUT_BYTES_MAX} bytes")));
    }
    Ok(content)
}
