//! Real OPA takes the examples in Rego: they are strict, formatted, and pass the tests beside them. Runs where `POSTERN_OPA`
//! names the program.
use super::places::{all, name};
use std::path::Path;
use std::process::Command;

/// What OPA says, if it says no.
fn refusal(opa: &Path, arguments: &[&str], bundle: &Path) -> Option<String> {
    let output = Command::new(opa).args(arguments).arg(bundle).output().unwrap();
    let told =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (!output.status.success()).then_some(told)
}

#[test]
fn opa_takes_every_example_in_rego() {
    let Some(opa) = std::env::var_os("POSTERN_OPA") else {
        println!("SKIPPED opa_takes_every_example_in_rego: POSTERN_OPA is not set");
        return;
    };
    for policy in all().iter().filter(|policy| !policy.ends_with("cedar")) {
        let bundle = policy.join("bundle");
        let has_tests = bundle.join("authz_test.rego").exists();
        let asked: [(&[&str], bool); 3] =
            [(&["check", "--strict"], true), (&["fmt", "--fail", "--list"], true), (&["test"], has_tests)];
        for (arguments, _) in asked.iter().filter(|(_, asked)| *asked) {
            let refusal = refusal(Path::new(&opa), arguments, &bundle);
            assert_eq!(refusal, None, "opa {} refuses {}", arguments.join(" "), name(policy));
        }
    }
}
