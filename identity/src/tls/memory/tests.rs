use super::*;
use crate::bundle::TrustBundle;
use crate::testing::{Ca, NOW_S, at, bundles, list_window, now, window};
use crate::{RevocationList, RevocationMode};

const ID: &str = "spiffe://example.org/web";

fn trusting(bundle: TrustBundle) -> Arc<TrustBundles> {
    Arc::new(bundles([bundle]))
}

/// What is said of a chain, and whether it was remembered.
fn ask(
    memory: &Memory,
    chain: &[CertificateDer<'_>],
    trust: &Arc<TrustBundles>,
    now: UnixTime,
) -> (Result<(), &'static str>, bool) {
    let kept = memory.known().get(&fingerprint(chain)).map(|found| found.peer);
    let said = memory.verify(chain, trust, now);
    let is_remembered = matches!((&kept, &said), (Some(kept), Ok(said)) if Arc::ptr_eq(kept, said));
    (said.map(drop).map_err(|error| error.code()), is_remembered)
}

/// A chain that was found good under `before` and is presented again under `after`, at this many seconds from then.
#[track_caller]
fn check(
    (chain, before): (&[CertificateDer<'_>], &Arc<TrustBundles>),
    (again, after, seconds): (&[CertificateDer<'_>], &Arc<TrustBundles>, u64),
    expected: (Result<(), &'static str>, bool),
) {
    let memory = Memory::of(Role::Client);
    assert_eq!(ask(&memory, chain, before, now()), (Ok(()), false));
    assert_eq!(ask(&memory, again, after, at(NOW_S + seconds)), expected);
    let anew = verify_chain(again, after, Role::Client, at(NOW_S + seconds));
    assert_eq!(anew.map(drop).map_err(|error| error.code()), expected.0, "as without a memory");
}

#[test]
fn a_chain_is_remembered_while_its_path_is_valid_and_the_bundles_are_the_same() {
    let ca = Ca::root_with("root", |params| window(params, -3600, 3600));
    let (chain, trust) =
        (&[ca.leaf_with(ID, |params| window(params, -5, 20)).der][..], &trusting(ca.bundle("example.org")));
    check((chain, trust), (chain, trust, 0), (Ok(()), true));
    check((chain, trust), (chain, trust, 20), (Ok(()), true));
    check((chain, trust), (chain, trust, 21), (Err("tls.chain.expired"), false));
    let equal = &trusting(ca.bundle("example.org"));
    check((chain, trust), (chain, equal, 0), (Ok(()), false));
    let none = &Arc::new(TrustBundles::default());
    check((chain, trust), (chain, none, 0), (Err("tls.trust_domain.unknown"), false));
    let next = &trusting(Ca::root("next").bundle("example.org"));
    check((chain, trust), (chain, next, 0), (Err("tls.chain.untrusted"), false));
}

#[test]
fn what_expires_above_the_leaf_ends_the_memory_too() {
    let root = Ca::root("root");
    let middle = root.intermediate("middle", |params| window(params, -10, 10));
    let chain = &[middle.leaf(ID).der, middle.der.clone()][..];
    let trust = &trusting(root.bundle("example.org"));
    check((chain, trust), (chain, trust, 10), (Ok(()), true));
    check((chain, trust), (chain, trust, 11), (Err("tls.chain.expired"), false));
    let short = Ca::root_with("short", |params| window(params, -10, 10));
    let (chain, trust) = (&[short.leaf(ID).der][..], &trusting(short.bundle("example.org")));
    check((chain, trust), (chain, trust, 11), (Err("tls.chain.expired"), false));
}

#[test]
fn the_whole_chain_is_what_is_remembered() {
    let root = Ca::root("root");
    let middle = root.intermediate("middle", |_| {});
    let (leaf, trust) = (middle.leaf(ID).der, &trusting(root.bundle("example.org")));
    let chain = &[leaf.clone(), middle.der.clone()][..];
    check((chain, trust), (std::slice::from_ref(&leaf), trust, 0), (Err("tls.chain.untrusted"), false));
    let other = middle.leaf(ID).der;
    check((chain, trust), (&[other, middle.der.clone()], trust, 0), (Ok(()), false));
    let mut changed = leaf.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let forged = &[CertificateDer::from(changed), middle.der.clone()][..];
    check((chain, trust), (forged, trust, 0), (Err("tls.chain.untrusted"), false));
    // The same bytes, cut elsewhere.
    let joined = &[CertificateDer::from([leaf.as_ref(), middle.der.as_ref()].concat())][..];
    check((chain, trust), (joined, trust, 0), (Err("tls.svid.malformed"), false));
}

#[test]
fn a_new_revocation_list_is_looked_at_and_an_old_one_no_longer_vouches() {
    let ca = Ca::root("root");
    let leaf = ca.leaf(ID).der;
    let list = |revoked: &[&CertificateDer<'_>], until: i64| {
        let der = ca.crl_with(revoked, |params| list_window(params, -3600, until));
        RevocationList::from_der(&der).unwrap()
    };
    let with = |lists: &[RevocationList]| {
        trusting(ca.bundle("example.org").with_revocation(lists.to_vec(), RevocationMode::Hard).unwrap())
    };
    let (chain, trust) = (std::slice::from_ref(&leaf), &with(&[list(&[], -10), list(&[], 10)]));
    check((chain, trust), (chain, trust, 9), (Ok(()), true));
    check((chain, trust), (chain, trust, 10), (Err("tls.chain.revocation_unknown"), false));
    let revoked = &with(&[list(&[&leaf], 20)]);
    check((chain, trust), (chain, revoked, 0), (Err("tls.chain.revoked"), false));
}

#[test]
fn a_refusal_is_not_remembered() {
    let (ca, memory) = (Ca::root("root"), Memory::of(Role::Client));
    let chain = &[ca.leaf(ID).der][..];
    let none = Arc::new(TrustBundles::default());
    assert_eq!(ask(&memory, chain, &none, now()), (Err("tls.trust_domain.unknown"), false));
    let known = memory.known();
    assert!(known.younger.is_empty() && known.older.is_empty());
}

#[test]
fn so_many_chains_are_remembered_and_of_those_the_ones_that_come_back() {
    let (ca, memory) = (Ca::root("root"), Memory::of(Role::Client));
    let (leaf, trust) = (ca.leaf(ID).der, trusting(ca.bundle("example.org")));
    let regular = &[leaf.clone()][..];
    assert_eq!(ask(&memory, regular, &trust, now()), (Ok(()), false));
    // A caller may add to its chain what nobody needs: each is another one.
    for number in 0..CHAINS_MAX * 2 {
        let chain = [leaf.clone(), CertificateDer::from(number.to_be_bytes().to_vec())];
        let found = memory.known().get(&fingerprint(regular)).unwrap();
        memory.known().insert(fingerprint(&chain), found);
        let known = memory.known();
        assert!(known.younger.len() + known.older.len() <= CHAINS_MAX);
    }
    assert_eq!(ask(&memory, regular, &trust, now()), (Ok(()), true));
    let first = [leaf.clone(), CertificateDer::from(0_usize.to_be_bytes().to_vec())];
    assert!(memory.known().get(&fingerprint(&first)).is_none());
}

#[test]
fn a_large_chain_is_not_remembered() {
    let (ca, memory) = (Ca::root("root"), Memory::of(Role::Client));
    let (leaf, trust) = (ca.leaf(ID).der, trusting(ca.bundle("example.org")));
    let other = Ca::root_with("other", |params| {
        params.subject_alt_names =
            (0..BYTES_MAX / 20).map(|n| crate::testing::uri(&format!("https://a.test/{n}"))).collect();
    });
    let chain = &[leaf, other.der][..];
    assert_eq!(ask(&memory, chain, &trust, now()), (Ok(()), false));
    assert_eq!(ask(&memory, chain, &trust, now()), (Ok(()), false));
}
