//! Rows of the `glob` builtins.
use crate::builtins::testing::{Dice, Want, agree, check};
use serde_json::json;

/// Checks rows of a glob, its delimiters, a subject, and whether it matches.
fn globs(rows: &[(&'static str, &[&str], &str, bool)]) {
    let rows: Vec<_> = rows
        .iter()
        .map(|(pattern, delimiters, subject, want)| {
            let delimiters = if delimiters.is_empty() { json!(null) } else { json!(delimiters) };
            let args: &'static str = json!([pattern, delimiters, subject]).to_string().leak();
            ("glob.match", args, Want::Value(if *want { "true" } else { "false" }))
        })
        .collect();
    check(&rows);
}

#[test]
fn globs_mean_what_gobwas_means() {
    globs(&[
        ("/accounts/*", &["/"], "/accounts/42", true),
        ("/accounts/*", &["/"], "/accounts/", true),
        ("/accounts/*", &["/"], "/accounts/42/payments", false),
        ("/admin**", &["/"], "/admin/x/y", true),
        ("/a/**c", &["/"], "/a/b/c", true),
        ("/a/**", &["/"], "/a/", true),
        ("/a/**/c", &["/"], "/a/b/c", true),
        ("/*/b/*", &["/"], "/a/b/c", true),
        ("/*/b/*", &["/"], "/a/b/c/d", false),
        ("*", &[], "a.b/c\nd", true),
        ("*.example.org", &["."], "a.b.example.org", false),
        ("**.example.org", &["."], "a.b.example.org", true),
        ("{GET,HEAD}", &["/"], "HEAD", true),
        ("{GET,HEAD}", &["/"], "POST", false),
        ("{a,b{c,d}}e", &[], "bde", true),
        ("{,a}b", &[], "b", true),
        ("{a,ab,abc}c", &[], "abcc", true),
        ("a{b,c}*d", &["."], "acxd", true),
        ("v[0-9]", &["/"], "v7", true),
        ("v[!0-9]", &["/"], "v7", false),
        ("v[!0-9]", &["/"], "v/", true),
        ("[abc]x", &[], "bx", true),
        ("[!abc]x", &[], "bx", false),
        ("a?c", &["/"], "a/c", false),
        ("??", &[], "éa", true),
        ("?a", &[], "éa", false),
        ("\\*", &["/"], "*", true),
        ("\\*", &["/"], "a", false),
        ("a\\", &[], "a", true),
        ("\\", &[], "", true),
        ("a.c", &["/"], "abc", false),
        ("a}b,c]", &[], "a}b,c]", true),
        ("", &[], "", true),
        ("", &[], "a", false),
        ("**", &[], "", true),
        ("?", &[], "", true),
        ("***", &["."], "a.b", true),
        ("*?", &["."], "ab", true),
        ("é*", &["."], "éa", true),
        ("*", &["é"], "aéb", false),
        ("{a", &[], "a", true),
        ("{a,b", &[], "b", true),
        ("[a-é]", &[], "z", true),
        ("[-a]", &[], "-", true),
        ("[!!a]", &[], "!", false),
        ("[\\]a]", &[], "]", true),
    ]);
}

#[test]
fn the_default_delimiter_is_a_point_and_none_is_null() {
    check(&[
        ("glob.match", r#"["*.a", [], "b.a"]"#, Want::Value("true")),
        ("glob.match", r#"["*", [], "b.a"]"#, Want::Value("false")),
        ("glob.match", r#"["*", null, "b.a"]"#, Want::Value("true")),
        ("glob.match", r#"["*", ["."], "b:a"]"#, Want::Value("true")),
        ("glob.match", r#"["*:*", [":"], "b:a"]"#, Want::Value("true")),
        ("glob.match", r#"["*", [".", "/"], "b/a"]"#, Want::Value("false")),
        ("glob.match", r#"["a\u0000b", null, "ab"]"#, Want::Value("true")),
        ("glob.match", r#"["*\u0000b", null, "x"]"#, Want::Value("true")),
        ("glob.match", r#"["*", [""], "a"]"#, Want::TypeError),
        ("glob.match", r#"["*", ["ab"], "a"]"#, Want::TypeError),
        ("glob.match", r#"["*", [1], "a"]"#, Want::TypeError),
        ("glob.match", r#"["*", ".", "a"]"#, Want::TypeError),
        ("glob.match", r#"["*", {"$set": ["."]}, "a"]"#, Want::TypeError),
        ("glob.match", r#"[1, [], "a"]"#, Want::TypeError),
        ("glob.match", r#"["*", [], 1]"#, Want::TypeError),
        ("glob.match", r#"["[", [], "["]"#, Want::Failed),
        ("glob.match", r#"["[]", [], "a"]"#, Want::Failed),
        ("glob.match", r#"["[!]", [], "a"]"#, Want::Failed),
        ("glob.match", r#"["[a", [], "a"]"#, Want::Failed),
        ("glob.match", r#"["[a-]", [], "a"]"#, Want::Failed),
        ("glob.match", r#"["[a-z", [], "a"]"#, Want::Failed),
        ("glob.match", r#"["[a-zA]", [], "a"]"#, Want::Failed),
        ("glob.match", r#"["[z-a]", [], "a"]"#, Want::Failed),
        ("glob.match", r#"["[\\", [], "a"]"#, Want::Failed),
        ("glob.match", r#"["\ufffd", [], "a"]"#, Want::Failed),
        ("glob.quote_meta", r#"["a*?\\[]{}!,-b"]"#, Want::Value(r#""a\\*\\?\\\\\\[\\]\\{\\}!,-b""#)),
        ("glob.quote_meta", r#"["é"]"#, Want::Value(r#""é""#)),
        ("glob.quote_meta", "[1]", Want::TypeError),
    ]);
}

#[test]
fn what_the_library_gets_wrong_is_wrong_here_too() {
    globs(&[
        // Several delimiters count as one text where a run of characters is glued.
        ("??", &[".", "/"], "./", false),
        ("??", &[".", "/"], "/.", true),
        ("?*", &[".", "/"], "a/", true),
        // Alternatives of which the first has no length have that of the others.
        ("{*,a}b", &["."], "xxb", false),
        // The first and the last part may overlap.
        ("ab**ba", &[], "aba", true),
        ("/a/**/c", &["/"], "/a/c", true),
        // Of a row each part but texts gets one byte of a character.
        ("a?c", &["/"], "aéc", false),
        ("*é?", &["."], "aéb", false),
        ("{*b,*,c*}?", &["."], "a", true),
    ]);
}

#[test]
fn what_costs_too_much_ends_the_decision() {
    use crate::Value;
    use crate::builtins::testing::context;
    use crate::builtins::{BuiltinError, lookup};
    let run = |pattern: String, subject: String| {
        let args = [Value::from(pattern), Value::array([Value::from("/")]), Value::from(subject)];
        (lookup("glob.match").unwrap().call)(&mut context(), &args)
    };
    for (pattern, subject) in [
        ("{".repeat(200), "a".to_owned()),
        ("{a,bc}".repeat(400), "abc".to_owned()),
        ("*a".repeat(20_000), "a".to_owned()),
        ("**a?".repeat(60) + "b", "a/".repeat(2000)),
        ("{a,aa}".repeat(60), "a".repeat(4000)),
        ("*?[ab]**".repeat(40) + "c", "ab/".repeat(2000)),
    ] {
        let answer = run(pattern.clone(), subject);
        assert!(
            matches!(answer, Ok(Some(Value::Bool(false))) | Err(BuiltinError::Budget(_))),
            "{pattern}: {answer:?}"
        );
    }
}

fn glob(dice: &mut Dice, depth: usize) -> String {
    const PIECES: &[&str] = &[
        "a", "b", "ab", "é", ".", "/", "*", "*", "*", "**", "**", "?", "?", "[ab]", "[!a]", "[!./]", "[!.]",
        "[a-c]", "[!a-b]", "[é]", "\\*", "aa", "[/]",
    ];
    let mut out = String::new();
    for _ in 0..=dice.below(4) {
        if depth < 3 && dice.below(4) == 0 {
            let alternatives: Vec<String> = (0..=dice.below(3))
                .map(|_| if dice.below(6) == 0 { String::new() } else { glob(dice, depth + 1) })
                .collect();
            out.push_str(&format!("{{{}}}", alternatives.join(",")));
        } else {
            out.push_str(dice.one(PIECES));
        }
    }
    out
}

/// Globs with subjects that are likely to match, for delimiters that do not clash in the cache of OPA.
fn random_calls(seed: u64, globs: usize) -> Vec<(&'static str, String)> {
    let mut dice = Dice(seed);
    let mut calls = Vec::new();
    for _ in 0..globs {
        let glob = glob(&mut dice, 0);
        let delimiters = match dice.below(6) {
            0 => json!(null),
            1 => json!([]),
            2 => json!(["/"]),
            3 => json!(["/", "."]),
            4 => json!(["a"]),
            _ => json!(["é"]),
        };
        for _ in 0..4 {
            let subject: String = (0..dice.below(8))
                .map(|_| dice.one(&["a", "b", "é", ".", "/", "c", "*", "a", "b"]))
                .collect();
            calls.push(("glob.match", json!([glob, delimiters, subject]).to_string()));
        }
    }
    calls
}

#[test]
fn random_globs_match_what_they_match_for_opa() {
    let calls = random_calls(17, 300);
    assert!(agree(&calls) > 1150);
}

#[test]
fn random_texts_are_globs_where_they_are_to_opa() {
    const PIECES: &[&str] = &[
        "a", "b", "[", "]", "{", "}", ",", "!", "-", "*", "?", "\\", "é", ".", "\u{0}", "\u{fffd}", "[!",
        "[a-", "z]",
    ];
    let mut dice = Dice(19);
    let mut calls = Vec::new();
    for _ in 0..500 {
        let pattern: String = (0..=dice.below(6)).map(|_| dice.one(PIECES)).collect();
        calls.push((
            "glob.match",
            json!([pattern, null, dice.one(&["", "a", "ab", "a}b", "{a", "-", "!", "\\"])]).to_string(),
        ));
        calls.push(("glob.quote_meta", json!([pattern]).to_string()));
    }
    agree(&calls);
}
