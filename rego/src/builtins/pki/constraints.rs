//! Constraints on names: what the certificates above permit and exclude for those below them.
use super::certificate::Certificate;
use super::extensions::{Names, Subtrees};
use super::names::{domain_is_valid, mailbox};
use crate::builtins::{BuiltinError, Context};
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

/// Whether the names of every certificate of the chain are within the constraints of all above it.
pub(crate) fn hold(context: &mut Context, chain: &[&Certificate]) -> Result<bool, BuiltinError> {
    for (index, one) in chain.iter().enumerate() {
        let above: Vec<_> = chain.iter().skip(index + 1).filter(|above| above.extensions.has(30)).collect();
        if above.is_empty() || !one.extensions.has(17) {
            continue;
        }
        let names = &one.extensions.names;
        let count = |names: &Names| names.dns.len() + names.emails.len() + names.ips.len() + names.uris.len();
        context.charge_items(count(names).saturating_mul(above.len()).saturating_mul(4))?;
        let Some(names) = Checked::read(names) else { return Ok(false) };
        for above in above {
            let (permitted, excluded) = (&above.extensions.permitted, &above.extensions.excluded);
            for subtrees in [permitted, excluded] {
                let count =
                    subtrees.dns.len() + subtrees.emails.len() + subtrees.ips.len() + subtrees.uris.len();
                context.charge_items(count.saturating_mul(4))?;
            }
            if !Rules::new(permitted, true).permit(&names) || Rules::new(excluded, false).exclude(&names) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Names that constraints can be applied to. A name to which none could be applied breaks the chain.
struct Checked<'a> {
    dns: &'a [String],
    hosts: Vec<String>,
    mailboxes: Vec<(Vec<u8>, String)>,
    ips: &'a [Vec<u8>],
}

impl<'a> Checked<'a> {
    fn read(names: &'a Names) -> Option<Self> {
        let hosts: Vec<String> = names.uris.iter().map(|uri| host(&uri.host)).collect::<Option<_>>()?;
        let mailbox = |text: &String| {
            let (local, domain) = mailbox(text)?;
            Some((local, domain.to_ascii_lowercase()))
        };
        let mailboxes: Vec<_> = names.emails.iter().map(mailbox).collect::<Option<_>>()?;
        let valid = names.dns.iter().chain(&hosts).all(|domain| domain_is_valid(domain.as_bytes(), false));
        valid.then_some(Self { dns: &names.dns, hosts, mailboxes, ips: &names.ips })
    }
}

/// The host of a URI without its port; there must be one, and no address.
fn host(host: &[u8]) -> Option<String> {
    let host = String::from_utf8_lossy(host);
    let host = match host.contains(':') && !host.ends_with(']') {
        true => host.split_once(':').filter(|(_, port)| !port.contains(':'))?.0.to_owned(),
        false => host.to_lowercase(),
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    (!host.is_empty() && !bracketed && host.parse::<IpAddr>().is_err()).then_some(host)
}

/// One side of a certificate's constraints. What it holds nothing about is not constrained by it.
struct Rules {
    dns: Option<Domains>,
    hosts: Option<Domains>,
    mailboxes: Option<Mailboxes>,
    ips: Option<Networks>,
}

impl Rules {
    fn new(subtrees: &Subtrees, permitted: bool) -> Self {
        Self {
            dns: Domains::new(&subtrees.dns, permitted),
            hosts: Domains::new(&subtrees.uris, permitted),
            mailboxes: Mailboxes::new(&subtrees.emails, permitted),
            ips: Networks::new(&subtrees.ips),
        }
    }

    fn permit(&self, names: &Checked<'_>) -> bool {
        self.dns.as_ref().is_none_or(|rule| names.dns.iter().all(|domain| rule.matches(domain)))
            && self.hosts.as_ref().is_none_or(|rule| names.hosts.iter().all(|domain| rule.matches(domain)))
            && self
                .mailboxes
                .as_ref()
                .is_none_or(|rule| names.mailboxes.iter().all(|mailbox| rule.matches(mailbox)))
            && self.ips.as_ref().is_none_or(|rule| names.ips.iter().all(|ip| rule.matches(ip)))
    }

    fn exclude(&self, names: &Checked<'_>) -> bool {
        self.dns.as_ref().is_some_and(|rule| names.dns.iter().any(|domain| rule.matches(domain)))
            || self.hosts.as_ref().is_some_and(|rule| names.hosts.iter().any(|domain| rule.matches(domain)))
            || self
                .mailboxes
                .as_ref()
                .is_some_and(|rule| names.mailboxes.iter().any(|mailbox| rule.matches(mailbox)))
            || self.ips.as_ref().is_some_and(|rule| names.ips.iter().any(|ip| rule.matches(ip)))
    }
}

/// Sorts, and drops what another one includes.
fn pruned<T>(mut items: Vec<T>, order: fn(&T, &T) -> Ordering, includes: fn(&T, &T) -> bool) -> Vec<T> {
    items.sort_by(order);
    items.dedup_by(|next, kept| includes(kept, next));
    items
}

/// Looks only at the nearest below, as Go does: it need not be the one that would match.
fn found<T>(items: &[T], order: impl Fn(&T) -> Ordering, matches: impl Fn(&T) -> bool) -> bool {
    match items.binary_search_by(order) {
        Ok(_) => true,
        Err(at) => items.get(at.saturating_sub(1)).is_some_and(matches),
    }
}

struct Domains {
    /// Every domain.
    all: bool,
    sorted: Vec<String>,
    /// What remains of excluded domains without the first label: a wildcard there would cover the domain.
    parents: BTreeSet<String>,
}

impl Domains {
    fn new(domains: &[String], permitted: bool) -> Option<Self> {
        if domains.is_empty() {
            return None;
        }
        let sorted = pruned(domains.to_vec(), |a, b| order(a, b), |a, b| is_within(a, b));
        let parent =
            |domain: &String| domain.find('.').and_then(|dot| domain.get(dot..)).map(str::to_ascii_lowercase);
        let parents = if permitted { BTreeSet::new() } else { sorted.iter().filter_map(parent).collect() };
        Some(Self { all: domains.iter().any(String::is_empty), sorted, parents })
    }

    fn matches(&self, domain: &str) -> bool {
        if self.all || found(&self.sorted, |own| order(own, domain), |own| is_within(own, domain)) {
            return true;
        }
        let parent = domain.find('.').and_then(|dot| domain.get(dot..)).filter(|_| domain.starts_with('*'));
        parent.is_some_and(|parent| self.parents.contains(&parent.to_ascii_lowercase()))
    }
}

/// From the last label to the first, a dot before everything else.
fn order(a: &str, b: &str) -> Ordering {
    fn key(text: &str) -> impl Iterator<Item = u8> {
        text.bytes().rev().map(|byte| if byte == b'.' { 0 } else { byte.to_ascii_lowercase() })
    }
    key(a).cmp(key(b))
}

/// Whether a domain is the other one or below it; a leading dot of the other leaves only those below.
fn is_within(outer: &str, domain: &str) -> bool {
    let Some(at) = domain.len().checked_sub(outer.len()) else { return false };
    let (before, end) = domain.as_bytes().split_at(at);
    end.eq_ignore_ascii_case(outer.as_bytes())
        && (outer.starts_with('.') || before.last().is_none_or(|last| *last == b'.'))
}

struct Mailboxes {
    exact: HashSet<(Vec<u8>, String)>,
    domains: Option<Domains>,
}

impl Mailboxes {
    fn new(emails: &[String], permitted: bool) -> Option<Self> {
        let (exact, domains): (Vec<String>, Vec<String>) =
            emails.iter().cloned().partition(|constraint| constraint.contains('@'));
        let parsed = exact.iter().filter_map(|text| mailbox(text));
        let exact = parsed.map(|(local, domain)| (local, domain.to_ascii_lowercase())).collect();
        (!emails.is_empty()).then(|| Self { exact, domains: Domains::new(&domains, permitted) })
    }

    fn matches(&self, mailbox: &(Vec<u8>, String)) -> bool {
        self.exact.contains(mailbox)
            || self.domains.as_ref().is_some_and(|domains| domains.matches(&mailbox.1))
    }
}

/// An address and its mask.
type Network = (Vec<u8>, Vec<u8>);

struct Networks {
    four: Vec<Network>,
    six: Vec<Network>,
}

impl Networks {
    fn new(networks: &[Network]) -> Option<Self> {
        let of = |length: usize| {
            let of_length = networks.iter().filter(|(ip, _)| ip.len() == length).cloned().collect();
            pruned(of_length, Ord::cmp, |a, b| holds(a, &b.0) && holds(a, &last_of(b)))
        };
        (!networks.is_empty()).then(|| Self { four: of(4), six: of(16) })
    }

    fn matches(&self, ip: &[u8]) -> bool {
        let networks = if ip.len() == 4 { &self.four } else { &self.six };
        found(networks, |(own, _)| own.as_slice().cmp(ip), |network| holds(network, ip))
    }
}

/// The last address of a network.
fn last_of((ip, mask): &Network) -> Vec<u8> {
    ip.iter().zip(mask).map(|(ip, mask)| ip | !mask).collect()
}

fn holds((network, mask): &Network, ip: &[u8]) -> bool {
    network.len() == ip.len()
        && network.iter().zip(mask).zip(ip).all(|((own, mask), ip)| own & mask == ip & mask)
}
