//! `policy prove`: hands its arguments to `postern-prove`, a program of its own, so that the sidecar carries no solver.
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// Arguments of `policy prove`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(super) struct Args {
    /// `widening OLD NEW`, `invariants BUNDLE RULES`, `errors BUNDLE`; `--help` says more
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    arguments: Vec<OsString>,
}

/// Why nothing was asked.
#[derive(Debug, thiserror::Error)]
#[error(
    "`postern-prove` cannot be started: {0}; it is a program of its own: `cargo build --release -p postern-prove`, beside \
     `postern` or on PATH"
)]
struct NotThere(std::io::Error);

/// Exit code 0 proved, 1 with a counterexample, 2 where nothing can be said.
pub(super) fn run(args: &Args, err: &mut dyn Write) -> u8 {
    match Command::new(program()).args(&args.arguments).status() {
        Ok(status) => status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2),
        Err(error) => {
            super::super::fail(err, &NotThere(error));
            2
        }
    }
}

/// The one beside this program, else the one on `PATH`.
fn program() -> PathBuf {
    const NAME: &str = "postern-prove";
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(NAME)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(NAME))
}
