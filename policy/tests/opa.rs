//! Real OPA as the judge: what it signs we verify, what we sign it verifies, and where the engine's meaning was mended
//! both give the same answers. Runs where `POSTERN_OPA` names the program.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that fails says so by panicking"
)]
use postern_policy::bundle::signed_archive_of;
use postern_policy::{
    BundleLimits, Decision, Entry, Http, NoHeaders, Pdp, PdpLimits, PolicyBundle, Query, Scratch,
    SignatureAlgorithm, SignerKey, Signers, SigningKey, Source,
};
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

/// The program, or a word that it is missing.
fn opa() -> Option<PathBuf> {
    let program = std::env::var_os("POSTERN_OPA").map(PathBuf::from);
    if program.is_none() {
        let thread = std::thread::current();
        println!("SKIPPED {}: POSTERN_OPA is not set", thread.name().unwrap_or("a test"));
    }
    program
}

fn run<I: AsRef<OsStr>>(program: &PathBuf, arguments: &[I]) -> Output {
    Command::new(program).args(arguments).output().expect("opa runs")
}

/// A folder with bundle sources and a key pair.
struct Place {
    folder: TempDir,
}

const MANIFEST: &str = r#"{"revision": "from-opa", "roots": ["t", "u"], "rego_version": 1}"#;
/// Literals and characters whose canonical form is easy to get wrong.
const DATA: &str =
    r#"{ "b": [1.0, 1e3, -0, 12345678901234567890123, 0.1], "a": "<&>\u2028\u0001\b\f/é😀\"\\", "": {} }"#;

