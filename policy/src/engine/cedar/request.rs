//! From a query to Cedar's request, under the contract schema.
use super::Mentions;
use crate::engine::NoAnswer;
use crate::engine::url;
use crate::query::{Http, Query, TokenIssuer, WorkloadToken};
use cedar_policy::{
    Context, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::str::FromStr as _;

/// The contract's type names, parsed once.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) workload: EntityTypeName,
    trust_domain: EntityTypeName,
    service: EntityTypeName,
    route: EntityTypeName,
    action: EntityTypeName,
    headers: EntityTypeName,
    query: EntityTypeName,
    claims: EntityTypeName,
    workload_token: EntityTypeName,
}

impl Names {
    pub(super) fn new() -> Result<Self, String> {
        let name = |text: &str| EntityTypeName::from_str(text).map_err(|error| error.to_string());
        Ok(Self {
            workload: name("Workload")?,
            trust_domain: name("TrustDomain")?,
            service: name("Service")?,
            route: name("Route")?,
            action: name("Action")?,
            headers: name("Headers")?,
            query: name("Query")?,
            claims: name("Claims")?,
            workload_token: name("WorkloadToken")?,
        })
    }

    pub(super) fn workload(&self, id: &str) -> EntityUid {
        uid(&self.workload, id)
    }

    pub(super) fn trust_domain(&self, name: &str) -> EntityUid {
        uid(&self.trust_domain, name)
    }

    pub(super) fn service(&self, name: &str) -> EntityUid {
        uid(&self.service, name)
    }

