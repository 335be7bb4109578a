//! `postern`: parse, run, exit code. Nothing else happens here.
use std::process::ExitCode;

fn main() -> ExitCode {
    postern_proxy::cli::main()
}
