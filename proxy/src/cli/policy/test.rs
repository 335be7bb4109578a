//! `postern policy test`.
use super::{CommandError, Place, write_file};
use crate::clock::{Clock, SystemClock};
use crate::sources::policy::stamps_at;
use crate::sources::watched_file::Stamp;
use postern_policy::tooling::{NameFilter, Report, Selection, json, junit, plain, sarif, shown_json};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `policy test`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A bundle's folder, the folder around it with its `cases.yaml`, or an archive
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The table of cases, where it lies elsewhere
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,
    /// Only tests whose name matches this regular expression: `data.a.test_b`, or the name of a case
    #[arg(long = "run", value_name = "PATTERN")]
    filter: Option<NameFilter>,
    /// Tell which lines the tests reach, and which they do not
    #[arg(long)]
    coverage: bool,
    /// Run them again whenever a file changes, until interrupted
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Name the tests that pass as well
    #[arg(short, long)]
    verbose: bool,
    /// One JSON object instead of a report
    #[arg(long)]
    json: bool,
    /// Write JUnit's XML as well
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write what failed as SARIF as well
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
}

/// How often files are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Whether all passed.
pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> Result<bool, CommandError> {
    if !args.watch {
        return once(args, out);
    }
    watch(args, out, err, &mut || {
        std::thread::sleep(POLL_INTERVAL);
        true
    })
}

fn once(args: &Args, out: &mut dyn Write) -> Result<bool, CommandError> {
    let clock = SystemClock::new();
    let selection = Selection { filter: args.filter.clone(), coverage: args.coverage };
    let mut all: Option<Report> = None;
    for path in &args.paths {
        let suite = Place::of(path, args.cases.as_deref()).suite()?;
        let report = suite.run(&selection, clock.unix_ns(), &|| clock.monotonic_ns())?;
        match &mut all {
            None => all = Some(report),
            Some(all) => all.extend(report),
        }
    }
    // Clap asks for one path at least.
    let Some(report) = all else { return Ok(true) };
    if let Some(file) = &args.junit {
        write_file(file, &junit(&report))?;
    }
    if let Some(file) = &args.sarif {
        write_file(file, &format!("{:#}\n", sarif(&report)))?;
    }
    if args.json {
        writeln!(out, "{}", shown_json(&json(&report).to_string()))?;
    } else {
        write!(out, "{}", plain(&report, args.verbose))?;
    }
    Ok(report.passed())
}

/// Runs the tests, and again when a file has changed, until `wait` says that it is enough. What is wrong is told and
/// waited out: whoever writes is about to mend it.
pub(super) fn watch(
    args: &Args,
    out: &mut dyn Write,
    err: &mut dyn Write,
    wait: &mut dyn FnMut() -> bool,
) -> Result<bool, CommandError> {
    let mut seen = None;
    let mut passed = false;
    loop {
        let now = stamps(args);
        if seen.as_ref() != Some(&now) {
            seen = Some(now);
            passed = once(args, out).unwrap_or_else(|error| {
                drop(writeln!(err, "error: {error}"));
                false
            });
            writeln!(out, "--- waiting for a change; interrupt to end ---")?;
            out.flush()?;
        }
        if !wait() {
            return Ok(passed);
        }
    }
}

/// What would differ after a change; what cannot be read is nothing until it can.
fn stamps(args: &Args) -> Vec<(PathBuf, Stamp)> {
    let mut stamps = Vec::new();
    for path in &args.paths {
        let place = Place::of(path, args.cases.as_deref());
        stamps.extend(stamps_at(&place.bundle).unwrap_or_default());
        if let Some(cases) = place.cases {
            stamps.extend(stamps_at(&cases).unwrap_or_default());
        }
    }
    stamps
}
