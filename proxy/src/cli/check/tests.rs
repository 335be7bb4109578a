use std::path::Path;

use postern_policy::SigningKey;
use postern_policy::bundle::{archive_of, signed_archive_of};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, DnType, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::cli::tests::check_unread;

const CONFIG: &str = "\
version: 1
identity:
  source:
    files: { certificate: svid.pem, key: svid.key, trust_bundles: { example.org: bundle.pem }, crls: { example.org: lists.crl } }
tokens: [{ issuer: idp, audiences: [app], algorithms: [ES256], keys: { file: idp.json } }]
policy:
  bundles: { authz: { source: { directory: { path: policy.tar.gz } }, signers: [policy.pub.pem] } }
  decision: { rego: postern/authz/decision }
listeners:
  app:
    inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }
    routes:
      - { match: { path_prefix: /a, methods: [GET] }, upstream: app, tokens: required }
upstreams:
  app: { endpoints: [\"127.0.0.1:8080\"] }
audit:
  directory: audit
  signer: { ecdsa_p256: { key: audit.pem } }
";

/// P-256, from RFC 7515 appendix A.3.
const KEY_SET: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","alg":"ES256","use":"sig",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// A folder in which everything is as it should be.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, content: &str| std::fs::write(folder.path().join(name), content).expect("writing");
    let (authorities, svid, key) = svid();
    write("postern.yaml", CONFIG);
    write("bundle.pem", &authorities);
    write("svid.pem", &svid);
    std::fs::write(folder.path().join("lists.crl"), revocation_list()).expect("writing");
    write("svid.key", &key);
    write("idp.json", KEY_SET);
    let signing = KeyPair::generate().expect("a key");
    write("audit.pem", &signing.serialize_pem());
    write("policy.pub.pem", &signing.public_key_pem());
    std::fs::write(folder.path().join("policy.tar.gz"), bundle(&signing, REGO)).expect("writing");
    for secret in ["svid.key", "audit.pem"] {
        use std::os::unix::fs::PermissionsExt as _;
        let permissions = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(folder.path().join(secret), permissions).expect("chmod");
    }
    folder
}

const REGO: &str = "package postern.authz\n\ndefault decision := false\n";

/// A bundle of one policy, signed with this key.
fn bundle(key: &KeyPair, rego: &str) -> Vec<u8> {
    let key = SigningKey::from_pem(key.serialize_pem().as_bytes()).expect("a signing key");
    let manifest: &[u8] = br#"{"revision":"1","roots":["postern"],"rego_version":1}"#;
    signed_archive_of([(".manifest", manifest), ("authz.rego", rego.as_bytes())], &key).expect("a bundle")
}

/// A revocation list in DER that names nobody.
fn revocation_list() -> Vec<u8> {
    let times = CertificateParams::default();
    let list = CertificateRevocationListParams {
        this_update: times.not_before,
        next_update: times.not_after,
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let issuer = Issuer::new(times, KeyPair::generate().expect("a key"));
    list.signed_by(&issuer).expect("a list").der().to_vec()
}

/// A trust bundle, an SVID that chains to it, and its key; in PEM. Valid from 1975 to 4096.
fn svid() -> (String, String, String) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(vec![]).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    ca.subject_alt_names = vec![SanType::URI("spiffe://example.org".try_into().expect("a uri"))];
    let root = ca.self_signed(&ca_key).expect("a root");
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let mut leaf = CertificateParams::new(vec![]).expect("parameters");
    leaf.distinguished_name.push(DnType::CommonName, "app");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.subject_alt_names = vec![SanType::URI("spiffe://example.org/app".try_into().expect("a uri"))];
    let leaf = leaf.signed_by(&key, &issuer).expect("a leaf");
    (root.pem(), leaf.pem(), key.serialize_pem())
}

fn checked(folder: &Path, json: bool) -> (u8, String) {
    let args = Args { config: folder.join("postern.yaml"), json };
    let mut out = Vec::new();
    let code = run(&args, &mut out, &mut std::io::sink());
    (code, String::from_utf8(out).expect("text"))
}

/// Replaces one file of a sound folder; the report must be a refusal that says each of `parts`.
#[track_caller]
fn check(file: &str, content: impl AsRef<[u8]>, parts: &[&str]) {
    let folder = folder();
    std::fs::write(folder.path().join(file), content).expect("writing");
    let (code, report) = checked(folder.path(), false);
    assert_eq!(code, 1, "{report}");
    for part in parts {
        assert!(report.contains(part), "{part}\n{report}");
    }
    assert!(report.contains("postern.yaml is refused: 1 error, no warnings\n"), "{report}");
}

#[test]
fn a_sound_configuration_is_taken_and_its_meaning_shown() {
    let folder = folder();
    let (code, report) = checked(folder.path(), false);
    assert_eq!(code, 0, "{report}");
    assert!(report.contains("listener  app on 127.0.0.1:8443 for members of example.org\n"), "{report}");
    assert!(report.contains("  route   app-0: GET /a[/…] → app, token required, audit async\n"), "{report}");
    assert!(report.ends_with("postern.yaml would be taken: no warnings\n"), "{report}");
    assert!(!folder.path().join("audit").exists(), "check writes nothing");
}

#[test]
fn a_private_key_that_does_not_match_its_certificate_is_refused() {
    let (_, _, other) = svid();
    check("svid.key", other, &["identity.source.files.certificate", "svid.key`", "postern.yaml:4:"]);
}

#[test]
fn a_file_that_holds_something_else_is_refused_by_name() {
    check("svid.pem", "hello", &["identity.source.files.certificate"]);
    check("bundle.pem", "hello", &["identity.source.files.trust_bundles", "bundle.pem`"]);
    check("bundle.pem", "{}", &["identity.source.files.trust_bundles", "bundle.pem`"]);
    check("lists.crl", "hello", &["identity.source.files.crls", "lists.crl`"]);
    check("idp.json", "{\"keys\":[]}", &["tokens[0].keys.file", "idp.json`"]);
    check("policy.pub.pem", "hello", &["policy.bundles.authz.signers[0]", "policy.pub.pem`"]);
    check("audit.pem", "hello", &["audit.signer.ecdsa_p256.key", "audit.pem`"]);
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key").serialize_pem();
    check("audit.pem", ed25519, &["audit.signer.ecdsa_p256.key", "another kind"]);
    let big = "x".repeat(2 << 20);
    check("idp.json", big, &["tokens[0].keys.file", "more than 1048576 bytes"]);
}

#[test]
fn a_bundle_that_would_not_come_into_force_is_refused() {
    let key = "policy.bundles.authz.source.directory.path";
    let stranger = KeyPair::generate().expect("a key");
    check("policy.tar.gz", bundle(&stranger, REGO), &[key]);
    let unsigned = archive_of([("authz.rego", REGO.as_bytes())]).expect("an archive");
    check("policy.tar.gz", unsigned, &[key, "sign"]);
    check("policy.tar.gz", "hello", &[key]);
}

#[test]
fn a_policy_that_does_not_compile_is_refused_by_its_place() {
    let folder = folder();
    let key = KeyPair::generate().expect("a key");
    let write =
        |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).expect("writing");
    write("policy.pub.pem", key.public_key_pem().as_bytes());
    for (rego, part) in [
        ("package postern.authz\n\ndecision := nowhere(1)\n", "authz.rego"),
        ("package postern.other\n\ndecision := true\n", "postern/authz/decision"),
    ] {
        write("policy.tar.gz", &bundle(&key, rego));
        let (code, report) = checked(folder.path(), false);
        assert_eq!(code, 1, "{report}");
        assert!(report.contains("(policy.decision)") && report.contains(part), "{report}");
    }
}

