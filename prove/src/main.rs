//! `postern-prove`: asks what Cedar policies can let through. Exit code 0 proved, 1 with a counterexample, 2 where
//! nothing can be said.
use clap::{Args, Parser, Subcommand};
use postern_prove::{Invariants, Prover, ProverError, Report, SourceError, read};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Parser)]
#[command(name = "postern-prove", about = "Proves what Cedar policies can let through, or shows an example")]
struct Cli {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Do the new policies allow a request that the old ones do not?
    Widening {
        /// The bundle in force: an archive, or a folder with its files
        old: PathBuf,
        /// The bundle that shall follow
        new: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Is nothing allowed that a `forbid` of the invariants matches, and everything that a `permit` does?
    Invariants {
        /// The bundle
        bundle: PathBuf,
        /// The invariants: Cedar policies under the bundle's schema
        invariants: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Can no policy fail?
    Errors {
        /// The bundle
        bundle: PathBuf,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Debug, Args)]
struct How {
    /// One JSON object instead of a report
    #[arg(long)]
    json: bool,
    /// The solver
    #[arg(long, value_name = "FILE", env = "CVC5", default_value = "cvc5")]
    cvc5: PathBuf,
    /// The most seconds for one question in one environment
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    limit: u32,
}

#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Prover(#[from] ProverError),
    #[error("cannot write the report: {0}")]
    Report(#[from] io::Error),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match asked(&cli.question) {
        Ok(code) => code.into(),
        Err(error) => {
            // There is nobody left to tell where standard error is gone.
            writeln!(io::stderr(), "postern-prove: {error}").ok();
            2.into()
        }
    }
}

fn asked(question: &Question) -> Result<u8, CommandError> {
    let prover = |how: &How| Prover::new(&how.cvc5, Duration::from_secs(how.limit.max(1).into()));
    let (report, how) = match question {
        Question::Widening { old, new, how } => (prover(how)?.widening(&read(old)?, &read(new)?), how),
        Question::Invariants { bundle, invariants, how } => {
            let program = read(bundle)?;
            (prover(how)?.invariants(&program, &Invariants::read(invariants, &program)?), how)
        }
        Question::Errors { bundle, how } => (prover(how)?.errors(&read(bundle)?), how),
    };
    told(&report, how)
}

fn told(report: &Report, how: &How) -> Result<u8, CommandError> {
    let mut out = io::stdout().lock();
    if how.json {
        writeln!(out, "{}", report.to_json())?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(report.verdict().exit_code())
}
