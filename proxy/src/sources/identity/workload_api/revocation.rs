//! The revocation lists of the Workload API: one collection for all trust domains, and no word about whose each is
//! (Workload_API §5.1).

use postern_identity::{RevocationList, TrustBundle, TrustBundles, TrustDomain};

use crate::config::RevocationRule;

/// Puts each list beside the authorities that it is from; our own trust domain gets all, since those of intermediates
/// show their issuer only with a chain. A list that cannot be read is left out, and what it would have called good is
/// unknown, which the rule refuses. Returns what was left out.
pub(super) fn attach(
    trust: &mut TrustBundles,
    own: &[TrustDomain],
    lists: &[Vec<u8>],
    rule: RevocationRule,
) -> Vec<String> {
    let mut refused = Vec::new();
    let mut read = Vec::new();
    for (index, der) in lists.iter().enumerate() {
        match RevocationList::from_der(der) {
            Ok(list) => read.push(list),
            Err(error) => refused.push(format!("revocation list {} is left out: {error}", index + 1)),
        }
    }
    let bundles: Vec<TrustBundle> = trust.iter().cloned().collect();
    for bundle in bundles {
        let is_own = own.contains(bundle.trust_domain());
        let of_this: Vec<_> = read.iter().filter(|list| is_own || bundle.has_issued(list)).cloned().collect();
        let has_lists = if is_own { !lists.is_empty() } else { !of_this.is_empty() };
        let mode = rule.mode(has_lists);
        let name = bundle.trust_domain().clone();
        match bundle.clone().with_revocation(of_this, mode) {
            Ok(bundle) => drop(trust.insert(bundle)),
            Err(error) => {
                refused.push(format!("the revocation lists of `{name}` are left out: {error}"));
                // None of them is looked at, so nobody is known to be good.
                drop(trust.insert(bundle.without_revocation_lists(mode)));
            }
        }
    }
    refused
}
