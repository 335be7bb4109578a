//! `postern check`: what `run` would make of a configuration. Nothing is bound, fetched or written.

mod adoption;
mod bundles;
mod contents;
mod summary;

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config, Findings, Level, Loaded};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// One JSON object instead of a report
    #[arg(long)]
    json: bool,
}

/// Exit code 0 when the configuration would be taken, 1 when it is refused or the report cannot be written.
pub(super) fn run(args: &Args, out: &mut dyn Write, _err: &mut dyn Write) -> u8 {
    let (findings, config) = look(args);
    let written =
        if args.json { write_json(&findings, out) } else { write_report(&findings, config.as_ref(), out) };
    u8::from(findings.refused() || written.is_err())
}

fn look(args: &Args) -> (Findings, Option<Config>) {
    match config::load(&args.config) {
        Err(findings) => (findings, None),
        Ok(Loaded { config, warnings }) => {
            let now = SystemClock::new().unix_time();
            let findings = inspect(&config, warnings)
                .with(contents::check_validity(&config, now))
                .with(adoption::check(&config, now))
                .with(bundles::check(&config.policy));
            (findings, Some(config))
        }
    }
}

/// What `run` has to know before it starts anything: the keys and certificates of a configuration that was
/// taken are what they should be. Not the bundles: a sidecar starts with its last good ones.
pub(super) fn inspect(config: &Config, warnings: Findings) -> Findings {
    warnings.with(contents::check(config))
}

fn write_report(findings: &Findings, config: Option<&Config>, out: &mut dyn Write) -> std::io::Result<()> {
    write!(out, "{findings}")?;
    let file = findings.file.display();
    let warnings = count(findings.count(Level::Warning), "warning");
    match config {
        Some(config) if !findings.refused() => {
            if !findings.list.is_empty() {
                writeln!(out)?;
            }
            write!(out, "{}", summary::Summary(config))?;
            writeln!(out, "{file} would be taken: {warnings}")
        }
        Some(_) | None => {
            let errors = count(findings.count(Level::Error), "error");
            writeln!(out, "\n{file} is refused: {errors}, {warnings}")
        }
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

fn write_json(findings: &Findings, out: &mut dyn Write) -> std::io::Result<()> {
    let report = json!({
        "file": findings.file.display().to_string(),
        "taken": !findings.refused(),
        "findings": findings.list,
    });
    writeln!(out, "{report}")
}

#[cfg(test)]
mod tests;
