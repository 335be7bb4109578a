use super::*;
use crate::cli::tests::check_unread;
use clap::Parser;
use std::fs;
use tempfile::TempDir;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// Runs a command line in which `@` stands for the folder; gives the exit code and what was said.
fn policy(folder: &TempDir, line: &str) -> (u8, String) {
    let at = folder.path().display().to_string();
    let words =
        std::iter::once("policy".to_owned()).chain(line.split(' ').map(|word| word.replace('@', &at)));
    let cli = Cli::try_parse_from(words).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&cli.args, &mut out, &mut err);
    out.extend(err);
    (code, String::from_utf8(out).unwrap())
}

fn check(folder: &TempDir, line: &str, want_code: u8, want: &str) {
    let (code, said) = policy(folder, line);
    assert_eq!(code, want_code, "{line}: {said}");
    assert!(said.contains(want), "{line}: `{said}` lacks `{want}`");
}

fn write(folder: &TempDir, name: &str, content: &str) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

const CASES: &str = "decision: { rego: p/allow }\ncases:\n  - { name: get, who: spiffe://e.org/w, do: GET /, expect: allow }\n";

/// A policy whose tests pass.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    write(&folder, "x/bundle/.manifest", r#"{"roots": ["p"]}"#);
    write(
        &folder,
        "x/bundle/p.rego",
        "package p\ndefault allow := false\nallow if input.attributes.request.http.method == \"GET\"\n",
    );
    write(&folder, "x/bundle/p_test.rego", "package p_test\ntest_put if not data.p.allow\n");
    write(&folder, "x/cases.yaml", CASES);
    folder
}

#[test]
fn tests_are_found_from_the_folder_around_the_bundle_and_from_an_archive() {
    let folder = folder();
    check(&folder, "test @/x", 0, "2 passed\n");
    check(&folder, "test @/x/bundle", 0, "2 passed\n");
    check(&folder, "test @/x @/x/bundle", 0, "4 passed\n");
    check(&folder, "test @/x --run test_put --verbose", 0, "data.p_test.test_put\n");
    let words = ["postern", "bundle", "build", "@/x/bundle", "--out", "@/b.tar.gz"];
    let at = folder.path().display().to_string();
    let words = words.map(|word| word.replace('@', &at).into());
    assert_eq!(crate::cli::answer(words, &mut io::sink(), &mut io::sink()), 0);
    check(&folder, "test @/b.tar.gz --cases @/x/cases.yaml --verbose", 0, "get\n\n1 passed\n");
    check(&folder, "test @/b.tar.gz", 1, "nothing to test");
}

#[test]
fn what_fails_is_told_with_its_place_and_exits_with_1() {
    let folder = folder();
    write(&folder, "x/cases.yaml", &CASES.replace("expect: allow", "expect: deny"));
    check(&folder, "test @/x", 1, "x/cases.yaml:3  get\n         expected deny, got allow\n");
    check(&folder, "test @/x", 1, "1 passed, 1 failed\n");
    write(
        &folder,
        "x/bundle/q_test.rego",
        "package p_test\ntest_get if {\n\tprint(\"seen\")\n\tdata.p.allow\n}\n",
    );
    check(&folder, "test @/x --run test_get", 1, "first condition that does not hold: ");
    check(&folder, "test @/x --run test_get", 1, "input.attributes.request.http.method is undefined\n");
    check(&folder, "test @/x --run test_get", 1, "seen\n");
}

#[test]
fn reports_for_machines_are_written_as_asked() {
    let folder = folder();
    check(&folder, "test @/x --coverage", 0, " 100.0 %  all  (3 of 3 lines)\n");
    let (_, said) = policy(&folder, "test @/x --coverage --json");
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(told.pointer("/passed"), Some(&2.into()));
    assert_eq!(told.pointer("/coverage/coverage"), Some(&100.0.into()));
    check(&folder, "test @/x --junit @/j.xml --sarif @/s.json", 0, "2 passed\n");
    assert!(fs::read_to_string(folder.path().join("j.xml")).unwrap().contains("tests=\"2\" failures=\"0\""));
    let told = fs::read(folder.path().join("s.json")).unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told.pointer("/version"), Some(&"2.1.0".into()));
    check(&folder, "test @/x --junit @/nosuch/j.xml", 1, "nosuch/j.xml");
}

