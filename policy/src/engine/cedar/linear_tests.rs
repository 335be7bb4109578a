//! Whole decisions against Cedar's own authorizer, which gets everything: all policies, the whole context under the
//! schema, all entities.
use super::reads::Reads;
use super::*;
use crate::query::{Body, Headers, Http, Source, Tls, TokenIssuer, WorkloadToken};
use crate::{BundleLimits, Signers};
use cedar_policy::{Authorizer, PolicySet};
use cedar_policy_core::ast::RequestSchema as _;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::str::FromStr as _;

const ENTITIES: &str = r#"[
    {"uid": {"type": "Workload", "id": "spiffe://example.org/a"}, "parents": [{"type": "Group", "id": "front"}, {"type": "TrustDomain", "id": "example.org"}]},
    {"uid": {"type": "Workload", "id": "spiffe://example.org/b"}, "parents": [{"type": "Group", "id": "back"}, {"type": "TrustDomain", "id": "example.org"}]},
    {"uid": {"type": "Group", "id": "front"}, "attrs": {}, "parents": [{"type": "Group", "id": "all"}]},
    {"uid": {"type": "Group", "id": "back"}, "attrs": {}, "parents": [{"type": "Group", "id": "all"}]}]"#;

const PRINCIPALS: [&str; 7] = [
    "principal",
    r#"principal == Workload::"spiffe://example.org/a""#,
    r#"principal in Group::"front""#,
    r#"principal in Group::"all""#,
    r#"principal in TrustDomain::"example.org""#,
    "principal is Workload",
    r#"principal is Workload in Group::"back""#,
];
const ACTIONS: [&str; 4] = [
    r#"action in Action::"http""#,
    r#"action == Action::"GET""#,
    r#"action in Action::"write""#,
    r#"action in [Action::"GET", Action::"POST"]"#,
];
const RESOURCES: [&str; 4] =
    ["resource", r#"resource == Route::"r1""#, r#"resource in Service::"s1""#, "resource is Route"];
const CONDITIONS: [&str; 18] = [
    "true",
    r#"context.path like "/a/*""#,
    r#"context.headers.hasTag("x-a") && context.headers.getTag("x-a") == "1,2""#,
    r#"context.headers.hasTag(context.path)"#,
    r#"context.query.hasTag("q") && context.query.getTag("q").contains("1")"#,
    r#"context has claims && context.claims.scopes.contains("read")"#,
    r#"context has claims && context.claims has issuer && context.claims.hasTag("n")"#,
    r#"context has transaction && context.transaction has subject"#,
    r#"context has workload_token && context.workload_token.hasTag("n")"#,
    r#"context.segments has s2 && context.segments.s2 == "x""#,
    r#"context.depth * 4611686018427387904 > 0"#,
    r#"context.source.address.isInRange(ip("10.0.0.0/8")) && context.destination.port == 8443"#,
    r#"context.now > datetime("2023-11-14") && context.tls has server_name"#,
    r#"context.protocol == "HTTP/2" && context.scheme == "https" && context.authority == "a" && context.id == "i""#,
    r#"principal.path == "/a" && Workload::"spiffe://example.org/b" in Group::"back""#,
    r#"Workload::"spiffe://example.org/a".path == "/a" && Workload::"spiffe://example.org/a" in TrustDomain::"example.org""#,
    r#"resource in Service::"s1" && action in Action::"read""#,
    r#"context has body && context.body.hasTag("n") && context.body.numbers.hasTag("n")"#,
];

fn policies() -> impl Strategy<Value = String> {
    let one = (any::<bool>(), 0..PRINCIPALS.len(), 0..ACTIONS.len(), 0..RESOURCES.len(), 0..CONDITIONS.len());
    prop::collection::vec(one, 1..12).prop_map(|all| {
        let mut text = String::new();
        for (forbid, principal, action, resource, condition) in all {
            let effect = if forbid { "forbid" } else { "permit" };
            let scope = format!("{}, {}, {}", PRINCIPALS[principal], ACTIONS[action], RESOURCES[resource]);
            writeln!(text, "{effect} ({scope}) when {{ {} }};", CONDITIONS[condition]).unwrap();
        }
        text
    })
}

/// What varies in a request; each bit is a thing that is there.
type Odds = (usize, usize, usize, u16);

fn with_query(odds: Odds, ask: impl FnOnce(&Query<'_>)) {
    let (caller, action, route, bits) = odds;
    let has = |bit: u16| bits & (1 << bit) != 0;
    let caller = ["spiffe://example.org/a", "spiffe://example.org/b", "spiffe://example.org/c"][caller];
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    if has(0) {
        headers.extend(["1", "2"].map(|value| ("x-a".to_owned(), value.to_owned())));
    }
    let claims = serde_json::from_str(r#"{"sub": "u", "scope": "read", "n": [1, "a"], "deep": {}}"#).unwrap();
    let query = Query {
        now_ns: 1_700_000_000_123_456_789,
        action: ["GET", "POST", "DELETE"][action],
        source: Source {
            address: if has(1) { "10.0.0.7:4711" } else { "[2001:db8::1]:4711" }.parse().ok(),
            spiffe_id: Some(caller),
            trust_domain: Some("example.org"),
            sni: has(2).then_some("a"),
            certificate_serial: has(3).then_some("0a"),
            tls: Tls::default(),
        },
        destination: "10.0.0.8:8443".parse().ok(),
        destination_principal: None,
        http: Some(Http {
            id: "i",
            scheme: "https",
            authority: "a",
            path: if has(4) { "/a/x/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r" } else { "/" },
            query: has(5).then_some("q=1&q=2&z=%20"),
            protocol: if has(6) { "HTTP/2" } else { "HTTP/1.1" },
            headers: &headers as &dyn Headers,
            body: if has(7) { Body::Whole(br#"{"n": 1, "x": {}}"#) } else { Body::NotRead },
            size: 0,
        }),
        claims: has(8).then_some(&claims),
        token_issuer: has(9).then_some(TokenIssuer { issuer: "i", trust_domain: has(10).then_some("d") }),
        transaction: has(11).then_some(&claims),
        workload_token: has(12).then_some(WorkloadToken {
            spiffe_id: "w",
            trust_domain: "d",
            claims: &claims,
        }),
        route: ["r1", "r2"][route],
        service: if has(13) { "s1" } else { "s2" },
    };
    ask(&query);
}

fn loaded(policies: &str) -> CedarPolicies {
    let files = [("p.cedar", policies.as_bytes()), ("entities.json", ENTITIES.as_bytes())];
    let signers = Signers::UnsignedAllowedForDevelopment;
    let bundle = PolicyBundle::from_files(files, &BundleLimits::default(), &signers).unwrap();
    CedarPolicies::load(&[("b", &bundle)], &PdpLimits::default()).unwrap()
}

/// What Cedar says of it when nothing is spared: the decision, or nothing where a policy errs.
fn linear(
    loaded: &CedarPolicies,
    policies: &PolicySet,
    query: &Query<'_>,
) -> Option<(Decision, Vec<String>)> {
    let shared = &loaded.shared;
    let everything = Reads::everything();
    let built =
        request::build(query, &shared.names, &everything, &mut request::Lasting::default()).ok().unwrap();
    let mut views = view::Views::default();
    let view = views.of(query.source.spiffe_id.unwrap(), query, shared).ok().unwrap();
    let request = view.request(built.context);
    let schema: &cedar_policy_core::validator::ValidatorSchema = shared.schema.as_ref();
    schema
        .validate_request(&request, Extensions::all_available())
        .expect("the context is as the contract says");
    let mut own: Vec<cedar_policy::Entity> =
        built.entities.iter().map(|entity| entity.as_ref().clone().into()).collect();
    let asked = entities::Asked {
        caller: shared.names.workload(query.source.spiffe_id.unwrap()),
        action: shared.names.action(query.action),
        route: shared.names.route(query.route),
    };
    let none = std::collections::HashSet::new();
    let seen = shared.store.view(&asked, (reads::Own::ALL, &none), query, &shared.names).unwrap();
    own.extend(seen.iter().map(|entity| entity.clone().into()));
    let own_ids: Vec<_> = own.iter().map(cedar_policy::Entity::uid).collect();
    let rest = shared.store.all().iter().map(|entity| cedar_policy::Entity::from(entity.clone()));
    own.extend(rest.filter(|entity| !own_ids.contains(&entity.uid())));
    // The schema judges the entities that are made for the request too.
    let judged: Vec<_> = own.iter().filter(|e| e.uid().type_name().basename() != "Action").cloned().collect();
    cedar_policy::Entities::from_entities(judged, Some(&shared.schema))
        .expect("entities as the contract says");
    let all = cedar_policy::Entities::from_entities(own, None).unwrap();
    let response = Authorizer::new().is_authorized(&request.into(), policies, &all);
    if response.diagnostics().errors().next().is_some() {
        return None;
    }
    let number = |id: &cedar_policy::PolicyId| {
        let number: usize = id.to_string().trim_start_matches("policy").parse().unwrap();
        format!("p.cedar#{}", number + 1)
    };
    let mut ids: Vec<String> = response.diagnostics().reason().map(number).collect();
    ids.sort_unstable();
    let allowed = response.decision() == cedar_policy::Decision::Allow;
    Some((if allowed { Decision::Allow } else { Decision::Deny }, ids))
}

fn check(policies: &str, odds: &[Odds]) {
    let loaded = loaded(policies);
    let set = PolicySet::from_str(policies).unwrap();
    // One evaluator for all, so that what it keeps is held against fresh answers.
    let mut evaluator = loaded.evaluator();
    for odds in odds {
        with_query(*odds, |query| {
            let got = evaluator.decide(query);
            let shown = format!("{got:?}");
            let got = got.ok().map(|answer| {
                (answer.decision, answer.reasons.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>())
            });
            assert_eq!(got, linear(&loaded, &set, query), "{policies}\n{query:?}\n{shown}");
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_spared_changes_no_decision(
        policies in policies(),
        odds in prop::collection::vec((0..3usize, 0..3usize, 0..2usize, any::<u16>()), 1..12),
    ) {
        check(&policies, &odds);
    }
}

#[test]
fn each_condition_alone_is_answered_as_by_cedar() {
    let odds: Vec<Odds> = (0..14).map(|bit| (0, 0, 0, !(1_u16 << bit))).chain([(0, 0, 0, 0)]).collect();
    for condition in CONDITIONS {
        check(
            &format!("permit (principal, action in Action::\"http\", resource) when {{ {condition} }};"),
            &odds,
        );
    }
}
