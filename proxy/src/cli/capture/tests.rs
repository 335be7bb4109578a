use crate::cli::answer;
use serde_json::Value;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

const CONFIG: &str = "\
version: 1
identity: { source: { workload_api: { socket: /run/spire/agent.sock } } }
policy:
  bundles: { authz: { source: { directory: { path: policy } }, unsigned: development_only } }
  decision: { rego: postern/authz/decision }
listeners:
  app:
    inbound: { address: 0.0.0.0:8443, captured: redirect, tls: { mutual: { trust_domains: [example.org] } } }
    routes:
      - { match: { path_prefix: / }, upstream: app }
upstreams:
  app: { endpoints: [\"127.0.0.1:8080\"] }
audit:
  directory: audit
  signer: { ed25519: { key: audit.pem } }
";
const CAPTURE: &str = "capture: { inbound: { listener: app, ports: { only: [8080] } } }\n";

fn folder(config: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("policy")).expect("a folder");
    std::fs::write(path("postern.yaml"), config).expect("writing");
    std::fs::write(path("audit.pem"), "").expect("writing");
    std::fs::set_permissions(path("audit.pem"), std::fs::Permissions::from_mode(0o600)).expect("chmod");
    folder
}

/// Runs `postern capture`, with `-c` where there is a configuration; gives what it prints on each stream.
#[track_caller]
fn check(config: Option<&str>, words: &[&str], want_code: u8) -> (String, String) {
    let folder = folder(config.unwrap_or_default());
    let mut all: Vec<OsString> = ["postern", "capture"].map(OsString::from).to_vec();
    all.extend(words.iter().map(OsString::from));
    if config.is_some() {
        all.extend(["-c".into(), folder.path().join("postern.yaml").into()]);
    }
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = answer(all, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (out, err) = (text(out), text(err));
    assert_eq!(code, want_code, "{words:?}\n{out}\n{err}");
    (out, err)
}

#[test]
fn a_plan_is_printed_as_the_tool_reads_it_with_what_it_does_not_cover() {
    let config = format!("{CONFIG}{CAPTURE}");
    let (out, _) = check(Some(&config), &["plan", "--backend", "nft"], 0);
    assert!(out.starts_with("# for `nft -f -`\ntable inet postern {\n"), "{out}");
    assert!(out.contains("\n# Not covered, and so past the sidecar:\n# - everything but TCP"), "{out}");
    let refused =
        out.split_once("\n# Refused:\n# - connections from outside that other rules").map(|(_, rest)| rest);
    assert!(
        refused.is_some_and(|rest| rest.contains("\n# - captured connections from outside over IPv6")),
        "{out}"
    );
    for (backend, heading) in
        [("iptables", "ip6tables-restore"), ("iptables-legacy", "ip6tables-legacy-restore")]
    {
        let (out, _) = check(Some(&config), &["plan", "--backend", backend], 0);
        assert!(out.contains(&format!("\n# for `{heading} --noflush`\n*")), "{out}");
    }
    let (out, _) = check(Some(&config), &["plan", "--backend", "nft", "--json"], 0);
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(report["backend"], "nft");
    assert!(report["rules"][0].as_str().is_some_and(|rules| rules.starts_with("table inet postern")));
    assert!(report["not_covered"].as_array().is_some_and(|list| list.len() > 4), "{report}");
}

#[test]
fn what_cannot_be_planned_is_refused_with_a_reason() {
    let (_, err) = check(Some(CONFIG), &["plan"], 1);
    assert!(err.contains("captures nothing"), "{err}");
    let wrong = format!("{CONFIG}{}", CAPTURE.replace("8080", "8443"));
    let (_, err) = check(Some(&wrong), &["plan"], 1);
    assert!(err.contains("capture.inbound.ports.only[0]"), "{err}");
    let (out, _) = check(Some(&wrong), &["plan", "--json"], 1);
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert!(report["error"].as_str().is_some_and(|error| error.contains("never captured")), "{report}");
}

#[test]
fn what_is_not_meant_is_a_matter_of_usage() {
    for words in [
        &["enable", "-c", "x", "--confirm-within", "2h"][..],
        &["enable", "-c", "x", "--confirm-within", "soon"],
        &["enable", "-c", "x", "--confirm-within", "5s", "--permanent"],
        &["plan", "-c", "x", "--backend", "pf"],
        &["plan"],
        &["confirm", "now"],
        &["probe", "-c", "x", "--to", "192.0.2.7:443"],
        &["probe", "-c", "x", "--uid", "1000", "--to", "example.org:443"],
        &["probe", "-c", "x", "--uid", "4294967295"],
    ] {
        check(None, words, 2);
    }
}

#[test]
fn a_probe_calls_where_the_plan_captures_calls_and_nowhere_else() {
    let config = format!("{CONFIG}{CAPTURE}");
    let (_, err) = check(Some(&config), &["probe", "--uid", "1000", "--to", "192.0.2.7:443"], 1);
    assert!(err.contains("leave out `--to`"), "{err}");
    let (out, _) = check(Some(&config), &["probe", "--uid", "1000", "--to", "192.0.2.7:443", "--json"], 1);
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert!(report["error"].as_str().is_some_and(|error| error.contains("capture.outbound")), "{report}");
    let calls = "capture: { outbound: { listener: egress, own: { uid: 1337 } } }\n";
    let egress = "listeners:\n  egress:\n    outbound: { address: 127.0.0.1:15001, captured: redirect }\n    \
        routes: [{ match: { path_prefix: / }, upstream: app }]\n";
    let config = format!("{}{calls}", CONFIG.replace("listeners:\n", egress));
    let (_, err) = check(Some(&config), &["probe", "--uid", "1000"], 1);
    assert!(err.contains("name an address outside by `--to`"), "{err}");
}

#[test]
fn a_folder_that_others_may_write_is_not_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("chmod");
    let path = folder.path().to_str().expect("text");
    let (_, err) = check(None, &["confirm", "--state-dir", path], 1);
    assert!(err.contains("can be written by others"), "{err}");
}

#[test]
fn there_is_nothing_to_confirm_where_nothing_was_applied() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    let (_, err) = check(None, &["confirm", "--state-dir", path], 1);
    assert!(err.contains("nothing to confirm"), "{err}");
    std::fs::write(folder.path().join("state.json"), "{").expect("writing");
    let (_, err) = check(None, &["confirm", "--state-dir", path], 1);
    assert!(err.contains("cannot be read"), "{err}");
}
