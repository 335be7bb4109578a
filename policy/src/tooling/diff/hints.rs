//! What policies say about requests, gathered from their text: the values that requests are made of when two policies
//! are compared. What is missed makes the comparison weaker, never wrong.
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The most values that are kept of one kind, of one policy.
const VALUES_MAX: usize = 100_000;

/// A part of a path that leads to an item of a list, which no name is.
pub(super) const LIST: &str = "\0";

/// Values by what they are compared with.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints {
    pub(super) methods: BTreeSet<String>,
    pub(super) principals: BTreeSet<String>,
    /// Paths, `*` and the like not yet filled in.
    pub(super) paths: BTreeSet<String>,
    pub(super) segments: BTreeMap<usize, BTreeSet<String>>,
    /// How many segments paths have.
    pub(super) lengths: BTreeSet<usize>,
    pub(super) moments: BTreeSet<u64>,
    /// Addresses that either end may have.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Ports that may have been dialled.
    pub(super) ports: BTreeSet<u16>,
    pub(super) hosts: BTreeSet<String>,
    pub(super) routes: BTreeSet<String>,
    pub(super) services: BTreeSet<String>,
    pub(super) headers: BTreeMap<String, BTreeSet<String>>,
    pub(super) query: BTreeMap<String, BTreeSet<String>>,
    /// Members of what callers make up (`claims`, `transaction`, `parsed_body`), by their path in the input.
    pub(super) members: BTreeMap<Vec<String>, Member>,
    /// Whether a token's issuer is asked about, and which.
    pub(super) issuers: BTreeSet<String>,
    /// Those of them that are asked about as a whole.
    pub(super) whole: BTreeSet<String>,
    /// The trust domains of those who issued tokens.
    pub(super) token_domains: BTreeSet<String>,
    /// Texts that may be values of anything free.
    pub(super) words: BTreeSet<String>,
    /// What each rule and each policy says, in its own words.
    pub(super) sayings: BTreeSet<Vec<String>>,
}

/// What is known of a member.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    /// Values by their text, so that they have an order.
    pub(super) values: BTreeMap<String, Value>,
    /// Whether it is gone through as a list.
    pub(super) listed: bool,
    /// Whether it is split at blanks.
    pub(super) split: bool,
}

/// How a field is held against a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// It is the value, or is not.
    Equal,
    /// It is more or less than the value.
    Ordered,
    /// The value is one of its items.
    Item,
    /// It matches the value, which is a pattern or a beginning.
    Pattern,
    /// The value is its end.
    Ending,
    /// The value is a part of it.
    Part,
}

impl Held {
    /// A text in the form in which a field that begins so would hold the value.
    fn in_place(self, beginning: &str, text: &str) -> String {
        match self {
            _ if text.starts_with(beginning) => text.to_owned(),
            Self::Ending => format!("{beginning}x{text}"),
            Self::Part => format!("{beginning}x{text}x"),
            Self::Pattern if text.starts_with('*') => format!("{beginning}{text}"),
            Self::Equal | Self::Ordered | Self::Item | Self::Pattern => text.to_owned(),
        }
    }
}

fn keep<T: Ord>(set: &mut BTreeSet<T>, value: T) {
    if set.len() < VALUES_MAX {
        set.insert(value);
    }
}