#[test]
fn what_cannot_be_tested_is_refused_in_one_line() {
    let folder = folder();
    check(&folder, "test @/nosuch", 1, "nosuch` cannot be read");
    check(&folder, "test @/x --cases @/nosuch.yaml", 1, "nosuch.yaml");
    check(&folder, "test @/x --run nosuch", 1, "no test has a name that matches `nosuch`");
    write(&folder, "x/cases.yaml", &format!("{CASES}more: 1\n"));
    check(&folder, "test @/x", 1, "more");
    write(&folder, "x/cases.yaml", "cases_from: nosuch.yaml\ndecision: { rego: p/allow }\ncases: []\n");
    check(&folder, "test @/x", 1, "nosuch.yaml");
    fs::remove_file(folder.path().join("x/cases.yaml")).unwrap();
    write(&folder, "x/bundle/p_test.rego", "package p_test\ntest_put if {\n");
    check(&folder, "test @/x", 1, "x/bundle/p_test.rego:");
    fs::write(folder.path().join("x/bundle/p_test.rego"), [0xff]).unwrap();
    check(&folder, "test @/x", 1, "`p_test.rego` is not UTF-8");
    let usage = ["postern", "policy", "test", "x", "--run", "("].map(Into::into);
    assert_eq!(crate::cli::answer(usage, &mut io::sink(), &mut io::sink()), 2);
}

#[test]
fn whoever_watches_sees_each_change_once() {
    let folder = folder();
    let at = folder.path().display().to_string();
    let cli = Cli::try_parse_from(["policy", "test", &format!("{at}/x"), "--watch"]).unwrap();
    let Action::Test(args) = &cli.args.action else { panic!("no test") };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut turn = 0;
    let passed = test::watch(args, &mut out, &mut err, &mut || {
        turn += 1;
        match turn {
            1 => {}
            2 => write(&folder, "x/bundle/p_test.rego", "package p_test\ntest_put if {\n"),
            3 => write(&folder, "x/bundle/p_test.rego", "package p_test\ntest_other if not data.p.allow\n"),
            _ => return false,
        }
        true
    });
    assert!(passed.unwrap());
    let said = String::from_utf8(out).unwrap();
    assert_eq!(said.matches("2 passed").count(), 2, "{said}");
    assert_eq!(said.matches("waiting for a change").count(), 3, "{said}");
    assert_eq!(String::from_utf8(err).unwrap().matches("error: ").count(), 1);
}

#[test]
fn a_new_policy_passes_its_tests_and_overwrites_nothing() {
    for template in postern_policy::tooling::TEMPLATES {
        let folder = TempDir::new().unwrap();
        let line = format!("new @/mine --language {} --template {}", template.language, template.name);
        check(&folder, &line, 0, "mine/bundle/.manifest\n");
        check(&folder, "test @/mine", 0, " passed\n");
        check(&folder, &line, 1, "is there already; nothing was written");
    }
    let folder = TempDir::new().unwrap();
    check(&folder, "new @/.hidden --language rego", 1, "a policy's name");
    check(&folder, "new @/.. --language rego", 1, "a policy's name");
    check(&folder, "new @/mine --language rego --template nosuch", 1, "there are: deny-all, rbac, jwt");
    write(&folder, "mine", "a file");
    check(&folder, "new @/mine --language rego", 1, "is there already");
    assert_eq!(fs::read_to_string(folder.path().join("mine")).unwrap(), "a file");
}

