//! The command line: one file a subcommand. A command appears here when it works.
//!
//! Exit codes: 0 as asked, 1 refused or failed, 2 usage; `audit verify` has its own (0 whole, 3 whole with
//! declared gaps, 4 tampered, 5 cannot tell).
mod audit;
mod bundle;
mod capture;
mod check;
mod curl;
mod demo;
mod opening;
mod policy;
mod run;
mod schema;
mod why;

use crate::telemetry;
use clap::{Parser, Subcommand};
use postern_policy::tooling::shown_lines;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

/// How long the last lines of the process log may take.
pub(crate) const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

const USAGE: u8 = 2;

#[cfg(feature = "fips")]
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (FIPS)");
#[cfg(not(feature = "fips"))]
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The guarded side gate of a service: an authorization sidecar.
#[derive(Debug, Parser)]
#[command(name = "postern", version = VERSION, arg_required_else_help = true, disable_help_subcommand = true)]
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
    /// Write, test, explain and measure policies
    Policy(policy::Args),
    /// Verify and look into an audit log
    Audit(audit::Args),
    /// Lead connections to the sidecar by rules of the packet filter, and take them back unless confirmed
    Capture(capture::Args),
    /// Explain a decision by its id
    Why(why::Args),
    /// Print a published schema
    Schema(schema::Args),
}

/// Parses the process's arguments and does what they say.
pub fn main() -> ExitCode {
    let code = answer(std::env::args_os(), &mut io::stdout(), &mut io::stderr());
    telemetry::log::flush(FLUSH_TIMEOUT);
    ExitCode::from(code)
}

/// Does what a command line says; gives its exit code.
fn answer(words: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let out = &mut UntilGone { out, gone: false };
    match Cli::try_parse_from(words) {
        Ok(cli) => obey(&cli.command, out, err),
        Err(error) if error.use_stderr() => {
            drop(write!(err, "{}", error.render()));
            USAGE
        }
        // Help, or the version: it was asked for.
        Err(error) => write!(out, "{}", error.render()).map_or(USAGE, |()| 0),
    }
}

fn obey(command: &Command, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let code = match command {
        Command::Demo(args) => demo::run(args, out, err),
        Command::Run(args) => run::run(args, out, err),
        Command::Check(args) => check::run(args, out, err),
        Command::Curl(args) => curl::run(args, out, err),
        Command::Bundle(args) => bundle::run(args, out, err),
        Command::Policy(args) => policy::run(args, out, err),
        Command::Audit(args) => audit::run(args, out, err),
        Command::Capture(args) => capture::run(args, out, err),
        Command::Why(args) => why::run(args, out, err),
        Command::Schema(args) => schema::run(args, out, err),
    };
    // Every line has been flushed as it was written, and its command has told what became of it.
    drop(out.flush());
    code
}

/// Output whose reader may go away, as that of `postern why last | head -1` does. It has what it wanted: the rest is
/// dropped without a word, and the exit code is what it would have been.
struct UntilGone<'w> {
    out: &'w mut dyn Write,
    gone: bool,
}

impl UntilGone<'_> {
    fn unless_gone(
        &mut self,
        dropped: usize,
        attempt: impl FnOnce(&mut dyn Write) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.gone {
            return Ok(dropped);
        }
        let done = attempt(self.out);
        self.gone = done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        if self.gone { Ok(dropped) } else { done }
    }
}

impl Write for UntilGone<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_gone(bytes.len(), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_gone(0, |out| out.flush().map(|()| 0)).map(drop)
    }
}

/// Says on standard error what went wrong; exit code 1.
fn fail(err: &mut dyn Write, error: &dyn std::fmt::Display) -> u8 {
    drop(writeln!(err, "error: {}", shown_lines(&error.to_string())));
    1
}

#[cfg(test)]
mod tests;