impl Hints {
    /// A field of the input is held against a value. The names are those of `schema/query.json`.
    pub(super) fn fact(&mut self, field: &[&str], value: &Value, held: Held) {
        let text = value.as_str();
        match (field, text) {
            (["attributes", "request", "http", "method"] | ["postern", "action"], Some(text)) => {
                keep(&mut self.methods, text.to_owned());
            }
            (
                ["source_principal"] | ["attributes", "source", "principal"] | ["postern", "spiffe_id"],
                Some(text),
            ) => {
                let ending = held == Held::Ending && !text.starts_with("spiffe://");
                let text = if ending {
                    format!("spiffe://example.org/{}", text.trim_start_matches('/'))
                } else {
                    text.to_owned()
                };
                keep(&mut self.principals, text);
            }
            (["postern", "trust_domain"], Some(text)) => {
                keep(&mut self.principals, format!("spiffe://{text}/any"));
            }
            (["attributes", "request", "http", "path"], Some(text)) => {
                keep(&mut self.paths, held.in_place("/", text));
                if held == Held::Pattern && !text.contains('*') {
                    keep(&mut self.paths, format!("{text}*"));
                }
            }
            (["parsed_path", index], Some(text)) => {
                if let Ok(index) = index.parse() {
                    keep(self.segments.entry(index).or_default(), text.to_owned());
                }
            }
            (["parsed_path"], _) => self.whole_path(value),
            (["attributes", "request", "http", "host"], Some(text)) => keep(&mut self.hosts, text.to_owned()),
            (["postern", "route"], Some(text)) => keep(&mut self.routes, text.to_owned()),
            (["postern", "service"], Some(text)) => keep(&mut self.services, text.to_owned()),
            (["postern", "token_issuer"], Some(text)) => keep(&mut self.issuers, text.to_owned()),
            (["postern", "token_trust_domain"], Some(text)) => {
                keep(&mut self.token_domains, text.to_owned());
            }
            (["attributes", "request", "http", "headers", name], _) if !name.starts_with(':') => {
                let values = self.headers.entry((*name).to_owned()).or_default();
                in_text(value, held).into_iter().for_each(|text| keep(values, text));
            }
            (["parsed_query", name, ..], _) => {
                let values = self.query.entry((*name).to_owned()).or_default();
                in_text(value, held).into_iter().for_each(|text| keep(values, text));
            }
            (["postern", "now_ns"], _) => value.as_u64().into_iter().for_each(|ns| self.moment(ns)),
            (["attributes", "request", "time", "seconds"], _) => {
                value.as_u64().into_iter().for_each(|s| self.moment(s.saturating_mul(1_000_000_000)));
            }
            (["attributes", "destination", "address", "socketAddress", "portValue"], _) => {
                let port = value.as_u64().and_then(|port| u16::try_from(port).ok());
                port.into_iter().for_each(|port| keep(&mut self.ports, port));
            }
            _ if is_member(field) => self.member(field, value, held),
            _ => {}
        }
    }

    /// A field is read, whatever it is.
    pub(super) fn read(&mut self, field: &[&str], listed: bool) {
        match field {
            ["attributes", "request", "http", "headers", name] if !name.starts_with(':') => {
                self.headers.entry((*name).to_owned()).or_default();
            }
            ["parsed_query", name, ..] => {
                self.query.entry((*name).to_owned()).or_default();
            }
            ["parsed_path", index] => {
                if let Ok(index) = index.parse() {
                    self.segments.entry(index).or_default();
                }
            }
            [name @ ("claims" | "transaction" | "parsed_body")] => {
                self.whole.insert((*name).to_owned());
            }
            _ if is_member(field) => self.members.entry(owned(field)).or_default().listed |= listed,
            _ => {}
        }
    }

    /// A claim is split into words.
    pub(super) fn split(&mut self, field: &[&str]) {
        if is_member(field) {
            self.members.entry(owned(field)).or_default().split = true;
        }
    }

    /// A path has, or has not, so many segments.
    pub(super) fn length(&mut self, length: usize) {
        if length <= 16 {
            self.lengths.extend([length.saturating_sub(1), length, length.saturating_add(1)]);
        }
    }

    /// A text that stands anywhere: it is sorted by what it looks like.
    pub(super) fn text(&mut self, text: &str) {
        if let Some(addresses) = addresses(text) {
            addresses.into_iter().for_each(|address| keep(&mut self.addresses, address));
        } else if text.starts_with("spiffe://") {
            keep(&mut self.principals, text.to_owned());
        } else if text.len() > 1 && text.starts_with('/') {
            keep(&mut self.paths, text.to_owned());
        } else if (3..=16).contains(&text.len()) && text.chars().all(|char| char.is_ascii_uppercase()) {
            keep(&mut self.methods, text.to_owned());
        } else if !text.is_empty() && text.len() <= 64 && !text.contains(char::is_control) {
            keep(&mut self.words, text.to_owned());
        }
    }

    /// A moment that something is compared with, and those beside it.
    pub(super) fn moment(&mut self, ns: u64) {
        // Rego counts nanoseconds, Cedar milliseconds.
        for step in [1, 1_000_000] {
            for near in [ns.saturating_sub(step), ns, ns.saturating_add(step)] {
                keep(&mut self.moments, near);
            }
        }
    }

    fn whole_path(&mut self, value: &Value) {
        let Some(items) = value.as_array() else { return };
        let items: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
        if let Some(items) = items {
            keep(&mut self.paths, format!("/{}", items.join("/")));
        }
    }

