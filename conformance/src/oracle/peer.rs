//! A judge that is a program of its own: a JSON value a line in, a verdict a line out.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::Verdict;
use super::chains::Presented;

/// What the program says of each case, after a first line that tells it whom to trust.
pub(super) fn ask(program: Command, first: &Value, cases: impl Iterator<Item = Value>) -> Vec<Verdict> {
    let lines: Vec<String> =
        std::iter::once(first.clone()).chain(cases).map(|line| line.to_string()).collect();
    let said = tell(program, lines.join("\n"));
    let verdicts: Vec<Verdict> =
        said.lines().map(|line| if line == "taken" { Ok(()) } else { Err(line.to_owned()) }).collect();
    assert_eq!(verdicts.len(), lines.len() - 1);
    verdicts
}

/// What a program says to this input.
pub(crate) fn tell(mut program: Command, input: String) -> String {
    let mut running = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = running.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{program:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Chains in the spelling that such programs read.
pub(super) fn chains(cases: &[Presented]) -> impl Iterator<Item = Value> {
    cases.iter().map(|case| encoded(&case.chain))
}

/// Certificates in the spelling that such programs read.
pub(super) fn encoded(certificates: &[CertificateDer<'_>]) -> Value {
    json!(certificates.iter().map(|der| STANDARD.encode(der)).collect::<Vec<_>>())
}
