use crate::engine::cedar::tests::{WEB, decide, load, query};

/// One template and its links: what is allowed to `web` on route `accounts`, or why they are refused.
fn check_links(template: &str, links: &str, want: Result<&str, &str>) {
    let files = [("p.cedar", template), ("links.json", links)];
    match (load(&files), want) {
        (Ok(pdp), Ok(want)) => {
            let verdict = decide(&pdp, &query(WEB, "GET", "/", &Vec::new()));
            let ids: Vec<&str> = verdict.reasons.iter().map(|id| id.as_str()).collect();
            assert_eq!(
                format!("{} by {}", verdict.code, ids.join(",")),
                want,
                "{template} {links}: {verdict:?}"
            );
        }
        (Err(error), Err(want)) => {
            assert!(error.to_string().contains(want), "{links}: `{error}` lacks `{want}`");
        }
        (got, want) => panic!("{template} {links}: {:?}, but {want:?}", got.err()),
    }
}

#[test]
fn templates_are_linked_by_a_file_of_the_bundle() {
    const ANY: &str = r#"@id("read") @reason("linked") permit (principal == ?principal, action in Action::"read", resource);"#;
    const WEB_UID: &str = r#"{"type": "Workload", "id": "spiffe://example.org/web"}"#;
    let one =
        |more: &str| format!(r#"[{{"template": "read", "id": "web-reads", "principal": {WEB_UID}{more}}}]"#);
    check_links(ANY, &one(""), Ok("policy.allowed by web-reads"));
    check_links(
        &ANY.replace("resource)", "resource in ?resource)"),
        &one(r#", "resource": {"type": "Service", "id": "bank"}"#),
        Ok("policy.allowed by web-reads"),
    );
    check_links(
        &ANY.replace("== ?principal", "is Workload in ?principal").replace(r#"@id("read")"#, ""),
        r#"[{"template": "p.cedar#1", "id": "x", "principal": {"type": "TrustDomain", "id": "example.org"}}]"#,
        Ok("policy.allowed by x"),
    );
    let other =
        r#"[{"template": "read", "id": "x", "principal": {"type": "Workload", "id": "spiffe://a/b"}}]"#;
    check_links(ANY, other, Ok("policy.denied by "));
    let forbid = ANY.replace("permit", "forbid");
    check_links(&forbid, &one(""), Ok("policy.denied by web-reads"));
    for (links, want) in [
        ("[]".to_owned(), "nothing links it"),
        ("{}".to_owned(), "not an array"),
        ("[1]".to_owned(), "entry 1: it is a number"),
        (r#"[{"template": "read", "id": "x"}]"#.to_owned(), "needs a `principal`"),
        (one(r#", "resource": {"type": "Route", "id": "r"}"#), "no slot for a `resource`"),
        (one(r#", "resorce": 1"#), "`resorce` is no member"),
        (r#"[{"template": "write", "id": "x"}]"#.to_owned(), "no template `write`"),
        (r#"[{"template": "read", "id": ""}]"#.to_owned(), "empty"),
        (r#"[{"template": "read", "id": "x", "principal": "w"}]"#.to_owned(), "is no entity"),
        (
            r#"[{"template": "read", "id": "read", "principal": {"type": "Workload", "id": "w"}}]"#
                .to_owned(),
            "two policies have the id `read`",
        ),
        (format!("[{0},{0}]", one("").trim_matches(['[', ']'])), "two policies have the id `web-reads`"),
        (r#"[{"template": "read", "id": "x", "principal": {"type": "Nope", "id": "w"}}]"#.to_owned(), "Nope"),
    ] {
        check_links(ANY, &links, Err(want));
    }
}
