//! The command line of `cargo xtask`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use xtask::tools::{NeededBy, Shed};
use xtask::{bench, root, suite, tidy};

const USAGE: &str = "usage:
  cargo xtask test [--full] [--check OUTCOME:NAME[:WHY]]... [-- FILTER...]
        gets the real peers, builds, runs every test; the last line is `N passed, N failed, N skipped`.
        --full adds the tests marked `#[ignore]`; --check counts a step that ran before this one.
  cargo xtask tidy
        checks the rules that no compiler checks
  cargo xtask conformance [--json]
        tries every row of the specifications' requirements and prints the table
  cargo xtask bench [--counts] [--rounds N] [--seconds N] [--only TEXT | --write FILE]
        measures Postern against Envoy (or, with --counts, instructions and system calls per request) and prints
        the table; --write also puts it between its markers in FILE; --only measures what has TEXT in its title
  cargo xtask tools [NAME...]
        gets the named tools (all that tests need, when none is named) and prints their paths";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((command, rest)) => run(command, rest),
        None => Err(anyhow::anyhow!("no command\n{USAGE}")),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: &str, rest: &[String]) -> Result<ExitCode> {
    match command {
        "test" => test(rest),
        "tidy" => tidy_command(rest),
        "conformance" => conformance(rest),
        "bench" => bench_command(rest),
        "tools" => tools_command(rest),
        unknown => bail!("unknown command `{unknown}`\n{USAGE}"),
    }
}

fn test(rest: &[String]) -> Result<ExitCode> {
    let mut options = suite::Options::default();
    let mut rest = rest.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--full" => options.tier = suite::Tier::Full,
            "--check" => {
                let check = rest.next().context("--check wants OUTCOME:NAME[:WHY]")?;
                options.checks.push(check.parse()?);
            }
            "--" => options.filters.extend(rest.by_ref().cloned()),
            unknown => bail!("unknown argument `{unknown}`\n{USAGE}"),
        }
    }
    suite::run(&root(), &options)
}

fn tidy_command(rest: &[String]) -> Result<ExitCode> {
    if let Some(unknown) = rest.first() {
        bail!("unknown argument `{unknown}`\n{USAGE}");
    }
    let findings = tidy::check(&root())?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    eprintln!("tidy: {} findings", findings.len());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn conformance(rest: &[String]) -> Result<ExitCode> {
    let mut command = std::process::Command::new(env!("CARGO"));
    command
        .current_dir(root())
        .args(["run", "--quiet", "--locked", "-p", "postern-conformance", "--"])
        .args(rest);
    let status = command.status().context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bench_command(rest: &[String]) -> Result<ExitCode> {
    let mut options = bench::Options {
        rounds: 5,
        seconds: 3.0,
        figures: bench::Figures::Ratios,
        only: None,
        document: None,
    };
    let mut rest = rest.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("`{argument}` wants a value"));
        match argument.as_str() {
            "--counts" => options.figures = bench::Figures::Counts,
            "--rounds" => options.rounds = value()?.parse().context("--rounds wants a whole number")?,
            "--seconds" => options.seconds = value()?.parse().context("--seconds wants a number")?,
            "--only" => options.only = Some(value()?.clone()),
            "--write" => options.document = Some(value()?.into()),
            unknown => bail!("unknown argument `{unknown}`\n{USAGE}"),
        }
    }
    if options.rounds == 0 || !(0.5..=600.0).contains(&options.seconds) {
        bail!("at least one round, of 0.5 to 600 seconds");
    }
    if options.only.is_some() && options.document.is_some() {
        bail!("--write puts the whole table in place, and --only measures a part of it");
    }
    bench::run(&root(), &options)
}

fn tools_command(names: &[String]) -> Result<ExitCode> {
    let shed = Shed::open()?;
    let wanted: Vec<String> =
        if names.is_empty() { shed.names_needed_by(NeededBy::Tests) } else { names.to_vec() };
    let mut code = ExitCode::SUCCESS;
    for name in wanted {
        match shed.obtain(&name) {
            Ok(provided) => {
                for (variable, path) in provided {
                    println!("{variable}={}", path.display());
                }
            }
            Err(error) => {
                eprintln!("xtask: `{name}` cannot be had: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
