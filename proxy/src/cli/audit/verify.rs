//! `postern audit verify`.
use super::{AuditError, Source, key, text};
use postern_audit::{Checkpoint, Class, Report, verify};
use postern_policy::tooling::shown;
use std::io::{self, Write};
use std::path::PathBuf;

/// Arguments of `audit verify`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The log's directory, or a copy of it; the running demo's if left out
    directory: Option<PathBuf>,
    /// A public key the log may be signed by, as PEM or verifier key; may be given several times
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// A checkpoint of this log that was kept elsewhere: finds a log that was cut back or forked since
    #[arg(long, value_name = "FILE")]
    seen: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Class, AuditError> {
    let sources = Source::open_all(args.directory.as_deref())?;
    let mut reports = Vec::with_capacity(sources.len());
    let mut seen_in = None;
    for source in &sources {
        let keys = source.keys(&args.key)?;
        let seen = match &args.seen {
            Some(path) => {
                Checkpoint::open(&text(path)?, &keys, None).map_err(|error| seen_in = Some(error)).ok()
            }
            None => None,
        };
        reports.push((verify(&source.files, &keys, seen.as_ref()), seen.is_some()));
    }
    // A checkpoint is of one log: that it fits none is the failure.
    if let (true, Some(error)) = (reports.iter().all(|(_, saw)| !saw), seen_in) {
        return Err(AuditError::Checkpoint(error));
    }
    let reports: Vec<Report> = reports.into_iter().map(|(report, _)| report).collect();
    let [first, beside @ ..] = reports.as_slice() else { return Ok(Class::CannotTell) };
    if args.json {
        // One log is told as ever; several are a list.
        let text = if beside.is_empty() {
            serde_json::to_string_pretty(first)
        } else {
            serde_json::to_string_pretty(&reports)
        };
        writeln!(out, "{}", text.map_err(io::Error::from)?)?;
    } else {
        for report in &reports {
            show(report, args, out)?;
        }
    }
    Ok(reports.iter().map(|report| report.class).max_by_key(|class| severity(*class)).unwrap_or(first.class))
}

/// Of several logs the worst is told: what was found outweighs what could not be looked at.
fn severity(class: Class) -> u8 {
    match class {
        Class::Whole => 0,
        Class::WholeWithGaps => 1,
        Class::CannotTell => 2,
        Class::Tampered => 3,
    }
}

fn show(report: &Report, args: &Args, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "  log         {}",
        report.origin.as_deref().unwrap_or("unknown: no checkpoint is signed by a known key")
    )?;
    let span = match (&report.from, &report.to) {
        (Some(from), Some(to)) => format!("   from {from} to {to}"),
        (None, _) | (_, None) => String::new(),
    };
    writeln!(out, "  records     {}   segments {}{span}", report.records, report.segments)?;
    let (allowed, denied, undecided) = (report.allowed, report.denied, report.undecided);
    writeln!(out, "  decisions   {allowed} allowed, {denied} denied, {undecided} undecided")?;
    let independent = if args.key.is_empty() {
        "keys from beside the log: give --key to trust no one but yourself"
    } else {
        "keys given"
    };
    let (signed, all) = (report.checkpoints_signed, report.checkpoints);
    writeln!(out, "  signatures  {signed} of {all} checkpoints good ({independent})")?;
    writeln!(
        out,
        "  signed      up to record {}; {} behind it are not signed yet",
        report.signed_size, report.unsigned_records
    )?;
    writeln!(out, "  policy      {} revisions decided", report.policy_revisions.len())?;
    writeln!(out, "  gaps        {} declared, {} records", report.gaps.len(), report.gap_records)?;
    for gap in &report.gaps {
        writeln!(
            out,
            "              lane {}: numbers {} to {} ({}), declared by record {}",
            gap.lane,
            gap.from,
            gap.to,
            shown(&gap.reason),
            gap.index
        )?;
    }
    for finding in &report.findings {
        let place = match (finding.segment, finding.line) {
            (Some(segment), Some(line)) => format!(" (seg/{segment:020}.jsonl line {line})"),
            (Some(segment), None) => format!(" (seg/{segment:020}.jsonl)"),
            (None, _) => String::new(),
        };
        let id = finding.id.as_deref().map(|id| format!(" id {id}")).unwrap_or_default();
        writeln!(out, "  ! {}", shown(&format!("{}{place}{id}", finding.detail)))?;
    }
    if report.findings_more > 0 {
        writeln!(out, "  ! and {} more", report.findings_more)?;
    }
    for line in &report.cannot_tell {
        writeln!(out, "  ? {}", shown(line))?;
    }
    for note in &report.notes {
        writeln!(out, "  - {}", shown(note))?;
    }
    writeln!(out, "  result      {}   exit {}", result(report.class), report.class.exit_code())
}

fn result(class: Class) -> &'static str {
    match class {
        Class::Whole => "WHOLE",
        Class::WholeWithGaps => "WHOLE, with declared gaps",
        Class::Tampered => "TAMPERED",
        Class::CannotTell => "CANNOT TELL",
    }
}

/// Reads the keys that a proof is checked with.
pub(super) fn keys(
    paths: &[PathBuf],
    origin: &str,
) -> Result<Vec<(String, postern_audit::VerifyingKey)>, AuditError> {
    paths.iter().map(|path| key(path, origin)).collect()
}