    pub(super) fn route(&self, name: &str) -> EntityUid {
        uid(&self.route, name)
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// The id of the entities that stand for parts of this request.
const THIS: &str = "request";
/// The id of the claims of its transaction token.
const TRANSACTION: &str = "transaction";

/// The request, and the entities that belong to it alone.
pub(super) fn build(
    caller: &str,
    query: &Query<'_>,
    names: &Names,
    schema: &Schema,
    mentions: Mentions,
) -> Result<(Request, Vec<Entity>), NoAnswer> {
    let mut extra = Vec::new();
    let mut members = common(query);
    if let Some(http) = &query.http {
        http_members(http, names, &mut members)?;
        for (name, there, id) in [
            ("claims", query.claims.is_some(), THIS),
            ("transaction", query.transaction.is_some(), TRANSACTION),
        ] {
            if there {
                let entity = RestrictedExpression::new_entity_uid(uid(&names.claims, id));
                members.push((name.to_owned(), entity));
            }
        }
        if query.workload_token.is_some() {
            let token = RestrictedExpression::new_entity_uid(uid(&names.workload_token, THIS));
            members.push(member("workload_token", token));
        }
        if mentions.headers {
            extra.push(headers(http, names)?);
        }
        if mentions.query {
            extra.push(query_parameters(http, names)?);
        }
        if let (Some(claims), true) = (query.claims, mentions.claims) {
            extra.push(claims_entity(THIS, claims, query.token_issuer, names)?);
        }
        if let (Some(transaction), true) = (query.transaction, mentions.transaction) {
            extra.push(claims_entity(TRANSACTION, transaction, None, names)?);
        }
        if let (Some(token), true) = (&query.workload_token, mentions.workload_token) {
            extra.push(workload_token(token, names)?);
        }
    }
    let failed = |error: &dyn std::error::Error| NoAnswer::Engine(error.to_string());
    let context = Context::from_pairs(members).map_err(|error| failed(&error))?;
    let action = uid(&names.action, query.action);
    let request =
        Request::new(names.workload(caller), action, names.route(query.route), context, Some(schema))
            .map_err(|error| failed(&error))?;
    Ok((request, extra))
}

type Member = (String, RestrictedExpression);

fn member(name: &str, value: RestrictedExpression) -> Member {
    (name.to_owned(), value)
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn record(members: Vec<Member>) -> RestrictedExpression {
    // Names are ours and differ, which is all that could fail.
    let unique: BTreeMap<String, RestrictedExpression> = members.into_iter().collect();
    RestrictedExpression::new_record(unique).unwrap_or_else(|_| text(""))
}

fn common(query: &Query<'_>) -> Vec<Member> {
    let mut tls = Vec::new();
    if let Some(name) = query.source.sni {
        tls.push(member("server_name", text(name)));
    }
    if let Some(serial) = query.source.certificate_serial {
        tls.push(member("certificate_serial", text(serial)));
    }
    vec![
        member("now", RestrictedExpression::new_datetime(rfc3339_ms(query.now_ns))),
        member("source", endpoint(query.source.address)),
        member("destination", endpoint(query.destination)),
        member("tls", record(tls)),
    ]
}

fn endpoint(address: SocketAddr) -> RestrictedExpression {
    record(vec![
        member("address", RestrictedExpression::new_ip(address.ip().to_string())),
        member("port", RestrictedExpression::new_long(i64::from(address.port()))),
    ])
}

fn http_members(http: &Http<'_>, names: &Names, members: &mut Vec<Member>) -> Result<(), NoAnswer> {
    let segments = url::path_segments(http.path)
        .map_err(|what| NoAnswer::Engine(format!("the path cannot be decoded: {what}")))?;
    let depth = i64::try_from(segments.len()).unwrap_or(i64::MAX);
    let first = segments.iter().take(8).zip(1..).map(|(segment, n)| (format!("s{n}"), text(segment)));
    members.extend([
        member("id", text(http.id)),
        member("scheme", text(http.scheme)),
        member("authority", text(http.authority)),
        member("path", text(http.path)),
        member("protocol", text(http.protocol)),
        member("segments", record(first.collect())),
        member("depth", RestrictedExpression::new_long(depth)),
        member("headers", RestrictedExpression::new_entity_uid(uid(&names.headers, THIS))),
        member("query", RestrictedExpression::new_entity_uid(uid(&names.query, THIS))),
    ]);
    Ok(())
}

fn set(values: Vec<String>) -> RestrictedExpression {
    RestrictedExpression::new_set(values.into_iter().map(RestrictedExpression::new_string))
}

fn tagged(uid: EntityUid, attributes: Vec<Member>, tags: Vec<Member>) -> Result<Entity, NoAnswer> {
    let none = HashSet::<EntityUid>::new();
    Entity::new_with_tags(uid, attributes, none, tags).map_err(|error| NoAnswer::Engine(error.to_string()))
}

fn headers(http: &Http<'_>, names: &Names) -> Result<Entity, NoAnswer> {
    let fields = http.joined_headers().into_iter();
    let tags = fields.map(|(name, value)| (name, RestrictedExpression::new_string(value))).collect();
    tagged(uid(&names.headers, THIS), Vec::new(), tags)
}

fn query_parameters(http: &Http<'_>, names: &Names) -> Result<Entity, NoAnswer> {
    let values = url::query_values(http.query.unwrap_or(""))
        .map_err(|what| NoAnswer::Engine(format!("the query cannot be parsed: {what}")))?;
    let tags = values.into_iter().map(|(name, values)| (name, set(values))).collect();
    tagged(uid(&names.query, THIS), Vec::new(), tags)
}

fn claims_entity(
    id: &str,
    claims: &serde_json::Map<String, serde_json::Value>,
    issuer: Option<TokenIssuer<'_>>,
    names: &Names,
) -> Result<Entity, NoAnswer> {
    let words = |name: &str| match claims.get(name) {
        Some(serde_json::Value::String(text)) => {
            text.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect()
        }
        Some(other) => scalars(other).unwrap_or_default(),
        None => Vec::new(),
    };
    let mut scopes = words("scope");
    scopes.extend(words("scp"));
    let audiences = claims.get("aud").and_then(scalars).unwrap_or_default();
    let mut attributes = vec![member("scopes", set(scopes)), member("audiences", set(audiences))];
    if let Some(subject) = claims.get("sub").and_then(serde_json::Value::as_str) {
        attributes.push(member("subject", text(subject)));
    }
    // Who vouches for them, which is not always what `iss` says.
    if let Some(issuer) = issuer {
        attributes.push(member("issuer", text(issuer.issuer)));
        attributes.extend(issuer.trust_domain.map(|domain| member("trust_domain", text(domain))));
    }
    tagged(uid(&names.claims, id), attributes, tags(claims))
}

fn workload_token(token: &WorkloadToken<'_>, names: &Names) -> Result<Entity, NoAnswer> {
    let attributes =
        vec![member("spiffe_id", text(token.spiffe_id)), member("trust_domain", text(token.trust_domain))];
    tagged(uid(&names.workload_token, THIS), attributes, tags(token.claims))
}

/// Every claim of which something can be said in Cedar.
fn tags(claims: &serde_json::Map<String, serde_json::Value>) -> Vec<Member> {
    claims.iter().filter_map(|(name, value)| Some((name.clone(), set(scalars(value)?)))).collect()
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

/// The moment as `2026-11-23T08:52:02.123Z`. The date follows Howard Hinnant's `civil_from_days`.
pub(super) fn rfc3339_ms(now_ns: u64) -> String {
    let ms = now_ns / 1_000_000;
    let (days, ms_of_day) = (ms / 86_400_000, ms % 86_400_000);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60, ms_of_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms_of_day % 1000)
}
