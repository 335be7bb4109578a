//! Requests made of what two policies say about requests: the values themselves, their neighbours, and something that
//! neither mentions.
use super::combine::combine;
use super::hints::{Claim, Hints};
use crate::tooling::ask::{DESTINATION, SOURCE};
use crate::tooling::asked::{Asked, AskedBody, AskedHttp};
use crate::tooling::cases::NOW_NS;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Requests that are made, and how.
pub(super) struct Made {
    pub(super) asked: Vec<Asked>,
    /// What they were made of, in words.
    pub(super) of: String,
}

/// The most requests.
const REQUESTS_MAX: usize = 20_000;
const PATHS_MAX: usize = 200;
const PRINCIPALS_MAX: usize = 24;
const METHODS_MAX: usize = 10;
/// Values of any other dimension.
const OTHERS_MAX: usize = 10;
/// Dimensions that are free: claims, headers, parameters.
const DIMENSIONS_MAX: usize = 24;

/// One value of a dimension.
#[derive(Clone, Debug)]
enum Choice {
    Method(String),
    Path(String),
    Principal(Option<String>),
    Host(String),
    Route(String),
    Service(String),
    Moment(u64),
    Source(IpAddr),
    Destination(IpAddr),
    Port(u16),
    Issuer(String),
    Header(String, Option<String>),
    Parameter(String, Option<String>),
    Claim(Vec<String>, Option<Value>),
}

pub(super) fn made(hints: &Hints) -> Made {
    let mut dimensions = vec![
        methods(hints).into_iter().map(Choice::Method).collect(),
        thinned(paths(hints), PATHS_MAX).into_iter().map(Choice::Path).collect(),
        principals(hints).into_iter().map(Choice::Principal).collect::<Vec<_>>(),
    ];
    let mut free: Vec<Vec<Choice>> = Vec::new();
    for (path, claim) in &hints.claims {
        let values = claim_values(claim, &hints.words);
        let choices = std::iter::once(None).chain(values.into_iter().map(Some));
        free.push(choices.map(|value| Choice::Claim(path.clone(), value)).collect());
    }
    for (name, values) in &hints.headers {
        let values = texts(values, &hints.words);
        free.push(values.into_iter().map(|value| Choice::Header(name.clone(), value)).collect());
    }
    for (name, values) in &hints.query {
        let values = texts(values, &hints.words);
        free.push(values.into_iter().map(|value| Choice::Parameter(name.clone(), value)).collect());
    }
    let named = |values: &BTreeSet<String>, make: fn(String) -> Choice, other: &str| {
        let all = values.iter().take(OTHERS_MAX).cloned().chain([other.to_owned()]);
        if values.is_empty() { Vec::new() } else { all.map(make).collect() }
    };
    free.push(named(&hints.hosts, Choice::Host, "other.example"));
    free.push(named(&hints.routes, Choice::Route, "other-route"));
    free.push(named(&hints.services, Choice::Service, "other-service"));
    free.push(named(&hints.issuers, Choice::Issuer, "https://other.example"));
    free.push(hints.moments.iter().take(OTHERS_MAX).map(|ns| Choice::Moment(*ns)).collect());
    let addresses: Vec<IpAddr> = thinned(hints.addresses.iter().copied().collect(), OTHERS_MAX);
    for make in [Choice::Source, Choice::Destination] {
        let all = addresses.iter().copied().chain([IpAddr::V4(Ipv4Addr::LOCALHOST)]).map(make);
        free.push(if addresses.is_empty() { Vec::new() } else { all.collect() });
    }
    let ports = hints.ports.iter().take(OTHERS_MAX).copied().chain([8443]).map(Choice::Port);
    free.push(if hints.ports.is_empty() { Vec::new() } else { ports.collect() });
    free.retain(|choices| !choices.is_empty());
    free.truncate(DIMENSIONS_MAX);
    dimensions.extend(free);
    let sizes: Vec<usize> = dimensions.iter().map(Vec::len).collect();
    let combined = combine(&sizes, REQUESTS_MAX);
    let asked = combined.rows.iter().map(|row| {
        let chosen = row.iter().zip(&dimensions).filter_map(|(value, choices)| choices.get(*value));
        request(chosen)
    });
    let mut seen = BTreeSet::new();
    let asked: Vec<Asked> = asked.filter(|asked| seen.insert(asked.words().to_string())).collect();
    Made { asked, of: described(&sizes, combined.complete, combined.pairs_missing) }
}

