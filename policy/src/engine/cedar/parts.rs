//! The entities that stand for parts of a request: those of its parts that have names of their own.
use super::names::Names;
use super::reads::Tags;
use crate::document::{self, Document, DocumentLimits};
use crate::engine::{NoAnswer, url};
use crate::query::{Http, TokenIssuer, WorkloadToken};
use cedar_policy_core::ast::{Entity, EntityUID, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

type Attributes = Vec<(&'static str, Value)>;
type Claims = serde_json::Map<String, serde_json::Value>;

fn tagged(uid: &EntityUID, attributes: Attributes, tags: impl Iterator<Item = (String, Value)>) -> Entity {
    let attributes = attributes.into_iter().map(|(name, value)| (name.into(), value.into()));
    let tags = tags.map(|(name, value)| (name.into(), value.into()));
    Entity::new_with_attr_partial_value(uid.clone(), attributes, HashSet::new(), HashSet::new(), tags)
}

fn set(texts: &[String]) -> Value {
    Value::set_of_lits(texts.iter().map(|text| text.as_str().into()), None)
}

/// Names in lower case; a repeated field is joined by commas.
pub(super) fn headers(http: &Http<'_>, names: &Names, wanted: &Tags) -> Entity {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    http.headers.for_each(&mut |name, value| {
        let name: Cow<'_, str> = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => name.to_ascii_lowercase().into(),
            false => name.into(),
        };
        if wanted.want(&name) {
            let join = |have: &mut String| {
                have.push(',');
                have.push_str(value);
            };
            fields.entry(name.into_owned()).and_modify(join).or_insert_with(|| value.to_owned());
        }
    });
    tagged(&names.headers, Vec::new(), fields.into_iter().map(|(name, value)| (name, Value::from(value))))
}

pub(super) fn query_parameters(http: &Http<'_>, names: &Names, wanted: &Tags) -> Result<Entity, NoAnswer> {
    let values = url::query_values(http.query.unwrap_or(""))
        .map_err(|what| NoAnswer::Engine(format!("the query cannot be parsed: {what}")))?;
    let wanted = values.into_iter().filter(|(name, _)| wanted.want(name));
    Ok(tagged(&names.query, Vec::new(), wanted.map(|(name, values)| (name, set(&values)))))
}

pub(super) fn claims(
    uid: &EntityUID,
    claims: &Claims,
    issuer: Option<TokenIssuer<'_>>,
    wanted: &Tags,
) -> Entity {
    let words = |name: &str| match claims.get(name) {
        Some(serde_json::Value::String(text)) => {
            text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
        }
        Some(other) => scalars(other).unwrap_or_default(),
        None => Vec::new(),
    };
    let mut scopes = words("scope");
    scopes.extend(words("scp"));
    let audiences = claims.get("aud").and_then(scalars).unwrap_or_default();
    let mut attributes = vec![("scopes", set(&scopes)), ("audiences", set(&audiences))];
    if let Some(subject) = claims.get("sub").and_then(serde_json::Value::as_str) {
        attributes.push(("subject", subject.into()));
    }
    // Who vouches for them, which is not always what `iss` says.
    if let Some(issuer) = issuer {
        attributes.push(("issuer", issuer.issuer.into()));
        attributes.extend(issuer.trust_domain.map(|domain| ("trust_domain", domain.into())));
    }
    tagged(uid, attributes, tags(claims, wanted))
}

pub(super) fn workload_token(token: &WorkloadToken<'_>, names: &Names, wanted: &Tags) -> Entity {
    let attributes = vec![("spiffe_id", token.spiffe_id.into()), ("trust_domain", token.trust_domain.into())];
    tagged(&names.workload_token, attributes, tags(token.claims, wanted))
}

/// Every claim of which something can be said in Cedar.
fn tags(claims: &Claims, wanted: &Tags) -> impl Iterator<Item = (String, Value)> {
    let wanted = claims.iter().filter(|(name, _)| wanted.want(name));
    wanted.filter_map(|(name, value)| Some((name.clone(), set(&scalars(value)?))))
}

/// A scalar as one text, a list of scalars as many; anything deeper is not offered.
fn scalars(value: &serde_json::Value) -> Option<Vec<String>> {
    match value {
        serde_json::Value::String(text) => Some(vec![text.clone()]),
        serde_json::Value::Bool(flag) => Some(vec![flag.to_string()]),
        serde_json::Value::Number(number) => Some(vec![number.to_string()]),
        serde_json::Value::Array(items) => {
            let each: Option<Vec<Vec<String>>> =
                items.iter().map(|item| if item.is_array() { None } else { scalars(item) }).collect();
            each.map(|each| each.into_iter().flatten().collect())
        }
        serde_json::Value::Null | serde_json::Value::Object(_) => None,
    }
}

/// What a JSON body may be, as for the policies of the other language.
const BODY_LIMITS: DocumentLimits = DocumentLimits { depth_max: 32, values_max: 100_000 };

/// The body's top-level members, and those of them that are whole numbers.
pub(super) fn body(
    bytes: &[u8],
    http: &Http<'_>,
    names: &Names,
    wanted: &Tags,
) -> Result<(Entity, Entity), NoAnswer> {
    let is_json = is_json(http.headers.get("content-type").unwrap_or("")) && !bytes.is_empty();
    let members = if is_json {
        match document::parse(bytes, BODY_LIMITS) {
            Ok(Document::Object(members)) => members,
            Ok(_) => BTreeMap::new(),
            Err(error) => return Err(NoAnswer::Engine(format!("the body cannot be parsed: {error}"))),
        }
    } else {
        BTreeMap::new()
    };
    let attributes = vec![
        ("size", i64::try_from(bytes.len()).unwrap_or(i64::MAX).into()),
        ("is_json", is_json.into()),
        ("members", Value::set_of_lits(members.keys().map(|name| name.as_str().into()), None)),
        ("numbers", std::sync::Arc::clone(&names.numbers).into()),
    ];
    let wanted = || members.iter().filter(|(name, _)| wanted.want(name));
    let texts = wanted().filter_map(|(name, value)| Some((name.clone(), set(&texts(value)?))));
    let numbers = wanted().filter_map(|(name, value)| Some((name.clone(), whole_number(value)?.into())));
    Ok((tagged(&names.body, attributes, texts), tagged(&names.numbers, Vec::new(), numbers)))
}

/// `application/json`, or a type that is written in JSON (RFC 6839).
fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

fn texts(value: &Document) -> Option<Vec<String>> {
    match value {
        Document::String(text) => Some(vec![text.clone()]),
        Document::Bool(flag) => Some(vec![flag.to_string()]),
        Document::Number(literal) => Some(vec![literal.to_string()]),
        Document::Array(items) => {
            let each = |item: &Document| if item.as_array().is_some() { None } else { texts(item)?.pop() };
            items.iter().map(each).collect()
        }
        Document::Null | Document::Object(_) => None,
    }
}

fn whole_number(value: &Document) -> Option<i64> {
    match value {
        Document::Number(literal) => literal.parse().ok(),
        Document::Null
        | Document::Bool(_)
        | Document::String(_)
        | Document::Array(_)
        | Document::Object(_) => None,
    }
}
