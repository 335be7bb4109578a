//! Chains made to cost much, or to break a parser: each is answered with its reason, in a time that nobody notices.

use std::time::{Duration, Instant};

use super::*;

/// Far above what any of these takes unoptimised on a busy machine, and far below what an unbounded search would.
const LONGEST: Duration = Duration::from_secs(10);

#[track_caller]
#[expect(clippy::disallowed_methods, reason = "what is measured is how long it really takes")]
fn check_in_time(chain: &[CertificateDer<'_>], trusted: &TrustBundles, expected: &str) {
    let began = Instant::now();
    check(chain, trusted, expected);
    assert!(began.elapsed() < LONGEST, "{:?}", began.elapsed());
}

fn names(count: usize, name: &SanType) -> Vec<SanType> {
    std::iter::repeat_n(name.clone(), count).collect()
}

#[test]
fn thousands_of_names() {
    let ca = Ca::root("root");
    let trusted = bundles([ca.bundle("example.org")]);
    let named = |names: Vec<SanType>| ca.leaf_with(ID, |params| params.subject_alt_names.extend(names)).der;
    let short = SanType::DnsName("a".try_into().unwrap());
    check_in_time(&[named(names(10_000, &short))], &trusted, "tls.chain.too_large");
    // As many as fit.
    check_in_time(&[named(names(5_000, &short))], &trusted, ID);
    check_in_time(&[named(names(5_000, &uri("a")))], &trusted, "tls.svid.uri_san_count");
}

#[test]
fn thousands_of_names_beneath_many_constraints() {
    let constraints = |count: usize| {
        let permitted = (0..count).map(|number| GeneralSubtree::DnsName(format!("{number}.example")));
        let permitted_subtrees = permitted.chain([GeneralSubtree::DnsName("a".to_owned())]).collect();
        NameConstraints { permitted_subtrees, excluded_subtrees: vec![] }
    };
    let ca = Ca::root_with("root", |params| params.name_constraints = Some(constraints(700)));
    let trusted = bundles([ca.bundle("example.org")]);
    let name = SanType::DnsName("a".try_into().unwrap());
    let leaf = |count| ca.leaf_with(ID, |params| params.subject_alt_names.extend(names(count, &name))).der;
    check_in_time(&[leaf(100)], &trusted, ID);
    check_in_time(&[leaf(5_000)], &trusted, "tls.chain.name_constraint");
}

#[test]
fn more_than_a_thousand_extensions() {
    let ca = Ca::root("root");
    let trusted = bundles([ca.bundle("example.org")]);
    let with = |count: u64| {
        let unknown = (0..count).map(|number| extension(&[1, 3, 9, number], &[], false));
        ca.leaf_with(ID, |params| params.custom_extensions.extend(unknown)).der
    };
    check_in_time(&[with(1_400)], &trusted, ID);
    check_in_time(&[with(2_000)], &trusted, "tls.chain.too_large");
}

#[test]
fn a_chain_of_a_hundred_kilobytes() {
    let ca = Ca::root("root");
    let trusted = bundles([ca.bundle("example.org")]);
    let filling = |name: &str| {
        let filler = extension(&[1, 3, 9, 1], &[0; 14 * 1024], false);
        ca.intermediate(name, |params| params.custom_extensions.push(filler)).der
    };
    let fillers: Vec<_> = ["1", "2", "3", "4", "5", "6"].map(filling).to_vec();
    let chain = |count| [&[ca.leaf(ID).der][..], &fillers[..count]].concat();
    check_in_time(&chain(6), &trusted, "tls.chain.too_large");
    check_in_time(&chain(4), &trusted, ID);
}

/// Six intermediates of one name, each signed by the next and none by an authority.
#[test]
fn a_maze_of_intermediates() {
    let trusted = bundles([Ca::root("root").bundle("example.org")]);
    let maze = |name: fn(usize) -> String| {
        let first = Ca::root(&name(0));
        let mut chain = vec![];
        let mut issuer = first;
        for number in 1..=INTERMEDIATES_MAX {
            issuer = issuer.intermediate(&name(number), |_| {});
            chain.push(issuer.der.clone());
        }
        chain.insert(0, issuer.leaf(ID).der);
        chain
    };
    check_in_time(&maze(|_| "root".to_owned()), &trusted, "tls.chain.untrusted");
    check_in_time(&maze(|number| number.to_string()), &trusted, "tls.chain.untrusted");
    let repeated = Ca::root("root").intermediate("root", |_| {});
    let chain = [vec![repeated.leaf(ID).der], vec![repeated.der; INTERMEDIATES_MAX]].concat();
    check_in_time(&chain, &trusted, "tls.chain.untrusted");
}

#[test]
fn intermediates_that_sign_each_other() {
    // All of one name and of two keys: every one may have signed every other.
    let (a, b) = (Ca::root("x"), Ca::root("x"));
    let crossed: Vec<_> =
        (0..3).flat_map(|_| [a.intermediate("x", |_| {}).der, b.again(|_| {}).der]).collect();
    let chain = [vec![a.leaf(ID).der], crossed].concat();
    check_in_time(&chain, &bundles([Ca::root("x").bundle("example.org")]), "tls.chain.untrusted");
}

#[test]
fn as_many_authorities_of_one_name_as_a_bundle_holds() {
    let ca = Ca::root("root");
    let mut authorities: Vec<_> = (0..60).map(|_| Ca::root("root").der).collect();
    authorities.push(ca.der.clone());
    let bundle = TrustBundle::from_der(domain("example.org"), &authorities).unwrap();
    check_in_time(&[ca.leaf(ID).der], &bundles([bundle.clone()]), ID);
    check_in_time(&[Ca::root("root").leaf(ID).der], &bundles([bundle]), "tls.chain.untrusted");
}

#[test]
fn structures_within_structures() {
    let ca = Ca::root("root");
    let trusted = bundles([ca.bundle("example.org")]);
    let deep = |tag: u8| (0..2_000).fold(vec![5, 0], |inner, _| der::wrap(tag, &inner));
    for oid in [
        &[2, 5, 29, 17][..],
        &[2, 5, 29, 19],
        &[2, 5, 29, 15],
        &[2, 5, 29, 30],
        &[2, 5, 29, 31],
        &[2, 5, 29, 37],
    ] {
        for tag in [0x30, 0x31, 0xa0, 0xa4] {
            let nested = extension(oid, &deep(tag), false);
            let leaf = ca.leaf_with(ID, |params| {
                params.subject_alt_names.clear();
                params.key_usages.clear();
                params.extended_key_usages.clear();
                params.is_ca = IsCa::NoCa;
                params.custom_extensions.push(nested);
            });
            let error = verify_chain(&[leaf.der], &trusted, Role::Client, now()).unwrap_err();
            assert!(error.code().starts_with("tls.svid."), "{error}");
        }
    }
    let bare = CertificateDer::from(deep(0x30));
    check_in_time(std::slice::from_ref(&bare), &trusted, "tls.svid.malformed");
    check_in_time(&[ca.leaf(ID).der, bare], &trusted, ID);
}

#[test]
fn a_bent_byte_anywhere_in_an_intermediate_never_changes_who_it_is_or_stops_us() {
    let ca = Ca::root("root");
    let trusted = bundles([ca.bundle("example.org")]);
    let middle = ca.intermediate("middle", |_| {});
    let leaf = middle.leaf(ID).der;
    for place in 0..middle.der.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bent = middle.der.to_vec();
            bent[place] ^= flip;
            let chain = [leaf.clone(), CertificateDer::from(bent)];
            assert!(verify_chain(&chain, &trusted, Role::Client, now()).is_err(), "byte {place}");
        }
    }
}