fn described(sizes: &[usize], complete: bool, missing: usize) -> String {
    let size = |index: usize| sizes.get(index).copied().unwrap_or(0);
    let others = sizes.len().saturating_sub(3);
    let how = match (complete, missing) {
        (true, _) => "in all combinations".to_owned(),
        (false, 0) => "so that every two values meet".to_owned(),
        (false, missing) => format!("though {missing} pairs of values never meet, for want of room"),
    };
    let (methods, paths, principals) = (size(0), size(1), size(2));
    format!("{methods} methods, {paths} paths, {principals} callers and {others} other fields {how}")
}

fn request<'c>(chosen: impl Iterator<Item = &'c Choice>) -> Asked {
    let mut http = AskedHttp {
        id: "01JDEXAMPLE".to_owned(),
        scheme: "https".to_owned(),
        authority: "service.example".to_owned(),
        path: "/".to_owned(),
        query: None,
        protocol: "HTTP/2".to_owned(),
        headers: Vec::new(),
        body: AskedBody::NotRead,
        size: 0,
    };
    let mut asked = Asked {
        now_ns: NOW_NS,
        action: "GET".to_owned(),
        source: SOURCE,
        spiffe_id: None,
        sni: None,
        certificate_serial: None,
        destination: DESTINATION,
        destination_principal: None,
        http: None,
        claims: None,
        token_issuer: None,
        transaction: None,
        workload_token: None,
        route: "route".to_owned(),
        service: "service".to_owned(),
    };
    let mut issuer = None;
    for choice in chosen {
        match choice {
            Choice::Method(method) => asked.action.clone_from(method),
            Choice::Path(path) => http.path.clone_from(path),
            Choice::Principal(id) => asked.spiffe_id.clone_from(id),
            Choice::Host(host) => http.authority.clone_from(host),
            Choice::Route(route) => asked.route.clone_from(route),
            Choice::Service(service) => asked.service.clone_from(service),
            Choice::Moment(ns) => asked.now_ns = *ns,
            Choice::Source(ip) => asked.source.set_ip(*ip),
            Choice::Destination(ip) => asked.destination.set_ip(*ip),
            Choice::Port(port) => asked.destination.set_port(*port),
            Choice::Issuer(name) => issuer = Some(name.clone()),
            Choice::Header(name, Some(value)) => http.headers.push((name.to_lowercase(), value.clone())),
            Choice::Parameter(name, Some(value)) => {
                let pair = format!("{}={}", encoded(name), encoded(value));
                http.query = Some(http.query.take().map_or(pair.clone(), |query| format!("{query}&{pair}")));
            }
            Choice::Claim(path, Some(value)) => {
                put(asked.claims.get_or_insert_with(Map::new), path, value);
            }
            Choice::Header(_, None) | Choice::Parameter(_, None) | Choice::Claim(_, None) => {}
        }
    }
    if let Some(claims) = &mut asked.claims {
        let stated = claims.get("iss").and_then(Value::as_str).map(str::to_owned);
        let issuer = issuer.or(stated).unwrap_or_else(|| "https://issuer.example".to_owned());
        claims.entry("iss").or_insert_with(|| issuer.as_str().into());
        asked.token_issuer = Some((issuer, None));
    }
    asked.http = (asked.action != "connect").then_some(http);
    asked
}

fn put(members: &mut Map<String, Value>, path: &[String], value: &Value) {
    match path {
        [] => {}
        [name] => {
            members.insert(name.clone(), value.clone());
        }
        [name, rest @ ..] => {
            let inner = members.entry(name.clone()).or_insert_with(|| Map::new().into());
            if let Some(inner) = inner.as_object_mut() {
                put(inner, rest, value);
            }
        }
    }
}

fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn methods(hints: &Hints) -> Vec<String> {
    let mut all: Vec<String> = hints.methods.iter().take(METHODS_MAX).cloned().collect();
    // Those that change something and those that do not, and one that nobody mentions.
    let usual = ["GET", "POST", "DELETE", "OPTIONS", "PATCH"];
    for method in usual.into_iter().take(2) {
        if !all.iter().any(|have| have == method) {
            all.push(method.to_owned());
        }
    }
    let other = usual
        .into_iter()
        .find(|method| !hints.methods.contains(*method) && !all.iter().any(|have| have == method));
    all.extend(other.map(str::to_owned));
    all
}

fn principals(hints: &Hints) -> Vec<Option<String>> {
    let known = thinned(hints.principals.iter().map(|id| filled(id)).collect(), PRINCIPALS_MAX);
    let mut all: BTreeSet<String> = known.iter().filter(|id| id.starts_with("spiffe://")).cloned().collect();
    let first = all.iter().next().cloned().unwrap_or_else(|| "spiffe://example.org/service".to_owned());
    let rest = first.trim_start_matches("spiffe://");
    let (domain, path) = rest.split_once('/').unwrap_or((rest, "service"));
    // A stranger at home, and the same name elsewhere.
    all.insert(format!("spiffe://{domain}/nobody-knows"));
    all.insert(format!("spiffe://elsewhere.example/{path}"));
    all.into_iter().map(Some).chain([None]).collect()
}

