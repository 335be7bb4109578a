use super::*;
use crate::cli::tests::check_unread;
use clap::Parser;
use tempfile::TempDir;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// Runs a command line in which `@` stands for the folder; gives the exit code and what was said.
fn bundle(folder: &TempDir, line: &str) -> (u8, String) {
    let at = folder.path().display().to_string();
    let words =
        std::iter::once("bundle".to_owned()).chain(line.split(' ').map(|word| word.replace('@', &at)));
    let cli = Cli::try_parse_from(words).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&cli.args, &mut out, &mut err);
    out.extend(err);
    (code, String::from_utf8(out).unwrap())
}

fn check(folder: &TempDir, line: &str, want_code: u8, want: &str) {
    let (code, said) = bundle(folder, line);
    assert_eq!(code, want_code, "{line}: {said}");
    assert!(said.contains(want), "{line}: `{said}` lacks `{want}`");
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    write("src/.manifest", r#"{"revision":"r7","roots":["t"]}"#);
    write("src/t.rego", "package t\nallow if input.postern.route\n");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    write("key.pem", &key.serialize_pem());
    write("key.pub.pem", &key.public_key_pem());
    write("other.pub.pem", &rcgen::KeyPair::generate().unwrap().public_key_pem());
    folder
}

#[test]
fn a_bundle_is_built_signed_verified_and_shown() {
    let folder = folder();
    check(&folder, "build @/src --out @/plain.tar.gz", 0, "revision r7, signed: not");
    check(
        &folder,
        "sign @/plain.tar.gz --out @/signed.tar.gz --key @/key.pem --key-id k1",
        0,
        "signed: ES256",
    );
    check(
        &folder,
        "verify @/signed.tar.gz --signer @/other.pub.pem --signer @/key.pub.pem",
        0,
        "revision r7",
    );
    check(&folder, "verify @/signed.tar.gz --signer @/key.pub.pem --rego t/allow", 0, "reads postern.route");
    check(&folder, "build @/src --out @/direct.tar.gz --key @/key.pem --scope write", 0, "signed: ES256");
    check(&folder, "verify @/direct.tar.gz --signer @/key.pub.pem --scope write", 0, "r7");
    check(&folder, "inspect @/signed.tar.gz", 0, "carried, not verified here");
    check(&folder, "inspect @/src --json", 0, r#""carries_signature":false"#);
}

#[test]
fn what_a_policy_reads_is_told_in_words_also_when_it_is_nothing() {
    let told = |name: &str, text: &str, load: &str, want: &str| {
        let folder = folder();
        fs::remove_file(folder.path().join("src/t.rego")).unwrap();
        fs::write(folder.path().join("src").join(name), text).unwrap();
        check(&folder, "build @/src --out @/b.tar.gz --key @/key.pem", 0, "");
        check(&folder, &format!("verify @/b.tar.gz --signer @/key.pub.pem {load}"), 0, want);
    };
    let rego = |text: &str, want: &str| told("t.rego", text, "--rego t/allow", want);
    rego("package t\nallow if input.postern.route\n", "loads as rego; reads postern.route\n");
    rego("package t\nallow := true\n", "loads as rego; reads nothing of the input\n");
    let cedar = |text: &str, want: &str| told("t.cedar", text, "--cedar", want);
    cedar(
        "permit (principal, action, resource);",
        "loads as cedar; of headers, query and claims it reads none\n",
    );
    cedar(
        "permit (principal, action, resource) when { context has claims && context.claims.scopes.contains(\"a\") };",
        "loads as cedar; of headers, query and claims it reads context.claims\n",
    );
}

#[test]
fn what_does_not_hold_is_refused() {
    let folder = folder();
    check(&folder, "build @/src --out @/plain.tar.gz", 0, "");
    check(&folder, "build @/src --out @/signed.tar.gz --key @/key.pem", 0, "");
    check(&folder, "verify @/plain.tar.gz --signer @/key.pub.pem", 1, "no `.signatures.json`");
    check(&folder, "verify @/signed.tar.gz --signer @/other.pub.pem", 1, "no configured signer");
    check(&folder, "verify @/signed.tar.gz --signer @/key.pub.pem --scope write", 1, "scope");
    check(&folder, "verify @/signed.tar.gz --signer @/key.pub.pem --rego t/nosuch", 1, "t/allow");
    check(&folder, "verify @/signed.tar.gz --signer @/key.pub.pem --cedar", 1, "Rego policies");
    check(&folder, "verify @/signed.tar.gz --signer @/key.pem", 1, "private key");
    check(&folder, "sign @/plain.tar.gz --out @/x.tar.gz", 1, "--key");
    check(&folder, "build @/nosuch --out @/x.tar.gz", 1, "cannot be read");
    check(&folder, "build @/src --out @/x.tar.gz --key @/key.pub.pem", 1, "no private key");
    assert!(!folder.path().join("x.tar.gz").exists(), "nothing is written half");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    check_unread(&["bundle", "build", &at("src"), "--out", &at("b.tar.gz"), "--key", &at("key.pem")], 0);
    check_unread(&["bundle", "verify", &at("b.tar.gz"), "--signer", &at("key.pub.pem")], 0);
    check_unread(&["bundle", "inspect", &at("b.tar.gz")], 0);
    check_unread(&["bundle", "inspect", &at("b.tar.gz"), "--json"], 0);
}
