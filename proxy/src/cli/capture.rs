//! `postern capture`: rules of the packet filter that lead connections to the listeners.

mod probe;

use crate::capture::backend::Rules;
use crate::capture::keeper::{self, Enabled, KeeperError, Options, Status};
use crate::capture::state::DEFAULT_FOLDER;
use crate::capture::{Backend, Plan, timer};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, units};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `capture`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print the rules that `enable` would apply, and what passes by them; changes nothing
    Plan(PlanArgs),
    /// Apply the rules, and take them back unless they are confirmed in time
    Enable(EnableArgs),
    /// Keep the rules that `enable` applied
    Confirm(StateArgs),
    /// Take the rules away, whatever became of them
    Disable(StateArgs),
    /// Tell whether rules are in force, and whether they will be taken back
    Status(StatusArgs),
    /// Try to get past the sidecar as the application's user, and look where that arrives; exit code 0 if nowhere else
    Probe(probe::Args),
    /// Take the rules back when their time is over; `enable` starts this
    #[command(hide = true)]
    Undo(UndoArgs),
}

#[derive(Debug, clap::Args)]
struct PlanArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// What the rules are written for; the first of these that the machine has if left out
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct EnableArgs {
    #[command(flatten)]
    plan: PlanArgs,
    /// How long the rules stay unless `postern capture confirm` is run: 1s to 1h
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = confirm_within, conflicts_with = "permanent")]
    confirm_within: Duration,
    /// Keep the rules without being asked
    #[arg(long)]
    permanent: bool,
    /// Put the rules in the place of other rules of ours
    #[arg(long)]
    replace: bool,
    /// The folder in which it is written down what was applied; one for each network namespace
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_FOLDER)]
    state_dir: PathBuf,
}

#[derive(Debug, clap::Args)]
struct StateArgs {
    /// The folder in which it is written down what was applied
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_FOLDER)]
    state_dir: PathBuf,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    #[command(flatten)]
    state: StateArgs,
    /// Tell also whether the rules are those of this configuration
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct UndoArgs {
    #[arg(long)]
    state_dir: PathBuf,
    #[arg(long)]
    id: String,
    #[arg(long)]
    within_ms: u64,
}

