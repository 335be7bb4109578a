use super::*;

fn case(policies: &str, should_validate: bool, decision: Wanted, reason: &[&str], errors: &[&str]) -> Case {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let uid = |kind: &str| serde_json::json!({ "type": kind, "id": "x" });
    Case {
        id: "case".to_owned(),
        should_validate,
        policies: policies.to_owned(),
        schema: "entity U; action x appliesTo { principal: U, resource: U, context: { n: Long } };"
            .to_owned(),
        entities: serde_json::json!([]),
        requests: vec![Asked {
            description: "asked".to_owned(),
            principal: uid("U"),
            action: uid("Action"),
            resource: uid("U"),
            context: serde_json::json!({ "n": 1 }),
            decision,
            reason: owned(reason),
            errors: owned(errors),
            validate_request: true,
        }],
    }
}

/// In which count one case ends.
fn check(case: &Case, listed: &[&str], want: &str) {
    let listed = listed.iter().map(|id| (*id).to_owned()).collect();
    let tally = of_case(case, &listed);
    let counts = [
        ("passed", tally.passed),
        ("listed", tally.listed),
        ("refused", tally.refused),
        ("wrong", tally.wrong),
    ];
    let got: Vec<&str> = counts.iter().filter(|(_, count)| *count > 0).map(|(name, _)| *name).collect();
    assert_eq!(got, [want], "{case:?}: {tally:?}");
}

#[test]
fn a_case_that_differs_in_anything_does_not_pass() {
    let permit = "permit (principal, action, resource) when { context.n == 1 };";
    check(&case(permit, true, Wanted::Allow, &["policy0"], &[]), &[], "passed");
    check(&case(permit, true, Wanted::Deny, &["policy0"], &[]), &[], "wrong");
    check(&case(permit, true, Wanted::Allow, &[], &[]), &[], "wrong");
    check(&case(permit, true, Wanted::Allow, &["policy0"], &["policy0"]), &[], "wrong");
    check(&case(permit, false, Wanted::Allow, &["policy0"], &[]), &[], "wrong");
    check(&case("permit", true, Wanted::Allow, &["policy0"], &[]), &[], "refused");
    let erring = "permit (principal, action, resource) when { context.none };";
    check(&case(erring, false, Wanted::Deny, &[], &["policy0"]), &[], "passed");
    let mut invalid = case(permit, true, Wanted::Allow, &["policy0"], &[]);
    invalid.requests[0].context = serde_json::json!({});
    check(&invalid, &[], "refused");
}

#[test]
fn a_listed_case_must_differ_in_the_validator_and_in_nothing_else() {
    let permit = "permit (principal, action, resource);";
    check(&case(permit, false, Wanted::Allow, &["policy0"], &[]), &["case"], "listed");
    check(&case(permit, true, Wanted::Allow, &["policy0"], &[]), &["case"], "wrong");
    check(&case(permit, false, Wanted::Deny, &["policy0"], &[]), &["case"], "wrong");
}
