//! `postern policy bench`.
use super::{CommandError, Place};
use crate::clock::{Clock, SystemClock};
use postern_policy::tooling::{Decides, Figures, NOW_NS, figures, shown, shown_json, verdict};
use postern_policy::{Pdp, Scratch};
use std::io::Write;
use std::path::PathBuf;

/// Arguments of `policy bench`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A bundle's folder with its `cases.yaml`, the folder around both, or an archive
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The table of cases, where it lies elsewhere
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,
    /// A Rego rule to ask instead of the one that the table names
    #[arg(long, value_name = "PATH")]
    entry: Option<String>,
    /// One JSON object instead of a report
    #[arg(long)]
    json: bool,
}

/// Decisions before anything is measured: caches are warm in production.
const WARM_UP: usize = 500;
/// Decisions that are measured of each case.
const SAMPLES: usize = 5_000;
/// A case is measured no longer than this, but ten times at least.
const CASE_NS_MAX: u64 = 1_000_000_000;
const SAMPLES_MIN: usize = 10;

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<bool, CommandError> {
    let mut suite = Place::of(&args.path, args.cases.as_deref()).suite()?;
    let Some((name, mut table)) = suite.table.take() else {
        let what = "there are no cases to ask: write a `cases.yaml`, or name one by `--cases FILE`";
        return Err(CommandError::Other(what.to_owned()));
    };
    if suite.cases.is_empty() {
        return Err(CommandError::Other(format!("`{name}` has no cases")));
    }
    if let Some(entry) = &args.entry {
        table.decision = Decides::Rego(entry.clone());
    }
    let pdp = suite.pdp(&table)?;
    let now_ns = table.now_ns.unwrap_or(NOW_NS);
    let clock = SystemClock::new();
    let mut all = Vec::new();
    let mut rows = Vec::new();
    for case in &suite.cases {
        let samples = measure(&pdp, case, now_ns, &clock);
        all.extend_from_slice(&samples);
        rows.extend(figures(samples).map(|figures| (case.name.value.clone(), figures)));
    }
    let Some(total) = figures(all) else { return Ok(true) };
    let of_clock = figures((0..1000).map(|_| span(&clock, || ())).collect()).map_or(0, |f| f.median_ns);
    if args.json {
        let rows: Vec<_> = rows.iter().map(|(name, figures)| told(name, figures)).collect();
        let report = serde_json::json!({
            "all": told("all", &total),
            "cases": rows,
            "clock_ns": of_clock,
            "debug_build": cfg!(debug_assertions),
        });
        writeln!(out, "{}", shown_json(&report.to_string()))?;
        return Ok(true);
    }
    writeln!(out, "{:>10} {:>10}  nanoseconds a decision", "median", "99 %")?;
    for (name, figures) in
        rows.iter().map(|(name, figures)| (name.as_str(), figures)).chain([("all", &total)])
    {
        writeln!(out, "{:>10} {:>10}  {}", figures.median_ns, figures.p99_ns, shown(name))?;
    }
    writeln!(
        out,
        "\n{} decisions on this machine, one after the other, on one thread; about {of_clock} ns of each are the clock's.",
        total.samples
    )?;
    if cfg!(debug_assertions) {
        writeln!(out, "This is a debug build: a release is many times faster.")?;
    }
    Ok(true)
}

fn told(name: &str, figures: &Figures) -> serde_json::Value {
    serde_json::json!({
        "name": name,
        "samples": figures.samples,
        "median_ns": figures.median_ns,
        "p99_ns": figures.p99_ns,
        "min_ns": figures.min_ns,
        "max_ns": figures.max_ns,
    })
}

fn measure(pdp: &Pdp, case: &postern_policy::tooling::Case, now_ns: u64, clock: &SystemClock) -> Vec<u64> {
    let mut scratch = Scratch::default();
    let mut decide = || drop(std::hint::black_box(verdict(pdp, &mut scratch, case, now_ns)));
    let end = clock.monotonic_ns().saturating_add(CASE_NS_MAX);
    for _ in 0..WARM_UP {
        decide();
        if clock.monotonic_ns() >= end {
            break;
        }
    }
    let end = clock.monotonic_ns().saturating_add(CASE_NS_MAX);
    let mut samples = Vec::with_capacity(SAMPLES);
    while samples.len() < SAMPLES && (samples.len() < SAMPLES_MIN || clock.monotonic_ns() < end) {
        samples.push(span(clock, &mut decide));
    }
    samples
}

fn span(clock: &SystemClock, mut of: impl FnMut()) -> u64 {
    let began = clock.monotonic_ns();
    of();
    clock.monotonic_ns().saturating_sub(began)
}
