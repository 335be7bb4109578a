//! Requests made of what two policies say about requests: the values themselves, their neighbours, and something that
//! neither mentions.
use super::combine::combine;
use super::hints::{Hints, LIST, Member};
use crate::Tls;
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
const SEGMENTS_MAX: usize = 20;
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
    TokenDomain(Option<String>),
    /// A member of the claims, the transaction token or the body, by its path in the input.
    Member(Vec<String>, Option<Value>),
}

/// The values of one dimension; the first few are those that only one of the policies has something to say about.
struct Dimension {
    choices: Vec<Choice>,
    likely: usize,
    /// How many more there would have been.
    left_out: usize,
}

impl Dimension {
    fn of<T: Clone>(named: Vec<(T, bool)>, most: usize, make: impl Fn(T) -> Choice) -> Self {
        let left_out = named.len().saturating_sub(most);
        let (likely, others): (Vec<_>, Vec<_>) = named.into_iter().partition(|(_, likely)| *likely);
        let likely = thinned(likely, most);
        let others = thinned(others, most.saturating_sub(likely.len()));
        let count = likely.len();
        let choices = likely.into_iter().chain(others).map(|(value, _)| make(value)).collect();
        Self { choices, likely: count, left_out }
    }

    fn and(mut self, more: impl IntoIterator<Item = Choice>) -> Self {
        self.choices.extend(more);
        self
    }
}

pub(super) fn made(hints: &Hints) -> Made {
    let changed = hints.changed();
    let mut dimensions = vec![
        methods(hints, &changed),
        Dimension::of(paths(hints, &changed), PATHS_MAX, Choice::Path),
        principals(hints, &changed),
    ];
    let free = free(hints, &changed);
    // Those that one policy alone speaks of come first, so that they are not what there is no room for.
    let (first, last): (Vec<_>, Vec<_>) = free.into_iter().partition(|dimension| dimension.likely > 0);
    dimensions.extend(first.into_iter().chain(last));
    let cut = dimensions.len().saturating_sub(DIMENSIONS_MAX.saturating_add(3));
    dimensions.truncate(DIMENSIONS_MAX.saturating_add(3));
    let sizes: Vec<usize> = dimensions.iter().map(|dimension| dimension.choices.len()).collect();
    let likely: Vec<usize> = dimensions.iter().map(|dimension| dimension.likely).collect();
    let combined = combine(&sizes, &likely, REQUESTS_MAX);
    let asked = combined
        .rows
        .iter()
        .map(|row| request(row.iter().zip(&dimensions).filter_map(|(value, of)| of.choices.get(*value))));
    let mut seen = BTreeSet::new();
    let asked: Vec<Asked> = asked.filter(|asked| seen.insert(asked.words().to_string())).collect();
    let left_out = dimensions.iter().map(|dimension| dimension.left_out).sum();
    let of = described(&sizes, (combined.complete, combined.pairs_missing), (left_out, cut));
    Made { asked, of }
}

