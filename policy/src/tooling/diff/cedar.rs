//! What a bundle's Cedar policies say about requests.
use super::hints::{Held, Hints};
use crate::PolicyBundle;
use crate::engine::cedar::load::CedarProgram;
use postern_rego::builtins::{self, Context};
use serde_json::Value;

/// The most entities whose names are taken for values.
const ENTITIES_MAX: usize = 100_000;

const HTTP: [&str; 3] = ["attributes", "request", "http"];

pub(super) fn gather(bundle: &PolicyBundle, hints: &mut Hints) {
    let Ok(program) = CedarProgram::load(&[("", bundle)]) else { return };
    for policy in program.policies().policies() {
        let Ok(policy) = policy.to_json() else { continue };
        let mut saying = Vec::new();
        said(&policy, &mut saying);
        hints.sayings.insert(saying);
        for part in ["principal", "action", "resource"] {
            if let Some(scope) = policy.get(part) {
                entities(scope, hints);
            }
        }
        policy.get("conditions").into_iter().for_each(|conditions| walk(conditions, hints));
    }
    if let Some(text) = &bundle.entities {
        let known: Value = serde_json::from_str(text).unwrap_or_default();
        for entity in known.as_array().into_iter().flatten().take(ENTITIES_MAX) {
            entity.get("uid").into_iter().for_each(|uid| entities(uid, hints));
            let mut saying = Vec::new();
            said(entity, &mut saying);
            hints.sayings.insert(saying);
        }
    }
}

/// All that a document says.
fn said(value: &Value, saying: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            saying.push(name.clone());
            said(member, saying);
        }),
        Value::Array(items) => items.iter().for_each(|item| said(item, saying)),
        Value::String(text) => saying.push(text.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) => saying.push(value.to_string()),
    }
}

