//! Slices against Cedar's own walk over all policies.
use super::*;
use cedar_policy::{Authorizer, Context, Decision, Request};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::str::FromStr as _;

/// Entities of two types in a small graph, so that scopes meet them often.
fn uid(number: usize) -> String {
    format!("{}::\"{}\"", if number.is_multiple_of(2) { "A" } else { "B" }, number % 7)
}

fn action(number: usize) -> String {
    format!("Action::\"{}\"", ["GET", "PUT", "read", "write", "all"][number % 5])
}

fn scope(variable: &str, (form, number): (usize, usize)) -> String {
    let entity = uid(number);
    let kind = if number.is_multiple_of(3) { "A" } else { "B" };
    match form % 5 {
        0 => variable.to_owned(),
        1 => format!("{variable} == {entity}"),
        2 => format!("{variable} in {entity}"),
        3 => format!("{variable} is {kind}"),
        _ => format!("{variable} is {kind} in {entity}"),
    }
}

fn action_scope((form, number): (usize, usize)) -> String {
    match form % 4 {
        0 => "action".to_owned(),
        1 => format!("action == {}", action(number)),
        2 => format!("action in {}", action(number)),
        _ => format!("action in [{}, {}]", action(number), action(number / 5)),
    }
}

/// Conditions that hold, do not, err, or err only after something else.
const CONDITIONS: [&str; 9] = [
    "",
    "when { true }",
    "when { false }",
    "when { context.n > 3 }",
    "unless { context.n > 3 }",
    "when { context.missing }",
    "when { context.n > 5 && 9223372036854775807 + context.n > 0 }",
    "when { principal.level > 1 }",
    "when { resource has level && principal in resource }",
];

fn policies() -> impl Strategy<Value = String> {
    let form = || (0..60usize, 0..40usize);
    let one = (any::<bool>(), form(), form(), form(), 0..CONDITIONS.len());
    prop::collection::vec(one, 0..24).prop_map(|all| {
        let mut text = String::new();
        for (forbid, principal, act, resource, condition) in all {
            let (effect, condition) = (if forbid { "forbid" } else { "permit" }, CONDITIONS[condition]);
            let (p, r) = (scope("principal", principal), scope("resource", resource));
            writeln!(text, "{effect} ({p}, {}, {r}) {condition};", action_scope(act)).unwrap();
        }
        text
    })
}

fn entities() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::option::of((0..4i64, prop::collection::vec(0..14usize, 0..3))), 14).prop_map(
        |all| {
            let json = |number: usize| {
                let text = uid(number);
                let (kind, id) = text.split_once("::").unwrap();
                format!(r#"{{"type": "{kind}", "id": {id}}}"#)
            };
            let mut list: Vec<String> = all
                .iter()
                .enumerate()
                .filter_map(|(number, entity)| {
                    let (level, parents) = entity.as_ref()?;
                    // Parents are later in the list: no cycles.
                    let parents: Vec<String> = parents
                        .iter()
                        .filter(|parent| **parent > number)
                        .map(|parent| json(*parent))
                        .collect();
                    let attributes = if *level > 0 { format!(r#""level": {level}"#) } else { String::new() };
                    Some(format!(
                        r#"{{"uid": {}, "attrs": {{{attributes}}}, "parents": [{}]}}"#,
                        json(number),
                        parents.join(",")
                    ))
                })
                .collect();
            for (id, parents) in [("GET", "read"), ("PUT", "write"), ("read", "all"), ("write", "all")] {
                list.push(format!(
                    r#"{{"uid": {{"type": "Action", "id": "{id}"}}, "attrs": {{}},
                        "parents": [{{"type": "Action", "id": "{parents}"}}]}}"#
                ));
            }
            format!("[{}]", list.join(","))
        },
    )
}