/// A pattern with something in the place of what it leaves open.
fn filled(pattern: &str) -> String {
    let first_of = |text: &str, open: char, close: char| -> Option<String> {
        let (before, rest) = text.split_once(open)?;
        let (inside, after) = rest.split_once(close)?;
        let first = inside.split([',', '-']).next().unwrap_or("").trim_start_matches(['!', '^']);
        Some(format!("{before}{first}{after}"))
    };
    let mut text = pattern.to_owned();
    for _ in 0..8 {
        match first_of(&text, '{', '}').or_else(|| first_of(&text, '[', ']')) {
            Some(shorter) => text = shorter,
            None => break,
        }
    }
    text.replace("**", "x/y").replace(['*', '?'], "x")
}

/// Paths: those that are named, their neighbours, and the products of named segments.
fn paths(hints: &Hints) -> Vec<String> {
    let mut all: Vec<String> = vec!["/".to_owned(), "/x".to_owned()];
    for pattern in hints.paths.iter().filter(|path| path.starts_with('/')) {
        let path = filled(pattern);
        let parent = path.trim_end_matches('/').rsplit_once('/').map(|(parent, _)| parent.to_owned());
        let deeper = format!("{}/x", path.trim_end_matches('/'));
        let beside = format!("{}x", path.trim_end_matches('/'));
        all.extend([path, deeper, beside]);
        all.extend(parent.filter(|parent| !parent.is_empty()));
        if pattern.contains("**") {
            all.push(pattern.replace("**", "x").replace('*', "x"));
        }
    }
    let deepest = hints.segments.keys().next_back().map_or(0, |index| index.saturating_add(1));
    let mut lengths = hints.lengths.clone();
    if deepest > 0 {
        lengths.extend([deepest, deepest.saturating_add(1)]);
    }
    for length in lengths.into_iter().filter(|length| (1..=12).contains(length)) {
        let choices: Vec<Vec<String>> = (0..length)
            .map(|index| {
                let named = hints.segments.get(&index).into_iter().flatten();
                let named = named.filter(|name| !name.is_empty()).take(OTHERS_MAX.saturating_mul(2)).cloned();
                named.chain(["x".to_owned()]).collect()
            })
            .collect();
        let sizes: Vec<usize> = choices.iter().map(Vec::len).collect();
        for row in combine(&sizes, PATHS_MAX).rows {
            let parts = row.iter().zip(&choices).filter_map(|(at, choices)| choices.get(*at));
            let parts: Vec<String> = parts.map(|part| encoded(part)).collect();
            all.push(format!("/{}", parts.join("/")));
        }
    }
    let mut seen = BTreeSet::new();
    all.retain(|path| path.starts_with('/') && !path.contains("//") && seen.insert(path.clone()));
    all
}

/// At most so many, evenly.
fn thinned<T: Clone>(all: Vec<T>, most: usize) -> Vec<T> {
    if all.len() <= most {
        return all;
    }
    (0..most).filter_map(|index| all.get(index.saturating_mul(all.len()) / most).cloned()).collect()
}

/// Values of a field that is text: nothing, what it is compared with, else words, and something else.
fn texts(values: &BTreeSet<String>, words: &BTreeSet<String>) -> Vec<Option<String>> {
    let source = if values.is_empty() { words } else { values };
    let named = source.iter().filter(|text| !text.contains(char::is_control));
    let named = thinned(named.map(|text| filled(text)).collect(), OTHERS_MAX);
    let other = "something-else".to_owned();
    std::iter::once(None).chain(named.into_iter().chain([other]).map(Some)).collect()
}

fn claim_values(claim: &Claim, words: &BTreeSet<String>) -> Vec<Value> {
    let mut values: Vec<Value> = thinned(claim.values.values().cloned().collect(), OTHERS_MAX);
    if values.is_empty() {
        let words: Vec<Value> = words.iter().map(|word| word.as_str().into()).collect();
        values = thinned(words, OTHERS_MAX);
    }
    let whole: Vec<String> = values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if claim.listed {
        let all: Value = values.iter().filter(|value| !value.is_array()).cloned().collect();
        values = values
            .into_iter()
            .map(|value| if value.is_array() { value } else { Value::Array(vec![value]) })
            .collect();
        values.push(all);
    } else if whole.len() > 1 && (claim.split || claim.values.is_empty()) {
        values.push(whole.join(" ").into());
    }
    values.push(if claim.listed { Value::Array(Vec::new()) } else { "something-else".into() });
    values
}