#[test]
fn a_question_is_answered_and_explained() {
    let folder = folder();
    write(&folder, "i.json", r#"{"attributes": {"request": {"http": {"method": "PUT"}}}}"#);
    write(&folder, "r.json", r#"{"who": "spiffe://e.org/w", "do": "PUT /"}"#);
    check(&folder, "eval @/x --query data.p.allow --input @/i.json", 0, "false\n");
    check(&folder, "eval @/x --entry p/allow --input @/i.json --explain", 0, "http.method is \"PUT\"\n");
    check(&folder, "eval @/x --request @/r.json --explain", 0, "DENY  policy.denied\n");
    let (_, said) = policy(&folder, "eval @/x --request @/r.json --explain --json");
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(told.pointer("/decision/code"), Some(&"policy.denied".into()));
    assert_eq!(told.pointer("/attempts/0/held"), Some(&false.into()));
    check(&folder, "eval @/x/bundle/p.rego --entry p/allow", 1, "error: ");
    check(&folder, "eval @/x --entry p/nosuch", 1, "no rule stands at `p/nosuch`");
    check(&folder, "eval @/x --entry p/\u{9b}2J", 1, "no rule stands at `p/\\u{9b}2J`");
    check(&folder, "eval @/x --entry p/allow --input @/nosuch.json", 1, "nosuch.json");
    write(&folder, "bad.json", r#"{"who": "w", "do": "GET /", "expcet": 1}"#);
    check(&folder, "eval @/x --request @/bad.json", 1, "expcet");
    fs::remove_file(folder.path().join("x/cases.yaml")).unwrap();
    check(&folder, "eval @/x", 1, "say what is asked");
}

#[test]
fn cedar_answers_in_the_same_words() {
    let folder = TempDir::new().unwrap();
    check(&folder, "new @/mine --language cedar --template rbac", 0, "wrote");
    write(&folder, "r.json", r#"{"who": "spiffe://example.org/web", "do": "GET /items/7"}"#);
    check(&folder, "eval @/mine --request @/r.json", 0, "ALLOW  policy.allowed\npolicies  reader\n");
    write(&folder, "r.json", r#"{"do": "GET /items/7"}"#);
    check(&folder, "eval @/mine --cedar --request @/r.json", 0, "DENY  policy.error\n");
    check(&folder, "eval @/mine --cedar", 1, "--request");
}

/// A Cedar policy with a table of one case, which passes.
fn cedar_folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let policy = "@id(\"items\")\npermit (principal, action == Action::\"GET\", resource)\n\
        when { context.depth == 1 && context.path like \"/items*\" };\n";
    write(&folder, "x/bundle/p.cedar", policy);
    let case = "{ name: get, who: spiffe://e.org/w, do: GET /items, expect: allow }";
    write(&folder, "x/cases.yaml", &format!("decision: {{ cedar: {{}} }}\ncases:\n  - {case}\n"));
    folder
}

#[test]
fn cedar_is_explained_by_the_condition_that_came_nearest() {
    let folder = cedar_folder();
    write(&folder, "r.json", r#"{"who": "spiffe://e.org/w", "do": "GET /other"}"#);
    let explain = "eval @/x --request @/r.json --explain";
    check(&folder, explain, 0, "does not hold: 2 of 3 conditions met\n");
    check(
        &folder,
        explain,
        0,
        "p.cedar:3:30  context.path like \"/items*\"\n      context.path is \"/other\"\n",
    );
    check(&folder, explain, 0, "\nnearest: permit items at ");
    let (_, said) = policy(&folder, "eval @/x --request @/r.json --explain --json");
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(told.pointer("/decision/code"), Some(&"policy.denied".into()));
    assert_eq!(told.pointer("/attempts/0/rule"), Some(&"permit items".into()));
    assert_eq!(told.pointer("/attempts/0/met"), Some(&2.into()));
    write(&folder, "r.json", r#"{"who": "spiffe://e.org/w", "do": "PUT /items"}"#);
    check(&folder, explain, 0, "action == Action::\"GET\"\n      action is ");
    let (_, said) = policy(&folder, "eval @/x --request @/r.json");
    assert!(!said.contains("nearest"), "{said}");
}

#[test]
fn coverage_of_cedar_names_what_no_case_shows() {
    let folder = cedar_folder();
    check(&folder, "test @/x --coverage", 0, " 100.0 %  all  (2 of 2 lines)\n");
    check(&folder, "test @/x --coverage", 0, "never seen not to hold: ");
    let denied = fs::read_to_string(folder.path().join("x/cases.yaml")).unwrap();
    let denied = denied.replace("GET /items", "GET /a/b").replace("allow", "deny");
    write(&folder, "x/cases.yaml", &denied);
    check(&folder, "test @/x --coverage", 0, "not covered: ");
    check(&folder, "test @/x --coverage", 0, "never determined an answer: ");
    let (_, said) = policy(&folder, "test @/x --coverage --json");
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(told.pointer("/coverage/policies/0/determined"), Some(&0.into()));
    assert_eq!(told.pointer("/coverage/policies/0/conditions/0/not_held"), Some(&1.into()));
    write(&folder, "x/cases.yaml", &denied.replace("deny", "allow"));
    check(&folder, "test @/x", 1, "first condition that does not hold: ");
}

#[test]
fn decisions_are_measured_over_the_cases() {
    let folder = folder();
    check(&folder, "bench @/x", 0, "on this machine");
    let (_, said) = policy(&folder, "bench @/x --entry p/allow --json");
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(told.pointer("/all/median_ns").unwrap().as_u64().unwrap() > 0, "{said}");
    check(&folder, "bench @/x --entry p/nosuch", 1, "p/nosuch");
    write(&folder, "y/p.rego", "package p\nallow := true\n");
    check(&folder, "bench @/y", 1, "there are no cases to ask");
    check(&folder, "bench @/x/bundle/p.rego", 1, "no whole gzip");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = folder();
    let at = folder.path().join("x").display().to_string();
    check_unread(&["policy", "test", &at], 0);
    check_unread(&["policy", "eval", &at, "--entry", "p/allow"], 0);
}

#[test]
fn check_tells_places_and_ends_by_what_the_findings_weigh() {
    let folder = folder();
    check(&folder, "check @/x", 0, "0 errors, 0 warnings, 0 notes in 1 file\n");
    write(&folder, "x/bundle/q.rego", "package p.q\nimport data.p\nb if input.metod == 1\n");
    check(&folder, "check @/x", 1, "x/bundle/q.rego:3:12 error[P0101]: ");
    check(&folder, "check @/x/bundle --json", 1, "\"code\":\"P0101\"");
    check(&folder, "check @/x/bundle/q.rego", 1, "name it by `--entry`");
    check(&folder, "check @/x --sarif @/s.json --junit @/j.xml", 1, "warning[P0204]");
    let sarif: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("s.json")).unwrap()).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "P0501");
    assert!(fs::read_to_string(folder.path().join("j.xml")).unwrap().contains("failures=\"1\""));
    check(&folder, "check @/x/bundle/p.rego --entry p/nope", 1, "x/bundle/p.rego:1:1 error[P0007]");
    write(&folder, "x/bundle/q.rego", "package p.q\nb := 1\n");
    check(&folder, "check @/x --strict --junit @/j.xml", 1, "warning[P0204]");
    assert!(fs::read_to_string(folder.path().join("j.xml")).unwrap().contains("<failure type=\"P0204\""));
    check(&folder, "check @/x", 0, "warning[P0204]");
    check(&folder, "check @/x --strict", 1, "warning[P0204]");
    check(&folder, "check @/x --entry p/q/b", 0, "`data.p.allow` is never asked");
    check(&folder, "check @/x --cedar", 1, "error[P0008]");
}

#[test]
fn check_refuses_what_it_cannot_read() {
    let folder = folder();
    check(&folder, "check @/nowhere", 1, "nowhere");
    fs::create_dir(folder.path().join("empty")).unwrap();
    check(&folder, "check @/empty", 1, "empty:1:1 error[P0005]: there is no policy here");
    write(&folder, "z/p_test.rego", "package p_test\ntest_a if true\n");
    check(&folder, "check @/x @/z", 1, "z:1:1 error[P0005]");
    check(&folder, "check @/z/p_test.rego", 1, "error[P0005]");
    fs::remove_dir_all(folder.path().join("z")).unwrap();
    std::os::unix::fs::symlink("/nowhere/q.rego", folder.path().join("x/bundle/q.rego")).unwrap();
    check(&folder, "check @/x", 1, "x/bundle/q.rego` cannot be read");
    fs::remove_file(folder.path().join("x/bundle/q.rego")).unwrap();
    check(&folder, "check @/x --sarif @/no/such/s.json", 1, "no/such/s.json");
    write(&folder, "x/cases.yaml", "decision: 1\n");
    check(&folder, "check @/x", 1, "cases.yaml");
    assert!(Cli::try_parse_from(["policy", "check", "a", "--entry", "b", "--cedar"]).is_err());
    assert!(Cli::try_parse_from(["policy", "check"]).is_err());
}

/// A folder with an older and a newer policy; the newer allows POST as well.
fn versions() -> TempDir {
    let folder = folder();
    write(&folder, "y/bundle/.manifest", r#"{"roots": ["p"]}"#);
    let text = "package p\ndefault allow := false\nallow if input.attributes.request.http.method in {\"GET\", \"POST\"}\n";
    write(&folder, "y/bundle/p.rego", text);
    write(&folder, "y/cases.yaml", CASES);
    folder
}

#[test]
fn diff_tells_what_is_newly_allowed_and_fails_on_it_if_asked() {
    let folder = versions();
    check(&folder, "diff @/x @/y", 0, "newly allowed: ");
    check(&folder, "diff @/x @/y", 0, "tested, not proved");
    check(&folder, "diff @/x @/y --fail-on-widening", 1, "POST /");
    check(&folder, "diff @/y @/x --fail-on-widening", 0, "0 newly allowed");
    check(&folder, "diff @/x @/x --fail-on-widening", 0, "0 newly allowed, 0 newly denied");
    check(&folder, "diff @/x @/y --json", 0, "\"proved\":false");
    write(&folder, "r.jsonl", "{\"do\": \"GET /\"}\n{\"do\": \"POST /\"}\n");
    check(
        &folder,
        "diff @/x @/y --requests @/r.jsonl",
        0,
        "1 newly allowed, 0 newly denied, 0 with other demands or grounds, of 2 requests",
    );
    write(&folder, "z/p.cedar", "permit (principal, action == Action::\"GET\", resource);\n");
    check(&folder, "diff @/x @/z", 0, "newly denied");
}

#[test]
fn diff_refuses_what_it_cannot_compare() {
    let folder = versions();
    write(&folder, "r.jsonl", "{\"do\": \"GET /\"}\nnonsense\n");
    check(&folder, "diff @/x @/y --requests @/r.jsonl", 1, "r.jsonl`: line 2: it is no JSON");
    write(&folder, "empty.jsonl", "\n");
    check(&folder, "diff @/x @/y --requests @/empty.jsonl", 1, "holds no requests");
    check(&folder, "diff @/x @/nowhere", 1, "nowhere");
    let mend = "p.rego`: the bundle is no whole gzip tar archive: invalid gzip header; name an archive, a bundle's folder, or";
    check(&folder, "diff @/x/bundle/p.rego @/y", 1, mend);
    check(&folder, "replay @/x/bundle/p.rego --log @/log", 1, mend);
    write(&folder, "notes.txt", "notes");
    check(&folder, "check @/notes.txt", 1, "notes.txt`: the bundle is no whole gzip tar archive");
    write(&folder, "z/p.rego", "package p\nallow := true\n");
    check(&folder, "diff @/x @/z", 1, "say what decides");
    check(&folder, "diff @/x @/z --entry p/allow", 0, "newly allowed");
    check(&folder, "diff @/x @/z --entry p/nope", 1, "p/nope");
}

const RECORD: &str = include_str!("../../../../audit/tests/golden/decision.json");

#[test]
fn replay_tells_the_records_that_are_decided_differently() {
    let folder = versions();
    let record = RECORD.replace("bank.payments_only", "p/allow");
    write(&folder, "a.jsonl", &record);
    check(&folder, "replay @/x --records @/a.jsonl", 0, "0 differ, 1 as recorded");
    check(&folder, "replay @/y --records @/a.jsonl", 0, "1 differ, 0 as recorded");
    check(&folder, "replay @/y --records @/a.jsonl", 0, "then: deny policy.denied [p/allow]");
    check(&folder, "replay @/y --records @/a.jsonl --fail-on-difference", 1, "now:  allow policy.allowed");
    check(&folder, "replay @/y --records @/a.jsonl --json", 0, "\"differing\":1");
    write(&folder, "log/seg/00000000000000000000.jsonl", &record);
    write(&folder, "log/log.json", "{\"v\":1,\"log_id\":\"a\",\"origin\":\"example.org/a/audit/a\"}\n");
    check(&folder, "replay @/y --log @/log", 0, "1 differ, 0 as recorded");
}

#[test]
fn replay_refuses_what_it_cannot_read() {
    let folder = versions();
    check(&folder, "replay @/x --records @/nowhere", 1, "nowhere");
    check(&folder, "replay @/x --log @/nowhere", 1, "nowhere");
    write(&folder, "a.jsonl", "nonsense\n");
    let none = "error: no decision was compared: ";
    check(&folder, "replay @/x --records @/a.jsonl", 1, "1 lines are no records; the first is line 1");
    check(&folder, "replay @/x --records @/a.jsonl --json", 1, none);
    write(&folder, "a.jsonl", "");
    check(&folder, "replay @/x --records @/a.jsonl", 1, none);
    let record = RECORD.replace("bank.payments_only", "p/allow");
    write(&folder, "a.jsonl", &record.replace("\"decision\",", "\"outcome\","));
    check(&folder, "replay @/x --records @/a.jsonl", 1, none);
    write(&folder, "a.jsonl", &format!("{record}nonsense\n"));
    check(&folder, "replay @/x --records @/a.jsonl", 0, "0 differ, 1 as recorded");
    check(&folder, "replay @/x --records @/a.jsonl --fail-on-difference", 1, "1 lines are no records");
    // A line that is too long is one line.
    let long = "x".repeat(200_000);
    write(&folder, "a.jsonl", &format!("{long}\n{record}"));
    check(
        &folder,
        "replay @/x --records @/a.jsonl",
        0,
        "0 differ, 1 as recorded\n1 lines are no records; the first is line 1",
    );
    write(&folder, "z/p.rego", "package p\nallow if input.attributes.request.http.headers.a\n");
    write(&folder, "a.jsonl", &record);
    check(
        &folder,
        "replay @/z --records @/a.jsonl --entry p/allow",
        1,
        "the policy reads what no record holds",
    );
    check(
        &folder,
        "diff @/z @/z --requests @/a.jsonl --entry p/allow",
        1,
        "error: no request was compared: ",
    );
    assert!(Cli::try_parse_from(["policy", "replay", "a"]).is_err());
    assert!(Cli::try_parse_from(["policy", "replay", "a", "--records", "b", "--log", "c"]).is_err());
}