#[test]
fn a_configuration_that_does_not_read_is_refused() {
    check("postern.yaml", CONFIG.replace("upstream: app", "upstream: ap"), &["did you mean `app`?"]);
    check("postern.yaml", "", &["error: "]);
}

#[test]
fn what_is_not_a_mistake_is_a_warning() {
    let folder = folder();
    let text = CONFIG.replace("tokens: required", "enforcement: observe");
    std::fs::write(folder.path().join("postern.yaml"), text).expect("writing");
    let (code, report) = checked(folder.path(), false);
    assert_eq!(code, 0, "{report}");
    assert!(report.starts_with("warning: this route is open"), "{report}");
    assert!(report.contains("OPEN (observe)"), "{report}");
    assert!(report.ends_with("would be taken: 1 warning\n"), "{report}");
}

#[test]
fn machines_get_one_json_object() {
    let folder = folder();
    let (code, report) = checked(folder.path(), true);
    let sound: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!((code, &sound["taken"], &sound["findings"]), (0, &json!(true), &json!([])));
    std::fs::write(folder.path().join("postern.yaml"), CONFIG.replace("version: 1", "version: 2"))
        .expect("writing");
    let (code, report) = checked(folder.path(), true);
    let refused: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!((code, &refused["taken"]), (1, &json!(false)));
    let finding = &refused["findings"][0];
    assert_eq!((&finding["level"], &finding["key"]), (&json!("error"), &json!("version")));
    assert_eq!(finding["place"], json!({ "line": 1, "column": 10 }));
    assert_eq!(finding["mend"], json!("write `version: 1`"));
}

