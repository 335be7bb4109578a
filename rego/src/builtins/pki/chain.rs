//! Chains of certificates as Go's `Certificate.Verify` builds and judges them, with one root and no system roots.
use super::certificate::{Algorithm, Certificate};
use super::keys::PublicKey;
use super::names;
use super::signature::{self, Hash, Scheme, Signed};
use super::{constraints, policies};
use crate::builtins::{BuiltinError, Context};
use std::collections::HashSet;

/// What a chain is verified against.
#[derive(Debug)]
pub(crate) struct Options {
    /// The host that the leaf must be for; any if it is empty.
    pub(crate) host: String,
    /// In nanoseconds since the Unix epoch.
    pub(crate) now_ns: i128,
    /// The usages, by Go's numbers, of which one must be allowed; none means that of a server.
    pub(crate) usages: Vec<i64>,
}

/// How many signatures are looked at before the search for a chain ends.
const MAX_SIGNATURES: usize = 100;

const ANY_USAGE: i64 = 0;
const SERVER: i64 = 1;
const CERT_SIGN: i64 = 1 << 5;

/// A chain from the last certificate over some between to the first one, which is trusted; `None` if there is none.
pub(crate) fn verify(
    context: &mut Context,
    certificates: &[Certificate],
    options: &Options,
) -> Result<Option<Vec<Certificate>>, BuiltinError> {
    let [root, intermediates @ .., leaf] = certificates else { return Ok(None) };
    context.charge_items(certificates.len())?;
    let mut seen = HashSet::new();
    let intermediates: Vec<&Certificate> = intermediates.iter().filter(|one| seen.insert(&one.raw)).collect();
    if !is_valid(leaf, Place::Leaf, &[], options) || !(options.host.is_empty() || is_for(leaf, &options.host))
    {
        return Ok(None);
    }
    let mut search = Search { root, intermediates, options, signatures: 0 };
    let chains = if leaf.raw == root.raw { vec![vec![leaf]] } else { search.chains(context, &[leaf])?.0 };
    for chain in chains {
        context.charge_items(chain.iter().map(|one| one.extensions.list.len()).sum())?;
        if policies::hold(context, &chain)?
            && usages_allow(&chain, &options.usages)
            && constraints::hold(context, &chain)?
        {
            return Ok(Some(chain.into_iter().cloned().collect()));
        }
    }
    Ok(None)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Leaf,
    Intermediate,
    Root,
}

struct Search<'a> {
    root: &'a Certificate,
    intermediates: Vec<&'a Certificate>,
    options: &'a Options,
    signatures: usize,
}

impl<'a> Search<'a> {
    /// The chains that start so, and whether the search has ended before its time without any. Each step takes one of the
    /// signatures that may be looked at, so that it is never deeper than those.
    fn chains(
        &mut self,
        context: &mut Context,
        chain: &[&'a Certificate],
    ) -> Result<(Vec<Vec<&'a Certificate>>, bool), BuiltinError> {
        let Some(child) = chain.last().copied() else { return Ok((Vec::new(), false)) };
        context.charge_items(self.intermediates.len())?;
        let root = parents(&[self.root], child).into_iter().map(|parent| (parent, Place::Root));
        let between =
            parents(&self.intermediates, child).into_iter().map(|parent| (parent, Place::Intermediate));
        let candidates: Vec<_> = root.chain(between).collect();
        let mut found = Vec::new();
        let mut ended = false;
        for (parent, place) in candidates {
            self.signatures = self.signatures.saturating_add(1);
            if self.signatures > MAX_SIGNATURES {
                ended = true;
                break;
            }
            context.charge_items(chain.len())?;
            if parent.key == PublicKey::Unknown
                || already_in(parent, chain)
                || !signed_by(context, child, parent)?
                || !is_valid(parent, place, chain, self.options)
            {
                continue;
            }
            let mut longer = chain.to_vec();
            longer.push(parent);
            if place == Place::Root {
                found.push(longer);
                continue;
            }
            let (more, over) = self.chains(context, &longer)?;
            ended = over;
            found.extend(more);
            if ended {
                break;
            }
        }
        let without = found.is_empty();
        Ok((found, ended && without))
    }
}

/// Those that may have issued the certificate, the likeliest first.
fn parents<'a>(pool: &[&'a Certificate], child: &Certificate) -> Vec<&'a Certificate> {
    let wanted = child.extensions.authority_key_id.as_deref().unwrap_or_default();
    let rank = |parent: &&Certificate| {
        let has = parent.extensions.subject_key_id.as_deref().unwrap_or_default();
        match has == wanted {
            true => 0,
            false if has.is_empty() || wanted.is_empty() => 1,
            false => 2,
        }
    };
    let mut found: Vec<&Certificate> =
        pool.iter().copied().filter(|parent| parent.raw_subject == child.raw_issuer).collect();
    found.sort_by_key(rank);
    found
}

