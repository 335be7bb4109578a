//! The whole suite: get the peers, build the binary, run every test of the workspace, count.
//!
//! A test that lacks something to run against prints one line `SKIPPED <name>: <what it lacked>` on its standard
//! output and returns. Such a test is counted as skipped, not as passed, and its reason is printed at the end.

mod tally;

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::{Ended, run_streamed};
use crate::tools::{NeededBy, Provided, Shed};
use tally::Tally;

/// Longest time in which the build or a test may print nothing. The slowest journey takes 90 s.
const SILENCE_MAX: Duration = Duration::from_secs(900);

/// How much is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// All tests, one journey per real component.
    #[default]
    One,
    /// Those marked `#[ignore]` as well: the long ones.
    Full,
}

/// What to run, and what ran before.
#[derive(Debug, Default)]
pub struct Options {
    pub tier: Tier,
    /// Only tests whose name contains one of these; all, when there are none.
    pub filters: Vec<String>,
    /// Steps that ran before (format, lints, licences), counted like tests.
    pub checks: Vec<Check>,
}

/// A step that is no Rust test: `passed:format`, `failed:lint:cargo clippy found something`, `skipped:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    outcome: Outcome,
    name: String,
    why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

impl FromStr for Check {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.splitn(3, ':');
        let outcome = match parts.next() {
            Some("passed") => Outcome::Passed,
            Some("failed") => Outcome::Failed,
            Some("skipped") => Outcome::Skipped,
            _ => bail!("`{text}` does not begin with `passed:`, `failed:` or `skipped:`"),
        };
        let Some(name) = parts.next().filter(|name| !name.is_empty()) else {
            bail!("`{text}` names no check");
        };
        Ok(Self { outcome, name: name.to_owned(), why: parts.next().unwrap_or_default().to_owned() })
    }
}

/// Runs the suite. The last line on standard output is `N passed, N failed, N skipped`.
///
/// # Errors
/// When the tool catalogue cannot be read or cargo cannot be started; a failing test is a failing exit code.
pub fn run(root: &Path, options: &Options) -> Result<ExitCode> {
    let started = Instant::now();
    let mut tally = Tally::default();
    for check in &options.checks {
        match check.outcome {
            Outcome::Passed => tally.pass(),
            Outcome::Failed => tally.fail(&check.name, &check.why),
            Outcome::Skipped => tally.skip(&check.name, &check.why),
        }
    }
    let mut environment = get_peers()?;
    note(&format!("peers after {} s", started.elapsed().as_secs()));
    if build_binary(root, &mut tally)? {
        environment.push(("POSTERN_BIN".to_owned(), binary(root)));
    }
    note(&format!("binary after {} s", started.elapsed().as_secs()));
    run_tests(root, options, &environment, &mut tally)?;
    if options.tier == Tier::Full {
        run_fips(root, &mut tally)?;
    }
    note(&format!("tests after {} s", started.elapsed().as_secs()));
    print!("{}", tally.summary());
    println!("{} passed, {} failed, {} skipped", tally.passed(), tally.failed.len(), tally.skipped.len());
    std::io::stdout().flush()?;
    Ok(if tally.failed.is_empty() && tally.passed() > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn note(text: &str) {
    println!("xtask: {text}");
}

/// The peers that can be had; says which cannot. Tests that need one of those say so themselves, each.
fn get_peers() -> Result<Provided> {
    let shed = Shed::open()?;
    let mut environment = Provided::new();
    for name in shed.names_needed_by(NeededBy::Tests) {
        match shed.obtain(&name) {
            Ok(provided) => environment.extend(provided),
            Err(error) => {
                note(&format!("`{name}` cannot be had, so its tests are skipped: {error:#}"));
            }
        }
    }
    Ok(environment)
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Where cargo puts the binary.
fn binary(root: &Path) -> std::path::PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    root.join(target).join("debug/postern")
}

/// The tests drive the real binary, which cargo does not build for a test of another package.
fn build_binary(root: &Path, tally: &mut Tally) -> Result<bool> {
    let mut command = cargo(root);
    command.args(["build", "--locked", "--package", "postern-proxy", "--bin", "postern"]);
    match run_streamed(command, SILENCE_MAX, &mut |line| println!("{line}"))? {
        Ended::Exited(status) if status.success() => return Ok(true),
        Ended::Exited(status) => tally.fail("build of the binary", &status.to_string()),
        Ended::Silent(limit) => tally.fail("build of the binary", &silent(limit)),
    }
    Ok(false)
}

fn run_tests(root: &Path, options: &Options, environment: &Provided, tally: &mut Tally) -> Result<()> {
    let mut command = cargo(root);
    command.args(["test", "--locked", "--workspace", "--no-fail-fast", "--", "--show-output"]);
    if options.tier == Tier::Full {
        command.arg("--include-ignored").env("POSTERN_FULL", "1");
    }
    command.args(&options.filters);
    command.envs(environment.iter().map(|(name, path)| (name, path)));
    let failed_before = tally.failed.len();
    let ended = run_streamed(command, SILENCE_MAX, &mut |line| {
        if tally.line(line) == tally::Show::Yes {
            println!("{line}");
        }
    })?;
    match ended {
        Ended::Exited(status) if status.success() || tally.failed.len() > failed_before => {}
        Ended::Exited(status) => {
            tally.fail("cargo test", &format!("no test failed, yet it ended with {status}"))
        }
        Ended::Silent(limit) => tally.fail("cargo test", &silent(limit)),
    }
    Ok(())
}

/// The build with the feature `fips`, in a folder of its own: it would take the place of everything in the usual one.
fn run_fips(root: &Path, tally: &mut Tally) -> Result<()> {
    let steps: [&[&str]; 2] = [
        &["test", "--locked", "-p", "postern-identity", "--features", "fips", "--", "--show-output", "fips"],
        &["run", "--locked", "-p", "postern-proxy", "--features", "fips", "--", "--version"],
    ];
    for step in steps {
        let mut command = cargo(root);
        command.args(step).env("CARGO_TARGET_DIR", root.join("target/fips"));
        let ended = run_streamed(command, FIPS_SILENCE_MAX, &mut |line| {
            if tally.line(line) == tally::Show::Yes {
                println!("{line}");
            }
        })?;
        match ended {
            Ended::Exited(status) if status.success() => {}
            Ended::Exited(status) => tally.fail("the FIPS build", &status.to_string()),
            Ended::Silent(limit) => tally.fail("the FIPS build", &silent(limit)),
        }
    }
    Ok(())
}

/// The module is built in one step, and says nothing meanwhile.
const FIPS_SILENCE_MAX: Duration = Duration::from_secs(1800);

fn silent(limit: Duration) -> String {
    format!("killed, because it printed nothing for {} s", limit.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_read_with_its_reason() {
        let check: Check = "skipped:licences:cargo-deny: no such host".parse().expect("a check");
        assert_eq!(check.outcome, Outcome::Skipped);
        assert_eq!((check.name.as_str(), check.why.as_str()), ("licences", "cargo-deny: no such host"));
    }

    #[test]
    fn a_check_without_outcome_or_name_is_refused() {
        for bad in ["", "passed", "passed:", "fine:lint"] {
            assert!(bad.parse::<Check>().is_err(), "`{bad}`");
        }
    }
}