#[test]
fn an_svid_near_its_end_is_told() {
    let folder = folder();
    let config = config::load(&folder.path().join("postern.yaml")).expect("taken").config;
    let said = |now_s: u64| -> Vec<String> {
        let now = postern_identity::UnixTime::since_unix_epoch(std::time::Duration::from_secs(now_s));
        contents::check_validity(&config, now).into_iter().map(|finding| finding.what).collect()
    };
    assert_eq!(said(1_795_000_000), Vec::<String>::new());
    // rcgen's certificates are valid from 1975-01-01 to 4096-01-01.
    assert!(said(157_000_000)[0].contains("not valid yet"));
    assert!(said(67_090_118_400)[0].contains("has expired"));
    assert!(said(67_090_117_400)[0].contains("expires in"));
    assert!(said(67_090_118_400)[1].contains("the last list in"));
}

#[test]
fn a_bootstrap_bundle_that_is_none_is_refused() {
    let relationship = "{ trust_domain: other.org, url: \"https://other.org/\", profile: { https_spiffe: { \
                        endpoint_spiffe_id: \"spiffe://other.org/server\", bootstrap_bundle: other.pem } } }";
    let federated = CONFIG.replace("identity:", &format!("identity:\n  federation: [{relationship}]"));
    let folder = folder();
    std::fs::write(folder.path().join("postern.yaml"), federated).expect("writing");
    let report_with = |content: &str| {
        std::fs::write(folder.path().join("other.pem"), content).expect("writing");
        checked(folder.path(), false)
    };
    let (code, report) = report_with("hello");
    let key = "identity.federation[0].profile.https_spiffe.bootstrap_bundle";
    assert!(code == 1 && report.contains(key) && report.contains("other.pem`"), "{report}");
    let (code, report) = report_with(&svid().0);
    let said = "federated with other.org, by https://other.org/ as spiffe://other.org/server";
    assert!(code == 0 && report.contains(said), "{report}");
}

#[test]
fn it_is_said_who_named_the_workload_api() {
    let folder = folder();
    let mut config = config::load(&folder.path().join("postern.yaml")).expect("taken").config;
    for (origin, said) in [
        (
            config::EndpointOrigin::Configuration,
            "identity  from the Workload API at unix:///a.sock, its first SVID\n",
        ),
        (config::EndpointOrigin::Environment, "at unix:///a.sock (SPIFFE_ENDPOINT_SOCKET), its first SVID\n"),
    ] {
        let endpoint = "unix:///a.sock".parse().expect("an endpoint");
        let selection = config::SvidSelection::First;
        config.identity.source = config::IdentitySource::WorkloadApi { endpoint, origin, selection };
        let summary = summary::Summary(&config).to_string();
        assert!(summary.contains(said), "{summary}");
    }
}

#[test]
fn a_report_that_nobody_reads_changes_no_exit_code() {
    let folder = folder();
    let config = folder.path().join("postern.yaml");
    let at = config.display().to_string();
    check_unread(&["check", "-c", &at], 0);
    check_unread(&["check", "-c", &at, "--json"], 0);
    std::fs::write(&config, CONFIG.replace("upstream: app", "upstream: ap")).expect("writing");
    check_unread(&["check", "-c", &at], 1);
}
