//! The command line: one file a subcommand. A command appears here when it works.
//!
//! Exit codes: 0 as asked, 1 refused or failed, 2 usage; `audit verify` has its own (0 whole, 3 whole with
//! declared gaps, 4 tampered, 5 cannot tell).
mod audit;
mod bundle;
mod check;
mod curl;
mod demo;
mod run;
mod schema;
mod why;

use crate::telemetry;
use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// How long the last lines of the process log may take.
pub(crate) const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The guarded side gate of a service: an authorization sidecar.
#[derive(Debug, Parser)]
#[command(name = "postern", version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything on loopback with embedded defaults, and print what to try
    Demo(demo::Args),
    /// Run the sidecar
    Run(run::Args),
    /// Say what `run` would make of a configuration; every finding with its mend
    Check(check::Args),
    /// Call through the demo with a freshly minted SVID
    Curl(curl::Args),
    /// Build, sign, verify and look into policy bundles
    Bundle(bundle::Args),
    /// Verify and look into an audit log
    Audit(audit::Args),
    /// Explain a decision by its id
    Why(why::Args),
    /// Print a published schema
    Schema(schema::Args),
}

/// Parses the process's arguments and does what they say.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let shown = error.print();
            return if error.use_stderr() || shown.is_err() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let mut out = std::io::stdout();
    let mut err = std::io::stderr();
    let code = match cli.command {
        Command::Demo(args) => demo::run(&args, &mut out, &mut err),
        Command::Run(args) => run::run(&args, &mut out, &mut err),
        Command::Check(args) => check::run(&args, &mut out, &mut err),
        Command::Curl(args) => curl::run(&args, &mut out, &mut err),
        Command::Bundle(args) => bundle::run(&args, &mut out, &mut err),
        Command::Audit(args) => audit::run(&args, &mut out, &mut err),
        Command::Why(args) => why::run(&args, &mut out, &mut err),
        Command::Schema(args) => schema::run(&args, &mut out, &mut err),
    };
    telemetry::log::flush(FLUSH_TIMEOUT);
    // A reader that went away is no failure of ours, and there is nobody left to tell.
    drop(out.flush());
    ExitCode::from(code)
}

/// Says on standard error what went wrong; exit code 1.
fn fail(err: &mut dyn Write, error: &dyn std::fmt::Display) -> u8 {
    drop(writeln!(err, "error: {error}"));
    1
}
