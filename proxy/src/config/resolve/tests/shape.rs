//! What is refused before anything has a meaning, how it is reported, and the files that are named.

use super::*;

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    check("version: 1", "version: 1\nlistners: {}", "listners", "did you mean `listeners`?");
    check("directory: audit", "directory: audit\n  moed: durable", "audit.moed", "did you mean `mode`?");
    check(
        ROUTE,
        "{ match: { path_prefx: / }, upstream: app }",
        "listeners.app.routes[0].match.path_prefx",
        "`path_prefix`",
    );
    check("{ ed25519:", "{ ed25518:", "audit.signer.ed25518", "did you mean `ed25519`?");
    check(
        "upstream: app }",
        "upstream: app, enforcement: Observe }",
        "listeners.app.routes[0].enforcement",
        "`observe`",
    );
    check(
        "{ rego: postern/authz/decision }",
        "{ cedar: { x: 1 } }",
        "policy.decision.cedar.x",
        "unknown key `x`",
    );
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    check("directory: audit", "directory: audit\n  directory: other", "audit.directory", "stands here twice");
    let upstream = "  app: { endpoints: [\"127.0.0.1:8080\"] }";
    check(upstream, &format!("{upstream}\n{upstream}"), "upstreams.app", "stands here twice");
}

#[test]
fn a_missing_key_is_named_with_its_place() {
    check("  directory: audit\n", "", "audit", "`directory` is missing");
    check("version: 1\n", "", "", "`version` is missing");
    check(
        "{ match: { path_prefix: / }, upstream: app }",
        "{ match: {} }",
        "listeners.app.routes[0]",
        "`upstream`",
    );
}

#[test]
fn yaml_that_means_more_than_it_shows_is_refused() {
    let refused = |text: &str| read(text).expect_err("a refusal").to_string();
    for text in [
        least("directory: audit", "directory: &x audit"),
        least("directory: audit", "directory: *x"),
        least("directory: audit", "<<: { directory: audit }"),
        least("directory: audit", "directory: !env HOME"),
        [LEAST, "---\n", LEAST].concat(),
        LEAST.replace("audit:\n", "audit:\n\t"),
        format!("version: 1\nx: {}", "[".repeat(200)),
        format!("version: 1\nx: {}", "[".repeat(100_000)),
        format!("#{}", "x".repeat(2 << 20)),
        "version: [".to_owned(),
        "version: 1\u{0}".to_owned(),
        "\u{feff}{".to_owned(),
        String::new(),
        "42".to_owned(),
    ] {
        assert!(refused(&text).starts_with("error: "), "{text:.80}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let text = LEAST
        .replace("path_prefix: /", "path_prefix: a")
        .replace("upstream: app", "upstream: ap")
        .replace("127.0.0.1:8080", "nowhere")
        .replace("max_wait", "")
        .replace("directory: audit", "directory: audit\n  max_wait: 5");
    let findings = read(&text).expect_err("a refusal");
    let keys: Vec<&str> = findings.list.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "listeners.app.routes[0].match.path_prefix",
            "listeners.app.routes[0].upstream",
            "upstreams.app.endpoints[0]",
            "audit.max_wait",
        ],
        "\n{findings}"
    );
}

#[test]
fn a_report_shows_the_line_and_the_mend() {
    let report = read(&least("upstream: app }", "upstream: ap }")).expect_err("a refusal").to_string();
    let expected = "\
error: there is no upstream `ap`
  --> /etc/postern/postern.yaml:10:48 (listeners.app.routes[0].upstream)
   |
10 |       - { match: { path_prefix: / }, upstream: ap }
   |                                                ^
  = mend: did you mean `app`? there is `app`; or add `ap` to `upstreams`
";
    assert_eq!(report, expected);
}

#[test]
fn a_report_carries_no_control_characters() {
    let report =
        read(&least("upstream: app }", "upstream: \"a\\u001b[31m\" }")).expect_err("a refusal").to_string();
    assert!(report.chars().all(|c| c == '\n' || !c.is_control()), "{report:?}");
}

#[test]
fn the_files_a_configuration_names_are_looked_at() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("postern.yaml");
    std::fs::write(&file, LEAST).expect("writing");
    let findings = load(&file).expect_err("nothing is there");
    let keys: Vec<&str> = findings.list.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "policy.bundles.authz.source.directory.path",
            "policy.bundles.authz.signers[0]",
            "audit.signer.ed25519.key"
        ]
    );
    std::fs::create_dir(folder.path().join("policy")).expect("a folder");
    for name in ["policy.pub.pem", "audit.pem"] {
        std::fs::write(folder.path().join(name), "x").expect("writing");
    }
    let mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path().join("audit.pem"), permissions).expect("chmod");
    };
    mode(0o644);
    let loaded = load(&file).unwrap_or_else(|findings| panic!("{findings}"));
    let [warning] = loaded.warnings.list.as_slice() else { panic!("{}", loaded.warnings) };
    assert!(warning.mend.starts_with("chmod 600 "), "{}", loaded.warnings);
    mode(0o640);
    assert!(load(&file).unwrap_or_else(|findings| panic!("{findings}")).warnings.list.is_empty());
    std::fs::write(folder.path().join("audit"), "x").expect("writing");
    assert!(load(&file).expect_err("a file in the folder's place").to_string().contains("is not a folder"));
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_one_clear_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |path: &Path| load(path).expect_err("a refusal").to_string();
    assert!(refused(&folder.path().join("nowhere.yaml")).contains("cannot read the configuration"));
    assert!(refused(folder.path()).contains("cannot read the configuration"));
    let file = folder.path().join("postern.yaml");
    std::fs::write(&file, b"version: \xff").expect("writing");
    assert!(refused(&file).contains("not UTF-8"));
    std::fs::write(&file, vec![b' '; FILE_BYTES_MAX + 10]).expect("writing");
    assert!(refused(&file).contains("at most 1048576"));
}