/// Whether one of the same subject, key and names is in the chain.
fn already_in(candidate: &Certificate, chain: &[&Certificate]) -> bool {
    let names = candidate.extensions.of(17);
    for one in chain {
        if one.raw_subject != candidate.raw_subject || one.raw_key != candidate.raw_key {
            continue;
        }
        match (names, one.extensions.of(17)) {
            (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(names), Some(others)) if names == others => return true,
            _ => {}
        }
    }
    false
}

fn signed_by(context: &mut Context, child: &Certificate, parent: &Certificate) -> Result<bool, BuiltinError> {
    let may_sign = match parent.extensions.basic {
        Some((is_ca, _)) => is_ca,
        None => parent.version != 3,
    };
    let usage = parent.extensions.key_usage;
    if !may_sign || (usage != 0 && usage & CERT_SIGN == 0) {
        return Ok(false);
    }
    let scheme = match child.signature_algorithm {
        Algorithm::SHA256_RSA => Scheme::Pkcs1(Hash::Sha256),
        Algorithm::SHA384_RSA => Scheme::Pkcs1(Hash::Sha384),
        Algorithm::SHA512_RSA => Scheme::Pkcs1(Hash::Sha512),
        Algorithm::SHA256_PSS => Scheme::Pss(Hash::Sha256),
        Algorithm::SHA384_PSS => Scheme::Pss(Hash::Sha384),
        Algorithm::SHA512_PSS => Scheme::Pss(Hash::Sha512),
        Algorithm::ECDSA_SHA256 => Scheme::EcdsaDer(Hash::Sha256),
        Algorithm::ECDSA_SHA384 => Scheme::EcdsaDer(Hash::Sha384),
        Algorithm::ECDSA_SHA512 => Scheme::EcdsaDer(Hash::Sha512),
        Algorithm::ED25519 => Scheme::Ed25519,
        // Among them all with SHA-1 and MD5.
        _ => return Ok(false),
    };
    signature::verify(
        context,
        &parent.key,
        scheme,
        Signed { message: &child.tbs, signature: &child.signature },
    )
}

fn is_valid(one: &Certificate, place: Place, chain: &[&Certificate], options: &Options) -> bool {
    let nanoseconds = |seconds: i64| i128::from(seconds).saturating_mul(1_000_000_000);
    let in_time = options.now_ns >= nanoseconds(one.not_before.seconds)
        && options.now_ns <= nanoseconds(one.not_after.seconds);
    let issued = chain.last().is_none_or(|child| child.raw_issuer == one.raw_subject);
    let is_ca = place != Place::Intermediate || one.extensions.basic.is_some_and(|(is_ca, _)| is_ca);
    let short = match one.extensions.basic {
        Some((_, path)) if path >= 0 => i64::try_from(chain.len()).is_ok_and(|length| length - 1 <= path),
        _ => true,
    };
    one.extensions.unhandled.is_empty() && in_time && issued && is_ca && short
}

/// Whether every certificate of the chain allows one and the same of the usages.
fn usages_allow(chain: &[&Certificate], usages: &[i64]) -> bool {
    let usages = if usages.is_empty() { &[SERVER] } else { usages };
    let mut left: Vec<i64> = usages.to_vec();
    if left.contains(&ANY_USAGE) {
        return true;
    }
    for one in chain {
        let has = &one.extensions.usages;
        if (has.is_empty() && one.extensions.unknown_usages.is_empty()) || has.contains(&ANY_USAGE) {
            continue;
        }
        left.retain(|usage| has.contains(usage));
    }
    !left.is_empty()
}

/// Whether the certificate is for this host: an address, or a domain whose first label may be a wildcard.
fn is_for(leaf: &Certificate, host: &str) -> bool {
    let bracketed =
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).filter(|inside| !inside.is_empty());
    if let Some(ip) = names::ip(bracketed.unwrap_or(host)) {
        let ip = ip.to_canonical();
        let ips = leaf.extensions.names.ips.iter().filter_map(|bytes| names::ip_of_bytes(bytes));
        return ips.into_iter().any(|own| own.to_canonical() == ip);
    }
    let host = host.to_ascii_lowercase();
    let without_dot = host.strip_suffix('.').unwrap_or(&host);
    let host_is_valid = is_host(without_dot, false);
    leaf.extensions.names.dns.iter().any(|pattern| {
        let pattern = pattern.to_ascii_lowercase();
        if !host_is_valid || !is_host(&pattern, true) {
            return !matches!(host.as_str(), "" | ".") && pattern == host;
        }
        let (mut labels, mut patterns) = (without_dot.split('.'), pattern.split('.'));
        let first = match (labels.next(), patterns.next()) {
            (Some(label), Some(pattern)) => pattern == "*" || pattern == label,
            _ => false,
        };
        first && labels.eq(patterns)
    })
}

fn is_host(host: &str, pattern: bool) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    host != "*"
        && host
            .split('.')
            .enumerate()
            .all(|(index, part)| label(part) || (pattern && index == 0 && part == "*"))
}
