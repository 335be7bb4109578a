//! Tests over material that is not ours: the published schema of the input, and OPA's own compliance cases.
use super::{input, negation, scope};
use crate::document::{Document, DocumentLimits, parse};
use crate::query::{Body, Http, Query, Source, TokenIssuer};
use regorus::{Engine, Value};
use serde::Deserialize;
use std::io::Read as _;

const SCHEMA: &str = include_str!("../../../../schema/query.json");

/// Whether the value is what the schema says, as far as `type`, `required`, `properties` and `items` go.
fn conforms(root: &serde_json::Value, schema: &serde_json::Value, value: &serde_json::Value, place: &str) {
    if let Some(reference) = schema.get("$ref").and_then(serde_json::Value::as_str) {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        return conforms(root, target, value, place);
    }
    let matches_type = match schema.get("type").and_then(serde_json::Value::as_str) {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some(other) => panic!("{place}: the schema has an unknown type `{other}`"),
        None => true,
    };
    assert!(matches_type, "{place}: {value} is not of the type in the schema");
    for required in schema.get("required").and_then(serde_json::Value::as_array).into_iter().flatten() {
        assert!(value.get(required.as_str().unwrap()).is_some(), "{place}: {required} is missing");
    }
    for item in value.as_array().into_iter().flatten() {
        conforms(root, schema.get("items").unwrap_or(&serde_json::Value::Null), item, place);
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        match schema.pointer(&format!("/properties/{name}")).or_else(|| schema.get("additionalProperties")) {
            Some(serde_json::Value::Bool(false)) => panic!("{place} is not in the schema"),
            Some(serde_json::Value::Bool(true)) | None => {}
            Some(inner) => conforms(root, inner, member, &place),
        }
    }
}

#[test]
fn the_whole_input_is_what_its_published_schema_says() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let claims = serde_json::from_str(r#"{"sub": "u"}"#).unwrap();
    let mut query = Query {
        now_ns: 1_700_000_000_000_000_001,
        action: "POST",
        source: Source {
            address: "10.0.0.7:4711".parse().unwrap(),
            spiffe_id: Some("spiffe://a/b"),
            trust_domain: Some("a"),
            sni: Some("s"),
            certificate_serial: Some("0a"),
        },
        destination: "[::1]:8443".parse().unwrap(),
        http: Some(Http {
            id: "1",
            scheme: "https",
            authority: "h",
            path: "/a",
            query: Some("b=c"),
            protocol: "HTTP/2",
            headers: &headers,
            body: Body::Whole(br#"{"x": 1}"#),
            size: 8,
        }),
        claims: Some(&claims),
        transaction: Some(&claims),
        token_issuer: Some(TokenIssuer { issuer: "spiffe://a", trust_domain: Some("a") }),
        workload_token: None,
        route: "r",
        service: "s",
    };
    let everything = input::Parts::everything();
    let mut built = vec![input::build(&query, everything).unwrap()];
    query.http = None;
    built.push(input::build(&query, everything).unwrap());
    for input in built {
        let json = serde_json::from_str(&input.to_json_str().unwrap()).unwrap();
        conforms(&schema, &schema, &json, "input");
    }
}

#[derive(Deserialize)]
struct Cases {
    cases: Vec<serde_json::Value>,
}

/// OPA's compliance cases, when the machine has them.
fn opa_cases() -> Vec<serde_json::Value> {
    let Some(data) = crate::testing::public_data() else { return Vec::new() };
    let archive = std::fs::read(data.join("opa-cases/v1.tar.gz")).unwrap();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
    let mut all = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        if entry.path_bytes().ends_with(b".yaml") && entry.read_to_string(&mut text).is_ok() {
            // A few files hold what this YAML reader refuses: they are not about negation.
            all.extend(serde_saphyr::from_str::<Cases>(&text).map(|file| file.cases).unwrap_or_default());
        }
    }
    all
}

/// The answer to a case's query, as text; the modules as they are or with their negations guarded.
fn answer(case: &serde_json::Value, guard: fn(&str) -> Option<String>) -> Option<String> {
    let mut engine = Engine::new();
    for (index, module) in case.get("modules")?.as_array()?.iter().enumerate() {
        let source = module.as_str()?;
        let text = guard(source).unwrap_or_else(|| source.to_owned());
        engine.add_policy(format!("m{index}.rego"), text).ok()?;
    }
    let value = |name: &str| {
        let text = case.get(name)?.to_string();
        let document = parse(text.as_bytes(), DocumentLimits::default()).ok()?;
        super::value::of_document(&document).ok()
    };
    engine.add_data(value("data").unwrap_or_else(Value::new_object)).ok()?;
    engine.set_input(value("input").unwrap_or(Value::Undefined));
    let results = engine.eval_query(case.get("query")?.as_str()?.to_owned(), false).ok()?;
    Some(format!("{:?}", results.result.into_iter().map(|row| row.bindings).collect::<Vec<_>>()))
}

fn guarded(source: &str) -> Option<String> {
    let mut engine = Engine::new();
    engine.add_policy("m".to_owned(), source.to_owned()).ok()?;
    let module = engine.get_modules().first()?.clone();
    negation::guarded(source, &module, &scope::Scope::of(&module)).ok()?
}

/// Guarding a negation may change an answer only where OPA's own answer is the changed one.
#[test]
fn guarding_negations_changes_no_answer_that_opa_gives() {
    let mut compared = 0;
    let cases = opa_cases();
    for case in &cases {
        let rewritten = case
            .get("modules")
            .and_then(serde_json::Value::as_array)
            .is_some_and(|modules| modules.iter().any(|m| m.as_str().and_then(guarded).is_some()));
        // An experimental keyword, which gives negation another meaning and is refused at load.
        let experimental = case.to_string().contains("future.keywords.not");
        let note = case.get("note").and_then(serde_json::Value::as_str).unwrap_or("");
        if !rewritten || experimental {
            continue;
        }
        let before = answer(case, |_| None);
        let after = answer(case, guarded);
        if before.is_some() && case.get("want_error").is_none() && case.get("want_error_code").is_none() {
            compared += 1;
            assert_eq!(before, after, "{note}: {:?}", case.get("want_result"));
        }
    }
    assert!(compared > 0 || cases.is_empty(), "no case was compared");
}

/// So that the reader of this file's own documents stays the strict one.
#[test]
fn the_schema_is_a_strict_document() {
    let document = parse(SCHEMA.as_bytes(), DocumentLimits::default()).unwrap();
    assert!(matches!(document, Document::Object(_)));
}
