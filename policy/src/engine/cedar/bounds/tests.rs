use crate::engine::cedar::tests::{WEB, check_refused, decide, load, query};

#[test]
fn what_would_cost_a_decision_its_time_is_refused_at_load() {
    let when = |condition: &str| {
        format!("permit (principal, action == Action::\"GET\", resource) when {{ {condition} }};")
    };
    let set = |count: usize| {
        let elements: Vec<String> = (0..count).map(|n| format!("\"{n}\"")).collect();
        when(&format!("[{}].contains(context.path)", elements.join(",")))
    };
    let like = |pattern: &str| when(&format!("context.path like \"{pattern}\""));
    for (source, want) in [
        (set(1_000), None),
        (set(1_001), Some("a set has more than")),
        (like(&"a".repeat(256)), None),
        (like(&"a".repeat(257)), Some("a pattern after `like`")),
        (like(&"a*".repeat(16)), None),
        (like(&"a*".repeat(17)), Some("a pattern after `like`")),
        ("// permit\n".repeat(50_001), Some("some 50001 policies")),
    ] {
        match want {
            None => drop(load(&[("p.cedar", &source)]).unwrap()),
            Some(want) => check_refused(&[("p.cedar", &source)], want),
        }
    }
    let nested = |depth: usize| {
        let group = |n: usize| {
            let parent = if n + 1 < depth {
                format!(r#"{{"type": "Group", "id": "{}"}}"#, n + 1)
            } else {
                String::new()
            };
            format!(r#"{{"uid": {{"type": "Group", "id": "{n}"}}, "attrs": {{}}, "parents": [{parent}]}}"#)
        };
        format!("[{}]", (0..depth).map(group).collect::<Vec<_>>().join(","))
    };
    let permit = "permit (principal, action, resource);";
    load(&[("p.cedar", permit), ("entities.json", &nested(257))]).unwrap();
    check_refused(&[("p.cedar", permit), ("entities.json", &nested(20_000))], "is in more than 256 others");
    check_refused(
        &[("p.cedar", permit), ("entities.json", &format!("{}{}", "[".repeat(9_999), "]".repeat(9_999)))],
        "the nesting goes beyond the limit",
    );
}

#[test]
fn a_request_about_which_too_much_is_written_is_denied_by_name() {
    // Each policy is within all bounds; only together they are too much, and only for one action.
    let elements: Vec<String> = (0..990).map(|n| format!("\"{n}\"")).collect();
    let policy = format!(
        "permit (principal, action == Action::\"GET\", resource) when {{ [{}].contains(context.path) }};",
        elements.join(",")
    );
    let all = format!("{}permit (principal, action == Action::\"HEAD\", resource);", policy.repeat(102));
    let pdp = load(&[("p.cedar", &all)]).unwrap();
    let headers = Vec::new();
    assert_eq!(decide(&pdp, &query(WEB, "GET", "/", &headers)).code, "policy.budget");
    assert_eq!(decide(&pdp, &query(WEB, "HEAD", "/", &headers)).code, "policy.allowed");
}