/// Entities that are named anywhere in a document.
fn entities(value: &Value, hints: &mut Hints) {
    match value {
        Value::Object(members) => {
            let text = |name: &str| members.get(name).and_then(Value::as_str);
            match (text("type"), text("id")) {
                (Some(kind), Some(id)) => entity(kind, id, hints),
                _ => members.values().for_each(|member| entities(member, hints)),
            }
        }
        Value::Array(items) => items.iter().for_each(|item| entities(item, hints)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn entity(kind: &str, id: &str, hints: &mut Hints) {
    match (kind, id) {
        ("Workload", id) => hints.fact(&["source_principal"], &id.into(), Held::Equal),
        ("TrustDomain", id) => hints.fact(&["postern", "trust_domain"], &id.into(), Held::Equal),
        ("Route", id) => hints.fact(&["postern", "route"], &id.into(), Held::Equal),
        ("Service", id) => hints.fact(&["postern", "service"], &id.into(), Held::Equal),
        ("Action", "read") => hints.fact(&["postern", "action"], &"GET".into(), Held::Equal),
        ("Action", "write") => hints.fact(&["postern", "action"], &"POST".into(), Held::Equal),
        ("Action", "http") => {}
        ("Action", id) => hints.fact(&["postern", "action"], &id.into(), Held::Equal),
        _ => {}
    }
}

/// Goes through an expression in Cedar's JSON format.
fn walk(value: &Value, hints: &mut Hints) {
    match value {
        Value::Object(members) => {
            // Names of members are no values.
            for (operator, operands) in
                members.iter().filter(|(name, _)| !matches!(name.as_str(), "attr" | "Var"))
            {
                operation(operator, operands, hints);
                walk(operands, hints);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, hints)),
        Value::String(text) => hints.text(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn operation(operator: &str, operands: &Value, hints: &mut Hints) {
    let (left, right) = (operands.get("left"), operands.get("right"));
    match (operator, left, right) {
        ("==" | "!=", Some(left), Some(right)) => {
            fact(left, right, Held::Equal, hints);
            fact(right, left, Held::Equal, hints);
        }
        ("<" | "<=" | ">" | ">=", Some(left), Some(right)) => {
            fact(left, right, Held::Ordered, hints);
            fact(right, left, Held::Ordered, hints);
        }
        ("contains" | "containsAny" | "containsAll", Some(left), Some(right)) => {
            for item in right.get("Set").and_then(Value::as_array).into_iter().flatten().chain([right]) {
                fact(left, item, Held::Item, hints);
            }
            left.get("Set").and_then(Value::as_array).into_iter().flatten().for_each(|item| {
                fact(right, item, Held::Equal, hints);
            });
        }
        ("like", Some(left), _) => {
            let pattern: String =
                operands.get("pattern").and_then(Value::as_array).into_iter().flatten().map(piece).collect();
            fact(left, &serde_json::json!({"Value": pattern}), Held::Pattern, hints);
        }
        ("has", Some(left), _) if left.get("Var") == Some(&"context".into()) => {
            match operands.get("attr").and_then(Value::as_str) {
                Some(name @ ("claims" | "transaction")) => hints.read(&[name], false),
                Some("body") => hints.read(&["parsed_body"], false),
                _ => {}
            }
        }
        ("Value", _, _) => entities(operands, hints),
        ("getTag" | "hasTag", Some(_), Some(_)) => {
            if let Some(field) = field(&serde_json::json!({"getTag": operands})) {
                let names: Vec<&str> = field.iter().map(String::as_str).collect();
                // What has numbers has one each.
                hints.read(&names, operands.pointer("/left/./attr") != Some(&"numbers".into()));
            }
        }
        _ => {}
    }
}

fn piece(piece: &Value) -> String {
    match piece.get("Literal").and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => "*".to_owned(),
    }
}

fn fact(term: &Value, constant: &Value, held: Held, hints: &mut Hints) {
    let Some(names) = field(term) else { return };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if let Some(moment) =
        constant.get("datetime").and_then(|args| args.get(0)?.get("Value")?.as_str()).and_then(moment)
    {
        return hints.moment(moment);
    }
    let Some(value) = constant.get("Value") else { return };
    match (names.as_slice(), value.as_u64()) {
        (["depth"], Some(depth)) => hints.length(usize::try_from(depth).unwrap_or(usize::MAX)),
        (["claims", "scope"], _) => {
            hints.split(&["claims", "scope"]);
            hints.fact(&names, value, Held::Equal);
        }
        _ => hints.fact(&names, value, held),
    }
}

/// The field of the input that an expression reads.
fn field(term: &Value) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut at = term;
    loop {
        if let Some(access) = at.get(".") {
            names.push(access.get("attr")?.as_str()?.to_owned());
            at = access.get("left")?;
        } else if let Some(access) = at.get("getTag") {
            names.push(access.get("right")?.get("Value")?.as_str()?.to_owned());
            at = access.get("left")?;
        } else {
            names.push(at.get("Var")?.as_str()?.to_owned());
            break;
        }
    }
    names.reverse();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found: Vec<&str> = match names.as_slice() {
        ["context", "path"] => [HTTP.as_slice(), &["path"]].concat(),
        ["context", "authority"] => [HTTP.as_slice(), &["host"]].concat(),
        ["context", "headers", name] => [HTTP.as_slice(), &["headers", name]].concat(),
        ["context", "query", name] => vec!["parsed_query", name],
        ["context", "depth"] => vec!["depth"],
        ["context", "destination", "port"] => {
            vec!["attributes", "destination", "address", "socketAddress", "portValue"]
        }
        ["context", "now"] => vec!["postern", "now_ns"],
        ["context", "claims", "subject"] => vec!["claims", "sub"],
        ["context", "claims", "scopes"] => vec!["claims", "scope"],
        ["context", "claims", "audiences"] => vec!["claims", "aud"],
        ["context", "claims", "issuer"] => vec!["postern", "token_issuer"],
        ["context", "claims", name] => vec!["claims", name],
        ["context", "body", "numbers", name] | ["context", "body", name] => vec!["parsed_body", name],
        ["context", "transaction", name] => vec!["transaction", name],
        ["principal", "trust_domain"] => vec!["postern", "trust_domain"],
        ["principal"] => vec!["source_principal"],
        ["context", "segments", segment] => {
            let number: usize = segment.strip_prefix('s')?.parse().ok()?;
            return Some(vec!["parsed_path".to_owned(), number.checked_sub(1)?.to_string()]);
        }
        _ => return None,
    };
    Some(found.into_iter().map(str::to_owned).collect())
}

/// A moment as Cedar writes it, in nanoseconds.
fn moment(text: &str) -> Option<u64> {
    let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    let mut context = Context::default();
    context.steps_left = 1000;
    let parsed = (builtins::lookup("time.parse_rfc3339_ns")?.call)(&mut context, &[whole.into()]);
    u64::try_from(parsed.ok()??.as_i64()?).ok()
}