fn confirm_within(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_secs(1)..=Duration::from_secs(60 * 60);
    match units::duration(text) {
        Ok(duration) if allowed.contains(&duration) => Ok(duration),
        Ok(_) => Err("write 1s to 1h".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    #[error("the application may get past the sidecar, or be reached past it")]
    Past,
    #[error("cannot write the report: {0}")]
    Report(#[from] io::Error),
}

/// Exit code 0 as asked, 1 refused or failed.
pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let is_json = match &args.action {
        Action::Plan(args) => args.json,
        Action::Enable(args) => args.plan.json,
        Action::Confirm(args) | Action::Disable(args) => args.json,
        Action::Status(args) => args.state.json,
        Action::Probe(args) => args.json(),
        Action::Undo(_) => false,
    };
    match act(&args.action, out, err) {
        Ok(()) => 0,
        // The report says what is wrong.
        Err(CommandError::Past) if is_json => 1,
        Err(error) if is_json => {
            drop(writeln!(out, "{}", json!({ "error": error.to_string() })));
            1
        }
        // `enable` reads what its timer prints, and tells it.
        Err(error) if matches!(args.action, Action::Undo(_)) => {
            drop(writeln!(out, "{error}"));
            1
        }
        Err(error) => super::fail(err, &error),
    }
}

fn act(action: &Action, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), CommandError> {
    let clock = SystemClock::new();
    match action {
        Action::Plan(args) => plan(args, out, err),
        Action::Enable(args) => enable(args, &clock, out, err),
        Action::Confirm(args) => {
            keeper::confirm(&args.state_dir)?;
            tell(args.json, out, "the rules stay", &json!({ "confirmed": true }))
        }
        Action::Disable(args) => {
            let removed = keeper::disable(&args.state_dir)?;
            let text = if removed { "the rules are taken away" } else { "there were no rules" };
            tell(args.json, out, text, &json!({ "removed": removed }))
        }
        Action::Status(args) => status(args, out, err),
        Action::Probe(args) => probe::run(args, out, err),
        Action::Undo(args) => {
            let within = Duration::from_millis(args.within_ms);
            Ok(timer::run(&args.state_dir, &args.id, within, &clock, out)?)
        }
    }
}

fn tell(json: bool, out: &mut dyn Write, text: &str, value: &Value) -> Result<(), CommandError> {
    Ok(if json { writeln!(out, "{value}") } else { writeln!(out, "{text}") }?)
}

/// The plan and its rules, from the configuration; what it warns of is told.
fn prepared(args: &PlanArgs, err: &mut dyn Write) -> Result<(Plan, Rules), CommandError> {
    let plan = planned(&args.config, err)?;
    let backend = args.backend.unwrap_or_else(Backend::preferred).canonical();
    let rules = backend.rules(&plan);
    Ok((plan, rules))
}

fn planned(file: &Path, err: &mut dyn Write) -> Result<Plan, CommandError> {
    let loaded = config::load(file)
        .map_err(|findings| CommandError::Config(format!("`{}` is refused\n{findings}", file.display())))?;
    for warning in loaded.warnings.iter().filter(|warning| warning.key.starts_with("capture")) {
        drop(writeln!(err, "warning: {warning}"));
    }
    Plan::of(&loaded.config.capture).ok_or_else(|| {
        CommandError::Config(format!("`{}` captures nothing: write `capture`", file.display()))
    })
}

fn plan(args: &PlanArgs, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), CommandError> {
    let (plan, rules) = prepared(args, err)?;
    if args.json {
        let report = json!({
            "backend": rules.backend,
            "rules": rules.texts,
            "not_covered": plan.not_covered(),
            "refused": plan.refused(),
        });
        return Ok(writeln!(out, "{report}")?);
    }
    Ok(write_plan(&plan, &rules, out)?)
}

/// The report is what its tool reads, with everything else as comments.
fn write_plan(plan: &Plan, rules: &Rules, out: &mut dyn Write) -> io::Result<()> {
    let headings: &[&str] = match rules.backend {
        Backend::Nft => &["for `nft -f -`"],
        Backend::Iptables => &["for `iptables-restore --noflush`", "for `ip6tables-restore --noflush`"],
        Backend::IptablesLegacy => {
            &["for `iptables-legacy-restore --noflush`", "for `ip6tables-legacy-restore --noflush`"]
        }
    };
    for (heading, text) in headings.iter().zip(&rules.texts) {
        writeln!(out, "# {heading}\n{text}")?;
    }
    writeln!(out, "# Not covered, and so past the sidecar:")?;
    plan.not_covered().iter().try_for_each(|what| writeln!(out, "# - {what}"))?;
    let refused = plan.refused();
    if !refused.is_empty() {
        writeln!(out, "# Refused:")?;
    }
    refused.iter().try_for_each(|what| writeln!(out, "# - {what}"))
}

fn enable(
    args: &EnableArgs,
    clock: &dyn Clock,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), CommandError> {
    let (_, rules) = prepared(&args.plan, err)?;
    let options =
        Options { confirm_within: (!args.permanent).then_some(args.confirm_within), replace: args.replace };
    let enabled = keeper::enable(&args.state_dir, &rules, options, clock)?;
    let status = keeper::status(&args.state_dir)?;
    let mut report = status_json(&status);
    if let Some(report) = report.as_object_mut() {
        report.insert("changed".to_owned(), json!(enabled != Enabled::Already));
    }
    let before = match enabled {
        Enabled::Now => "",
        Enabled::Kept => "these rules were in force already, and stay: ",
        Enabled::Already => "nothing has changed: ",
    };
    let after = match &status {
        Status::On { pending: Some(_), .. } => {
            format!("; keep them with `{}`", confirm_command(&args.state_dir))
        }
        Status::On { pending: None, .. } | Status::Off => String::new(),
    };
    tell(args.plan.json, out, &format!("{before}{}{after}", status_text(&status)), &report)
}

fn status(args: &StatusArgs, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), CommandError> {
    let status = keeper::status(&args.state.state_dir)?;
    let (mut text, mut report) = (status_text(&status), status_json(&status));
    if let Some(file) = &args.config {
        let as_configured = is_as_configured(&status, &planned(file, err)?);
        if !as_configured {
            text.push_str(", which is not what the configuration says");
        }
        if let Some(report) = report.as_object_mut() {
            report.insert("as_configured".to_owned(), json!(as_configured));
        }
    }
    tell(args.state.json, out, &text, &report)
}

/// Whether the rules of this plan are in force, and nobody has changed them.
fn is_as_configured(status: &Status, plan: &Plan) -> bool {
    match status {
        Status::On { backend, as_applied, applied, .. } => {
            *as_applied && *applied == Some(backend.canonical().rules(plan))
        }
        Status::Off => false,
    }
}

fn confirm_command(folder: &Path) -> String {
    if folder == Path::new(DEFAULT_FOLDER) {
        "postern capture confirm".to_owned()
    } else {
        // Not everybody who is to type it stands here.
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        format!("postern capture confirm --state-dir {}", folder.display())
    }
}

fn status_text(status: &Status) -> String {
    let Status::On { backend, as_applied, pending, undo_error, .. } = status else { return "off".to_owned() };
    let mut text = format!("on ({})", backend.as_str());
    match pending {
        None => {}
        Some((at, true)) => text.push_str(&format!(", undone at {} unless confirmed", time_of_day(*at))),
        Some((at, false)) => text.push_str(&format!(
            ", not confirmed, and the process is gone that would have undone it at {}: confirm or disable it",
            time_of_day(*at)
        )),
    }
    if !as_applied {
        text.push_str(", but the rules are not those that were applied here last");
    }
    if let Some(error) = undo_error {
        text.push_str(&format!(", and could not be undone in time: {error}"));
    }
    text
}

fn status_json(status: &Status) -> Value {
    match status {
        Status::Off => json!({ "state": "off" }),
        Status::On { backend, as_applied, pending, undo_error, .. } => json!({
            "state": if pending.is_some() { "unconfirmed" } else { "on" },
            "backend": backend,
            "as_applied": as_applied,
            "undone_at": pending.map(|(at, _)| at),
            "timer": pending.map(|(_, alive)| alive),
            "undo_error": undo_error,
        }),
    }
}

/// In UTC.
fn time_of_day(unix: u64) -> String {
    format!("{:02}:{:02}:{:02} UTC", unix / 3600 % 24, unix / 60 % 60, unix % 60)
}

#[cfg(test)]
mod tests;