/// The answer by slices and the linear one, which must be the same.
fn check(policies: &str, entities: &str, (p, a, r): (usize, usize, usize), n: i64) -> CedarAnswer {
    let set = cedar_policy::PolicySet::from_str(policies).unwrap();
    let entities = cedar_policy::Entities::from_json_str(entities, None).unwrap();
    let context = Context::from_json_value(serde_json::json!({ "n": n }), None).unwrap();
    let [p, a, r] = [uid(p), action(a), uid(r)].map(|text| text.parse().unwrap());
    let request = Request::new(p, a, r, context, None).unwrap();
    let response = Authorizer::new().is_authorized(&request, &set, &entities);
    let mut linear = CedarAnswer {
        allowed: response.decision() == Decision::Allow,
        determining: response.diagnostics().reason().map(ToString::to_string).collect(),
        erring: response
            .diagnostics()
            .errors()
            .map(|error| {
                let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
                error.policy_id().to_string()
            })
            .collect(),
    };
    linear.determining.sort_unstable();
    linear.erring.sort_unstable();
    let sliced = CedarSet::new(&set).unwrap().answer(&request, &entities).unwrap();
    assert_eq!(sliced, linear, "{policies}\n{request:?}");
    sliced
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_answer_is_that_of_the_walk_over_all_policies(
        policies in policies(),
        entities in entities(),
        requests in prop::collection::vec(((0..14usize, 0..5usize, 0..14usize), 0..9i64), 1..6),
    ) {
        for (request, n) in requests {
            check(&policies, &entities, request, n);
        }
    }
}

#[test]
fn every_form_of_scope_finds_its_policy_and_spares_the_others() {
    let entities = r#"[
        {"uid": {"type": "A", "id": "0"}, "attrs": {}, "parents": [{"type": "B", "id": "1"}]},
        {"uid": {"type": "B", "id": "1"}, "attrs": {}, "parents": [{"type": "A", "id": "2"}]},
        {"uid": {"type": "Action", "id": "GET"}, "attrs": {}, "parents": [{"type": "Action", "id": "read"}]}]"#;
    for (scope, holds) in [
        (r#"principal, action, resource"#, true),
        (r#"principal == A::"0", action, resource"#, true),
        (r#"principal == B::"0", action, resource"#, false),
        (r#"principal in A::"0", action, resource"#, true),
        (r#"principal in A::"2", action, resource"#, true),
        (r#"principal in A::"4", action, resource"#, false),
        (r#"principal is A, action, resource"#, true),
        (r#"principal is B, action, resource"#, false),
        (r#"principal is A in A::"2", action, resource"#, true),
        (r#"principal is B in A::"2", action, resource"#, false),
        (r#"principal, action == Action::"GET", resource"#, true),
        (r#"principal, action == Action::"read", resource"#, false),
        (r#"principal, action in Action::"read", resource"#, true),
        (r#"principal, action in [], resource"#, false),
        (r#"principal, action in [Action::"GET", Action::"read"], resource"#, true),
        (r#"principal, action in [Action::"PUT", Action::"write"], resource"#, false),
        // The store does not know the resource: it is in itself.
        (r#"principal, action, resource == B::"5""#, true),
        (r#"principal, action, resource in B::"5""#, true),
        (r#"principal, action, resource in A::"2""#, false),
        (r#"principal, action, resource is B"#, true),
        (r#"principal, action, resource is B in B::"5""#, true),
    ] {
        let allowed = check(&format!("permit ({scope});"), entities, (0, 0, 5), 1);
        assert_eq!((allowed.allowed, allowed.determining.len()), (holds, usize::from(holds)), "{scope}");
        let erring = check(&format!("forbid ({scope}) when {{ context.none }};"), entities, (0, 0, 5), 1);
        assert_eq!(erring.erring.len(), usize::from(holds), "{scope}");
    }
}

#[test]
fn links_of_a_template_stand_under_what_fills_their_slots() {
    let mut set =
        cedar_policy::PolicySet::from_str("permit (principal in ?principal, action, resource);").unwrap();
    let template = set.templates().next().unwrap().id().clone();
    for (id, entity) in [("one", uid(1)), ("two", uid(2))] {
        let slots = [(cedar_policy::SlotId::principal(), entity.parse().unwrap())].into();
        set.link(template.clone(), cedar_policy::PolicyId::new(id), slots).unwrap();
    }
    let slices = Slices::new(set.as_ref()).unwrap();
    let [one, action, resource] = [uid(1), action(0), uid(5)].map(|text| text.parse().unwrap());
    assert_eq!(slices.slice(&one, &action, &resource, &Entities::new()), [0]);
    assert_eq!(slices.ids().collect::<Vec<_>>(), ["one", "two"]);
}
