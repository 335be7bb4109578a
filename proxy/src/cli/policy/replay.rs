//! `postern policy replay`.
use super::diff::decides_of;
use super::{CommandError, Place};
use crate::cli::audit;
use postern_policy::tooling::{Replay, Side, shown_json};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Arguments of `policy replay`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("from").args(["records", "log"]).required(true))]
pub(super) struct Args {
    /// The policy: a bundle's folder, the folder around it with its `cases.yaml`, or an archive
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Records, a line each, as `postern audit inspect --json` prints them; `-` is standard input
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// An audit log's directory, or a copy of it
    #[arg(long, value_name = "DIRECTORY")]
    log: Option<PathBuf>,
    /// The Rego rule that decides, such as `postern/authz/decision`, where no `cases.yaml` names it
    #[arg(long, value_name = "PATH")]
    entry: Option<String>,
    /// End with exit code 1 if a decision differs, or a line is no record
    #[arg(long)]
    fail_on_difference: bool,
    /// One JSON object instead of a report
    #[arg(long)]
    json: bool,
}

/// No record is longer.
const LINE_BYTES_MAX: u64 = 65_536;

/// Whether nothing differs, where that is asked. Fails where nothing was compared.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<bool, CommandError> {
    let place = Place::of(&args.path, None);
    let files = place.files()?;
    let entry = decides_of(args.entry.as_deref(), &place, &files)?;
    let side = Side::load(&place.bundle.display().to_string(), &files, &entry)?;
    let mut replay = Replay::new(side.pdp());
    if let Some(log) = &args.log {
        audit::each_record(log, &mut |record| replay.take(record)).map_err(CommandError::Other)?;
    } else if let Some(file) = &args.records {
        let failed = |error| CommandError::Io { path: file.clone(), error };
        if file == Path::new("-") {
            each_line(io::stdin().lock(), &mut replay).map_err(failed)?;
        } else {
            each_line(BufReader::new(File::open(file).map_err(failed)?), &mut replay).map_err(failed)?;
        }
    }
    let report = replay.report();
    if args.json {
        writeln!(out, "{}", shown_json(&report.json().to_string()))?;
    } else {
        write!(out, "{}", report.plain())?;
    }
    if let Some(why) = report.says_nothing() {
        return Err(CommandError::Other(why.to_owned()));
    }
    // Lines that could not be read may be decisions that differ.
    Ok(!args.fail_on_difference || (report.differing, report.unreadable) == (0, 0))
}

fn each_line(mut from: impl BufRead, replay: &mut Replay<'_>) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.len() as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
            from.skip_until(b'\n')?;
        }
        replay.take(&line);
    }
}