    fn member(&mut self, field: &[&str], value: &Value, held: Held) {
        let claim = self.members.entry(owned(field)).or_default();
        claim.listed |= held == Held::Item;
        let mut values = vec![value.clone()];
        if let (Held::Ordered, Some(number)) = (held, value.as_i64()) {
            values.extend([number.saturating_sub(1).into(), number.saturating_add(1).into()]);
        }
        for value in values {
            if claim.values.len() < VALUES_MAX {
                claim.values.insert(value.to_string(), value);
            }
        }
    }
}

/// What a field that is text may be held against, also as a number.
fn in_text(value: &Value, held: Held) -> Vec<String> {
    match (value.as_str(), value.as_i64(), held) {
        (Some(text), _, _) => vec![text.to_owned()],
        (None, Some(number), Held::Ordered) => {
            [number.saturating_sub(1), number, number.saturating_add(1)].map(|near| near.to_string()).into()
        }
        (None, Some(number), _) => vec![number.to_string()],
        (None, None, _) => Vec::new(),
    }
}

/// Whether it is a member of what callers make up.
fn is_member(field: &[&str]) -> bool {
    matches!(field, ["claims" | "transaction" | "parsed_body", _, ..])
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|part| (*part).to_owned()).collect()
}

/// An address, or for a network its first address and the one after its last.
fn addresses(text: &str) -> Option<Vec<IpAddr>> {
    if let Ok(address) = text.parse() {
        return Some(vec![address]);
    }
    let (address, length) = text.split_once('/')?;
    let (address, length): (IpAddr, u32) = (address.parse().ok()?, length.parse().ok()?);
    Some(match address {
        IpAddr::V4(v4) => {
            let size = 1_u32.checked_shl(32_u32.checked_sub(length)?).unwrap_or(0);
            let first = v4.to_bits() & !size.wrapping_sub(1);
            vec![IpAddr::V4(first.into()), IpAddr::V4(first.wrapping_add(size).into())]
        }
        IpAddr::V6(v6) => {
            let size = 1_u128.checked_shl(128_u32.checked_sub(length)?).unwrap_or(0);
            let first = v6.to_bits() & !size.wrapping_sub(1);
            vec![IpAddr::V6(first.into()), IpAddr::V6(first.wrapping_add(size).into())]
        }
    })
}

impl Hints {
    /// What one policy or the other says; `changed` is what differs in their data.
    pub(super) fn both(old: Self, new: Self, mut changed: BTreeSet<Vec<String>>) -> Self {
        let either = |a: BTreeSet<String>, b: BTreeSet<String>| -> BTreeSet<String> {
            a.into_iter().chain(b).collect()
        };
        let by_key = |a: Named, b: Named| -> Named {
            let mut all = a;
            for (name, values) in b {
                all.entry(name).or_default().extend(values);
            }
            all
        };
        // What both say changes nothing.
        changed.extend(old.sayings.symmetric_difference(&new.sayings).cloned());
        let mut members = old.members;
        for (path, more) in new.members {
            let member = members.entry(path).or_default();
            member.values.extend(more.values);
            member.listed |= more.listed;
            member.split |= more.split;
        }
        let mut segments = old.segments;
        for (index, values) in new.segments {
            segments.entry(index).or_default().extend(values);
        }
        Self {
            methods: either(old.methods, new.methods),
            principals: either(old.principals, new.principals),
            paths: either(old.paths, new.paths),
            segments,
            lengths: old.lengths.into_iter().chain(new.lengths).collect(),
            moments: old.moments.into_iter().chain(new.moments).collect(),
            addresses: old.addresses.into_iter().chain(new.addresses).collect(),
            ports: old.ports.into_iter().chain(new.ports).collect(),
            hosts: either(old.hosts, new.hosts),
            routes: either(old.routes, new.routes),
            services: either(old.services, new.services),
            headers: by_key(old.headers, new.headers),
            query: by_key(old.query, new.query),
            members,
            whole: either(old.whole, new.whole),
            issuers: either(old.issuers, new.issuers),
            token_domains: either(old.token_domains, new.token_domains),
            words: either(old.words, new.words),
            sayings: changed,
        }
    }

    /// The words of what one of the policies says and the other does not: requests with these are the likeliest to show
    /// a change.
    pub(super) fn changed(&self) -> BTreeSet<&str> {
        self.sayings.iter().flatten().map(String::as_str).collect()
    }
}

type Named = BTreeMap<String, BTreeSet<String>>;