/// What is asked about only where the policies speak of it.
fn free(hints: &Hints, changed: &BTreeSet<&str>) -> Vec<Dimension> {
    let mut free: Vec<Dimension> = Vec::new();
    for (path, member) in &hints.members {
        let (values, left_out) = member_values(member, &hints.words, changed);
        let make = |value| Choice::Member(path.clone(), Some(value));
        let dimension = Dimension::of(values, OTHERS_MAX.saturating_add(3), make);
        free.push(Dimension { left_out, ..dimension.and([Choice::Member(path.clone(), None)]) });
    }
    for name in hints.whole.iter().filter(|name| !hints.members.keys().any(|path| path.first() == Some(name)))
    {
        let path = vec![name.clone(), "sub".to_owned()];
        let some = Choice::Member(path.clone(), Some("somebody".into()));
        free.push(Dimension::of(Vec::new(), 0, Choice::Path).and([some, Choice::Member(path, None)]));
    }
    let texts = |values: &BTreeSet<String>, make: &dyn Fn(Option<String>) -> Choice| {
        let named = texts(values, &hints.words, changed);
        let other = Some("something-else".to_owned());
        Dimension::of(named, OTHERS_MAX, |text| make(Some(text))).and([make(None), make(other)])
    };
    for (name, values) in &hints.headers {
        free.push(texts(values, &|value| Choice::Header(name.clone(), value)));
    }
    for (name, values) in &hints.query {
        free.push(texts(values, &|value| Choice::Parameter(name.clone(), value)));
    }
    let named = |values: &BTreeSet<String>, make: fn(String) -> Choice, other: &str| {
        let marked = values.iter().map(|text| (text.clone(), changed.contains(text.as_str()))).collect();
        let other = (!values.is_empty()).then(|| make(other.to_owned()));
        Dimension::of(marked, OTHERS_MAX, make).and(other)
    };
    free.push(named(&hints.hosts, Choice::Host, "other.example"));
    free.push(named(&hints.routes, Choice::Route, "other-route"));
    free.push(named(&hints.services, Choice::Service, "other-service"));
    free.push(named(&hints.issuers, Choice::Issuer, "https://other.example"));
    let known = !hints.token_domains.is_empty();
    let domains = named(&hints.token_domains, |domain| Choice::TokenDomain(Some(domain)), "other.example");
    free.push(domains.and(known.then_some(Choice::TokenDomain(None))));
    let plain = |ns: &u64| (*ns, false);
    free.push(Dimension::of(
        hints.moments.iter().map(plain).collect(),
        OTHERS_MAX.saturating_mul(2),
        Choice::Moment,
    ));
    let addresses: Vec<(IpAddr, bool)> = hints.addresses.iter().map(|address| (*address, false)).collect();
    for make in [Choice::Source, Choice::Destination] {
        let other = (!addresses.is_empty()).then(|| make(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        free.push(Dimension::of(addresses.clone(), OTHERS_MAX.saturating_mul(2), make).and(other));
    }
    let ports = hints.ports.iter().map(|port| (*port, false)).collect();
    let other = (!hints.ports.is_empty()).then_some(Choice::Port(8443));
    free.push(Dimension::of(ports, OTHERS_MAX, Choice::Port).and(other));
    free.retain(|dimension| !dimension.choices.is_empty());
    free
}

fn described(sizes: &[usize], (complete, missing): (bool, usize), (left_out, cut): (usize, usize)) -> String {
    let size = |index: usize| sizes.get(index).copied().unwrap_or(0);
    let others = sizes.len().saturating_sub(3);
    let how = match (complete, missing) {
        (true, _) => "in all combinations".to_owned(),
        (false, 0) => "so that every two values meet".to_owned(),
        (false, missing) => format!("though {missing} pairs of values never meet, for want of room"),
    };
    let (methods, paths, principals) = (size(0), size(1), size(2));
    let mut text =
        format!("{methods} methods, {paths} paths, {principals} callers and {others} other fields {how}");
    for (count, what) in [(left_out, "values"), (cut, "other fields")] {
        if count > 0 {
            text.push_str(&format!("; {count} more {what} left out for want of room"));
        }
    }
    text
}

/// What nobody asks about in particular.
fn usual() -> (Asked, AskedHttp) {
    let http = AskedHttp {
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
    let asked = Asked {
        now_ns: NOW_NS,
        action: "GET".to_owned(),
        source: Some(SOURCE),
        spiffe_id: None,
        tls: Tls::AsAsked,
        sni: None,
        certificate_serial: None,
        destination: Some(DESTINATION),
        destination_principal: None,
        http: None,
        claims: None,
        token_issuer: None,
        transaction: None,
        workload_token: None,
        route: "route".to_owned(),
        service: "service".to_owned(),
    };
    (asked, http)
}

fn request<'c>(chosen: impl Iterator<Item = &'c Choice>) -> Asked {
    let (mut asked, mut http) = usual();
    let (mut issuer, mut token_domain, mut body) = (None, None, Map::new());
    for choice in chosen {
        match choice {
            Choice::Method(method) => asked.action.clone_from(method),
            Choice::Path(path) => http.path.clone_from(path),
            Choice::Principal(id) => asked.spiffe_id.clone_from(id),
            Choice::Host(host) => http.authority.clone_from(host),
            Choice::Route(route) => asked.route.clone_from(route),
            Choice::Service(service) => asked.service.clone_from(service),
            Choice::Moment(ns) => asked.now_ns = *ns,
            Choice::Source(ip) => asked.source.get_or_insert(SOURCE).set_ip(*ip),
            Choice::Destination(ip) => asked.destination.get_or_insert(DESTINATION).set_ip(*ip),
            Choice::Port(port) => asked.destination.get_or_insert(DESTINATION).set_port(*port),
            Choice::Issuer(name) => issuer = Some(name.clone()),
            Choice::Header(name, Some(value)) => http.headers.push((name.to_lowercase(), value.clone())),
            Choice::Parameter(name, Some(value)) => {
                let pair = format!("{}={}", encoded(name), encoded(value));
                http.query = Some(http.query.take().map_or(pair.clone(), |query| format!("{query}&{pair}")));
            }
            Choice::TokenDomain(domain) => token_domain.clone_from(domain),
            Choice::Member(path, Some(value)) => match path.split_first() {
                Some((of, path)) if of == "claims" => {
                    put(asked.claims.get_or_insert_with(Map::new), path, value);
                }
                Some((of, path)) if of == "transaction" => {
                    put(asked.transaction.get_or_insert_with(Map::new), path, value);
                }
                Some((_, path)) => put(&mut body, path, value),
                None => {}
            },
            Choice::Header(_, None) | Choice::Parameter(_, None) | Choice::Member(_, None) => {}
        }
    }
    if token_domain.is_some() {
        asked.claims.get_or_insert_with(Map::new);
    }
    if let Some(claims) = &mut asked.claims {
        let stated = claims.get("iss").and_then(Value::as_str).map(str::to_owned);
        let issuer = issuer.or(stated).unwrap_or_else(|| "https://issuer.example".to_owned());
        claims.entry("iss").or_insert_with(|| issuer.as_str().into());
        asked.token_issuer = Some((issuer, token_domain));
    }
    if !body.is_empty() {
        let text = Value::Object(body).to_string();
        http.size = i64::try_from(text.len()).unwrap_or(i64::MAX);
        http.body = AskedBody::Whole(text.into_bytes());
        if !http.headers.iter().any(|(name, _)| name == "content-type") {
            http.headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
    }
    asked.http = (asked.action != "connect").then_some(http);
    asked
}

fn put(members: &mut Map<String, Value>, path: &[String], value: &Value) {
    let Some((name, rest)) = path.split_first() else { return };
    let inner = members.entry(name.clone()).or_insert(Value::Null);
    put_at(inner, rest, value);
}

/// Puts a value at a path, where nothing of another kind is.
fn put_at(place: &mut Value, path: &[String], value: &Value) {
    let Some((name, rest)) = path.split_first() else {
        if !place.is_object() {
            *place = value.clone();
        }
        return;
    };
    if place.is_null() {
        *place = if name == LIST { Value::Array(vec![Value::Null]) } else { Map::new().into() };
    }
    if name == LIST {
        let first = place.as_array_mut().and_then(|items| items.first_mut());
        first.into_iter().for_each(|item| put_at(item, rest, value));
    } else if let Some(members) = place.as_object_mut() {
        put(members, path, value);
    }
}

fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn methods(hints: &Hints, changed: &BTreeSet<&str>) -> Dimension {
    let named = hints.methods.iter().map(|method| (method.clone(), changed.contains(method.as_str())));
    let all = Dimension::of(named.collect(), METHODS_MAX, Choice::Method);
    let chosen = |dimension: &Dimension, name: &str| {
        dimension.choices.iter().any(|choice| matches!(choice, Choice::Method(method) if method == name))
    };
    // Those that change something and those that do not, and one that nobody mentions.
    let usual = ["GET", "POST", "DELETE", "OPTIONS", "PATCH"];
    let both: Vec<&str> = usual.into_iter().take(2).filter(|method| !chosen(&all, method)).collect();
    let all = all.and(both.into_iter().map(|method| Choice::Method(method.to_owned())));
    let other = usual.into_iter().find(|method| !hints.methods.contains(*method) && !chosen(&all, method));
    all.and(other.map(|method| Choice::Method(method.to_owned())))
}

fn principals(hints: &Hints, changed: &BTreeSet<&str>) -> Dimension {
    let mut seen = BTreeSet::new();
    let named = hints.principals.iter().map(|id| (filled(id), changed.contains(id.as_str())));
    let named: Vec<(String, bool)> =
        named.filter(|(id, _)| id.starts_with("spiffe://") && seen.insert(id.clone())).collect();
    let first = named.iter().find(|(_, likely)| *likely).or_else(|| named.first());
    let first = first.map_or_else(|| "spiffe://example.org/service".to_owned(), |(id, _)| id.clone());
    let rest = first.trim_start_matches("spiffe://");
    let (domain, path) = rest.split_once('/').unwrap_or((rest, "service"));
    // A stranger at home, and the same name elsewhere.
    let strangers = [format!("spiffe://{domain}/nobody-knows"), format!("spiffe://elsewhere.example/{path}")];
    let strangers = strangers.into_iter().filter(|id| !seen.contains(id)).map(Some).chain([None]);
    Dimension::of(named, PRINCIPALS_MAX, |id| Choice::Principal(Some(id)))
        .and(strangers.map(Choice::Principal))
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
fn paths(hints: &Hints, changed: &BTreeSet<&str>) -> Vec<(String, bool)> {
    let mut all: Vec<(String, bool)> = vec![("/".to_owned(), false), ("/x".to_owned(), false)];
    for pattern in hints.paths.iter().filter(|path| path.starts_with('/')) {
        let path = filled(pattern);
        let parent = path.trim_end_matches('/').rsplit_once('/').map(|(parent, _)| parent.to_owned());
        let deeper = format!("{}/x", path.trim_end_matches('/'));
        let beside = format!("{}x", path.trim_end_matches('/'));
        let likely = is_likely(pattern, changed);
        let shorter = pattern.contains("**").then(|| pattern.replace("**", "x").replace('*', "x"));
        let near =
            [Some(path), Some(deeper), Some(beside), parent.filter(|parent| !parent.is_empty()), shorter];
        all.extend(near.into_iter().flatten().map(|path| (path, likely)));
    }
    let deepest = hints.segments.keys().next_back().map_or(0, |index| index.saturating_add(1));
    let mut lengths = hints.lengths.clone();
    if deepest > 0 {
        lengths.extend([deepest, deepest.saturating_add(1)]);
    }
    for length in lengths.into_iter().filter(|length| (1..=12).contains(length)) {
        let choices: Vec<Vec<(String, bool)>> = (0..length)
            .map(|index| {
                let named = hints.segments.get(&index).into_iter().flatten();
                let named = named.filter(|name| !name.is_empty());
                let (mut likely, others): (Vec<_>, Vec<_>) = named
                    .map(|name| (name.clone(), changed.contains(name.as_str())))
                    .partition(|(_, likely)| *likely);
                likely.extend(others);
                likely.truncate(SEGMENTS_MAX);
                likely.push(("x".to_owned(), false));
                likely
            })
            .collect();
        let sizes: Vec<usize> = choices.iter().map(Vec::len).collect();
        let likely = |choices: &Vec<(String, bool)>| choices.iter().filter(|(_, likely)| *likely).count();
        let likely: Vec<usize> = choices.iter().map(likely).collect();
        for row in combine(&sizes, &likely, PATHS_MAX).rows {
            let parts = row.iter().zip(&choices).filter_map(|(at, choices)| choices.get(*at));
            let (parts, likely): (Vec<String>, Vec<bool>) =
                parts.map(|(part, likely)| (encoded(part), *likely)).unzip();
            all.push((format!("/{}", parts.join("/")), likely.contains(&true)));
        }
    }
    // Of one that is made twice, the time that makes it likely counts.
    all.sort_by_key(|(_, likely)| !likely);
    let mut seen = BTreeSet::new();
    all.retain(|(path, _)| path.starts_with('/') && !path.contains("//") && seen.insert(path.clone()));
    all
}

/// Whether a path is made of what only one of the policies says: as a whole, as a beginning or an end, or part by part.
fn is_likely(pattern: &str, changed: &BTreeSet<&str>) -> bool {
    let inner = pattern.strip_prefix("/x").unwrap_or(pattern);
    let forms = [
        pattern,
        pattern.trim_end_matches('*'),
        pattern.trim_start_matches('/'),
        inner,
        inner.trim_end_matches('x'),
    ];
    let mut parts = pattern.split('/').filter(|part| !part.is_empty() && !part.contains('*')).peekable();
    let whole = forms.iter().any(|form| form.len() > 1 && changed.contains(form));
    whole || (parts.peek().is_some() && parts.all(|part| changed.contains(part)))
}

/// At most so many, evenly.
fn thinned<T: Clone>(all: Vec<T>, most: usize) -> Vec<T> {
    if all.len() <= most {
        return all;
    }
    (0..most).filter_map(|index| all.get(index.saturating_mul(all.len()) / most).cloned()).collect()
}

/// Values of a field that is text: what it is compared with, else words.
fn texts(
    values: &BTreeSet<String>,
    words: &BTreeSet<String>,
    changed: &BTreeSet<&str>,
) -> Vec<(String, bool)> {
    let source = if values.is_empty() { words } else { values };
    let named = source.iter().filter(|text| !text.contains(char::is_control));
    named.map(|text| (filled(text), changed.contains(text.as_str()))).collect()
}

fn member_values(
    member: &Member,
    words: &BTreeSet<String>,
    changed: &BTreeSet<&str>,
) -> (Vec<(Value, bool)>, usize) {
    let says = |value: &Value| changed.contains(value.to_string().as_str());
    let likely = |value: &Value| match (value.as_str(), value.as_i64()) {
        (Some(text), _) => changed.contains(text),
        // What is held against a number changes beside it.
        (None, Some(number)) => [-1, 0, 1].iter().any(|step| says(&number.saturating_add(*step).into())),
        (None, None) => says(value),
    };
    let mut named: Vec<Value> = member.values.values().cloned().collect();
    if named.is_empty() {
        named = words.iter().map(|word| word.as_str().into()).collect();
    }
    let left_out = named.len().saturating_sub(OTHERS_MAX);
    let (first, others): (Vec<Value>, Vec<Value>) = named.into_iter().partition(likely);
    let first = thinned(first, OTHERS_MAX);
    let others = thinned(others, OTHERS_MAX.saturating_sub(first.len()));
    let mut values: Vec<(Value, bool)> = first
        .into_iter()
        .map(|value| (value, true))
        .chain(others.into_iter().map(|value| (value, false)))
        .collect();
    let whole: Vec<&str> = values.iter().filter_map(|(value, _)| value.as_str()).collect();
    let whole = (whole.len() > 1 && (member.split || member.values.is_empty())).then(|| whole.join(" "));
    if member.listed {
        let all: Value =
            values.iter().filter(|(value, _)| !value.is_array()).map(|(value, _)| value.clone()).collect();
        values = values
            .into_iter()
            .map(
                |(value, likely)| {
                    if value.is_array() { (value, likely) } else { (Value::Array(vec![value]), likely) }
                },
            )
            .collect();
        values.push((all, false));
    } else if let Some(whole) = whole {
        values.push((whole.into(), false));
    }
    values.push((if member.listed { Value::Array(Vec::new()) } else { "something-else".into() }, false));
    (values, left_out)
}