impl Place {
    fn new(algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        let place = Self { folder: TempDir::new().unwrap() };
        let key = if algorithm == &rcgen::PKCS_RSA_SHA256 {
            rcgen::KeyPair::generate_rsa_for(algorithm, rcgen::RsaKeySize::_2048).unwrap()
        } else {
            rcgen::KeyPair::generate_for(algorithm).unwrap()
        };
        fs::create_dir_all(place.path("src/u")).unwrap();
        fs::write(place.path("key.pem"), key.serialize_pem()).unwrap();
        fs::write(place.path("key.pub.pem"), key.public_key_pem()).unwrap();
        fs::write(place.path("src/.manifest"), MANIFEST).unwrap();
        fs::write(place.path("src/u/data.json"), DATA).unwrap();
        fs::write(place.path("src/t.rego"), "package t\n\nallow := true\n").unwrap();
        place
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn signer(&self, algorithm: SignatureAlgorithm) -> SignerKey {
        SignerKey::from_pem_with("k", &self.read("key.pub.pem"), algorithm).unwrap()
    }
}

const KINDS: [(&rcgen::SignatureAlgorithm, SignatureAlgorithm); 4] = [
    (&rcgen::PKCS_ECDSA_P256_SHA256, SignatureAlgorithm::Es256),
    (&rcgen::PKCS_ECDSA_P384_SHA384, SignatureAlgorithm::Es384),
    (&rcgen::PKCS_RSA_SHA256, SignatureAlgorithm::Rs256),
    (&rcgen::PKCS_RSA_SHA256, SignatureAlgorithm::Ps256),
];

#[test]
fn a_bundle_that_opa_builds_and_signs_is_taken() {
    let Some(program) = opa() else { return };
    for (kind, algorithm) in KINDS {
        let place = Place::new(kind);
        let (src, out, key) = (place.path("src"), place.path("b.tar.gz"), place.path("key.pem"));
        let arguments =
            ["build", "-b", &src, "-o", &out, "--signing-key", &key, "--signing-alg", algorithm.jws_name()];
        let built = run(&program, &arguments);
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let signers = Signers::Keys(vec![place.signer(algorithm)]);
        let bundle = PolicyBundle::open(&place.read("b.tar.gz"), &BundleLimits::default(), &signers);
        let bundle = bundle.unwrap_or_else(|error| panic!("{algorithm:?}: {error}"));
        assert!(bundle.is_signed());
        assert_eq!(bundle.policies().count(), 1);
    }
}

#[test]
fn a_bundle_that_is_signed_here_is_verified_by_opa() {
    let Some(program) = opa() else { return };
    for (kind, algorithm) in KINDS {
        let place = Place::new(kind);
        let mut key = SigningKey::from_pem(&place.read("key.pem")).unwrap();
        if algorithm == SignatureAlgorithm::Ps256 {
            key = key.with_rsa_pss();
        }
        let data = place.read("src/u/data.json");
        let verified = |policy: &[u8], signed: &[u8]| {
            let files =
                [(".manifest", MANIFEST.as_bytes()), ("t.rego", signed), ("u/data.json", data.as_slice())];
            let archive = signed_archive_of(files, &key).unwrap();
            let mut files = postern_policy::bundle::files_of(&archive, &BundleLimits::default()).unwrap();
            files.insert("t.rego".to_owned(), policy.to_vec());
            let archive =
                postern_policy::bundle::archive_of(files.iter().map(|(n, c)| (n.as_str(), c.as_slice())))
                    .unwrap();
            fs::write(place.path("ours.tar.gz"), archive).unwrap();
            let (ours, public, private) =
                (place.path("ours.tar.gz"), place.path("key.pub.pem"), place.path("key.pem"));
            let out = place.path("again.tar.gz");
            let alg = algorithm.jws_name();
            let arguments = [
                "build",
                "-b",
                &ours,
                "-o",
                &out,
                "--verification-key",
                &public,
                "--signing-alg",
                alg,
                "--signing-key",
                &private,
            ];
            run(&program, &arguments)
        };
        let whole = verified(b"package t\n\nallow := true\n", b"package t\n\nallow := true\n");
        assert!(whole.status.success(), "{algorithm:?}: {}", String::from_utf8_lossy(&whole.stderr));
        let changed = verified(b"package t\n\nallow := true\n", b"package t\n\nallow := false\n");
        assert!(!changed.status.success(), "{algorithm:?}: OPA took a bundle with a changed policy");
    }
}

/// Decides a rule by both, on the input that our own builder makes of a plain request.
fn check(program: &PathBuf, rule: &str) {
    let policy = format!("package t\n\ndefault allow := false\n\n{rule}\n\nf(x) if x == \"blocked\"\n");
    let data = r#"{"blocked": {"mallory": true}, "list": ["x"]}"#;
    let input = r#"{"attributes": {"request": {"http": {"method": "GET"}}}}"#;
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (p, d, i) = (write("t.rego", &policy), write("data.json", data), write("input.json", input));
    let theirs = run(program, &["eval", "-d", &p, "-d", &d, "-i", &i, "--format", "raw", "data.t.allow"]);
    let theirs = String::from_utf8_lossy(&theirs.stdout).trim() == "true";

    let files = [("t.rego", policy.as_bytes()), ("data.json", data.as_bytes())];
    let bundle =
        PolicyBundle::from_files(files, &BundleLimits::default(), &Signers::UnsignedAllowedForDevelopment);
    let limits = PdpLimits { timeout: Duration::from_secs(20), ..PdpLimits::default() };
    let pdp = Pdp::load(&[("b", bundle.unwrap())], &Entry::Rego { path: "t/allow".to_owned() }, &limits);
    let pdp = pdp.unwrap_or_else(|error| panic!("{rule}: {error}"));
    let source = Source {
        address: "127.0.0.1:1".parse().ok(),
        spiffe_id: None,
        trust_domain: None,
        sni: None,
        certificate_serial: None,
        tls: postern_policy::Tls::default(),
    };
    let http = Http {
        id: "1",
        scheme: "https",
        authority: "a",
        path: "/",
        query: None,
        protocol: "HTTP/2",
        headers: &NoHeaders,
        body: postern_policy::Body::NotRead,
        size: 0,
    };
    let query = Query {
        now_ns: 1,
        action: "GET",
        source,
        destination: "127.0.0.1:2".parse().ok(),
        destination_principal: None,
        http: Some(http),
        claims: None,
        token_issuer: None,
        transaction: None,
        workload_token: None,
        route: "r",
        service: "s",
    };
    let ours = pdp.decide(&mut Scratch::default(), &query);
    assert_eq!(ours.decision == Decision::Allow, theirs, "{rule}: OPA says {theirs}, we say {ours:?}");
}

#[test]
fn negation_means_what_opa_means() {
    let Some(program) = opa() else { return };
    let method = "input.attributes.request.http.method";
    for negated in [
        "not data.blocked[input.user]",
        "not startswith(input.path, \"/admin\")",
        "not input.nothing == \"x\"",
        "not input.level > 5",
        "not \"admin\" in input.roles",
        "not \"admin\" in data.list",
        "not input.user in data.list",
        "not count(input.roles) > 5",
        "not f(input.user)",
        "not f(lower(input.user))",
        "not [input.user]",
        "not {\"a\": input.user} == {\"a\": 1}",
        "not input.user + 1 == 2",
        "not data.blocked[lower(input.user)]",
        "not data.blocked[data.names[input.user]]",
        "not data.blocked[input.user] with input.user as \"q\"",
        &format!("not f({method})"),
        &format!("not data.blocked[{method}]"),
        &format!("not {method} == lower(input.user)"),
    ] {
        for shape in [
            format!("allow if {negated}"),
            format!("allow if {{\n\t1 == 1\n\t{negated}\n}}"),
            format!("allow if {{ every x in [1, 2] {{ x > 0; {negated} }} }}"),
            format!("allow if count([1 | {negated}]) == 1"),
        ] {
            check(&program, &shape);
        }
    }
    check(&program, "allow if { some i; data.list[i]; not f(data.list[i]) }");
    check(&program, "allow if not count([i | some i; data.list[i]]) > 5");
    check(&program, "allow if { some u in [\"q\"]; not data.blocked[u] }");
}

#[test]
fn globs_and_patterns_mean_what_opa_means() {
    let Some(program) = opa() else { return };
    for condition in [
        r#"glob.match("/admin**", ["/"], "/admin/x/y")"#,
        r#"glob.match("/a/**c", ["/"], "/a/b/c")"#,
        r#"glob.match("/a/**", ["/"], "/a")"#,
        r#"glob.match("/a/*", ["/"], "/a/")"#,
        r#"glob.match("*", null, "a.b/c")"#,
        r#"glob.match("*", [], "a.b")"#,
        r#"glob.match("*:*", [":"], "a:b:c")"#,
        r#"glob.match("{a,b}/*", ["/"], "b/c")"#,
        r#"glob.match("[!0-9]", [], "7")"#,
        r#"glob.match("[a-c]", [], "b")"#,
        r#"glob.match("[abc]", [], "b")"#,
        r#"glob.match("a?c", ["/"], "a/c")"#,
        r#"glob.match("\\*", [], "*")"#,
        r#"glob.match("", [], "")"#,
        r#"glob.match("*", ["/"], "")"#,
        r#"regex.match(`^\w+$`, "é")"#,
        r#"regex.match(`^\d+$`, "٣")"#,
        r#"regex.match(`\bx\b`, "éxé")"#,
        r#"regex.match(`^[[:alpha:]]+$`, "é")"#,
        r#"regex.match(`^[^\w]$`, "é")"#,
        r#"regex.match(`(?i)straße`, "STRASSE")"#,
        r#"regex.match(`^.$`, "é")"#,
        r#"regex.match(`^a$`, "a\n")"#,
        r#"regex.match(`^[a&&b]$`, "&")"#,
        r#"regex.replace("a1é", `\W`, "-") == "a1-""#,
        r#"regex.split(`\d`, "a1b٣c") == ["a", "b٣c"]"#,
        r#"strings.count("abc", "") == 4"#,
        r#"numbers.range(3, 1) == [3, 2, 1]"#,
    ] {
        check(&program, &format!("allow if {condition}"));
        check(&program, &format!("allow if not {condition}"));
    }
}
