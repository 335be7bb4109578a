use rcgen::{
    CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope,
    KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;

use super::*;
use crate::testing::{Ca, NOW_S, at, bundles, domain, list_window, now};
use crate::{Role, TrustBundle, verify_chain};

const ID: &str = "spiffe://example.org/orders";
const REVOKED: &str = "tls.chain.revoked";
const UNKNOWN: &str = "tls.chain.revocation_unknown";

/// One chain against one bundle with lists: what becomes of it where a certificate has to be called good, and where it
/// need not.
#[track_caller]
fn check(
    chain: &[CertificateDer<'_>],
    bundle: &TrustBundle,
    lists: &[RevocationList],
    (hard, soft): (&str, &str),
) {
    for (mode, expected) in
        [(RevocationMode::Hard, hard), (RevocationMode::Soft, soft), (RevocationMode::Off, ID)]
    {
        let bundle = bundle.clone().with_revocation(lists.to_vec(), mode).unwrap();
        match verify_chain(chain, &bundles([bundle]), Role::Client, now()) {
            Ok(peer) => assert_eq!(peer.spiffe_id.as_str(), expected, "{mode:?}"),
            Err(error) => assert_eq!(error.code(), expected, "{mode:?}: {error}"),
        }
    }
}

fn read(der: &[u8]) -> RevocationList {
    RevocationList::from_der(der).unwrap()
}

#[test]
fn a_certificate_is_good_revoked_or_unknown() {
    let ca = Ca::root("root");
    let bundle = ca.bundle("example.org");
    let (leaf, other) = (ca.leaf(ID).der, ca.leaf(ID).der);
    let chain = std::slice::from_ref(&leaf);
    check(chain, &bundle, &[], (UNKNOWN, ID));
    check(chain, &bundle, &[ca.crl(&[])], (ID, ID));
    check(chain, &bundle, &[ca.crl(&[&other])], (ID, ID));
    check(chain, &bundle, &[ca.crl(&[&other, &leaf])], (REVOKED, REVOKED));
}

#[test]
fn a_list_is_good_until_the_next_and_revokes_for_ever() {
    let ca = Ca::root("root");
    let bundle = ca.bundle("example.org");
    let leaf = ca.leaf(ID).der;
    let chain = std::slice::from_ref(&leaf);
    let until = |revoked: &[&CertificateDer<'_>], seconds| {
        read(&ca.crl_with(revoked, |params| list_window(params, -3600, seconds)))
    };
    check(chain, &bundle, &[until(&[], 1)], (ID, ID));
    check(chain, &bundle, &[until(&[], 0)], (UNKNOWN, ID));
    check(chain, &bundle, &[until(&[], -1)], (UNKNOWN, ID));
    check(chain, &bundle, &[until(&[&leaf], -1)], (REVOKED, REVOKED));
    check(chain, &bundle, &[until(&[], -1), until(&[], 1)], (ID, ID));
    check(chain, &bundle, &[until(&[&leaf], -1), until(&[], 1)], (REVOKED, REVOKED));
    let bundle = bundle.with_revocation(vec![until(&[], -7)], RevocationMode::Hard).unwrap();
    let error = verify_chain(chain, &bundles([bundle]), Role::Client, now()).unwrap_err();
    assert!(error.to_string().ends_with(&format!("the newest one expired at {}", NOW_S - 7)), "{error}");
}

#[test]
fn a_list_is_of_whoever_signed_it_wherever_it_lies() {
    let ca = Ca::root("root");
    let leaf = ca.leaf(ID).der;
    let chain = std::slice::from_ref(&leaf);
    // Another authority of the same name says that the certificate is revoked, or that nothing is.
    let namesake = Ca::root("root");
    check(chain, &ca.bundle("example.org"), &[namesake.crl(&[&leaf])], (UNKNOWN, ID));
    let (own, foreign) = (ca.crl(&[]), namesake.crl(&[&leaf]));
    check(chain, &ca.bundle("example.org"), &[foreign.clone(), own.clone()], (ID, ID));
    let (own_revokes, foreign_not) = (ca.crl(&[&leaf]), namesake.crl(&[]));
    check(chain, &ca.bundle("example.org"), &[foreign_not, own_revokes], (REVOKED, REVOKED));
    // Both are authorities of the trust domain: each speaks for its own certificates.
    let both = TrustBundle::from_der(domain("example.org"), &[namesake.der.clone(), ca.der.clone()]).unwrap();
    check(chain, &both, &[foreign.clone(), own], (ID, ID));
    check(chain, &both, std::slice::from_ref(&foreign), (UNKNOWN, ID));
    assert!(both.has_issued(&foreign) && !ca.bundle("example.org").has_issued(&foreign));
    let mut bent = ca.crl_with(&[], |_| {}).to_vec();
    *bent.last_mut().unwrap() ^= 1;
    check(chain, &both, &[read(&bent)], (UNKNOWN, ID));
}

#[test]
fn a_renewed_authority_with_the_same_key_has_the_same_lists() {
    let old = Ca::root("root");
    let new = old.again(|_| {});
    let leaf = old.leaf(ID).der;
    let both = TrustBundle::from_der(domain("example.org"), &[old.der.clone(), new.der.clone()]).unwrap();
    let chain = std::slice::from_ref(&leaf);
    check(chain, &both, &[new.crl(&[])], (ID, ID));
    check(chain, &both, &[new.crl(&[&leaf])], (REVOKED, REVOKED));
}

#[test]
fn every_certificate_of_the_path_is_looked_up() {
    let root = Ca::root("root");
    let bundle = root.bundle("example.org");
    let middle = root.intermediate("middle", |_| {});
    let leaf = middle.leaf(ID).der;
    let chain = [leaf.clone(), middle.der.clone()];
    check(&chain, &bundle, &[root.crl(&[])], (UNKNOWN, ID));
    check(&chain, &bundle, &[middle.crl(&[])], (UNKNOWN, ID));
    check(&chain, &bundle, &[middle.crl(&[]), root.crl(&[])], (ID, ID));
    check(&chain, &bundle, &[middle.crl(&[]), root.crl(&[&middle.der])], (REVOKED, REVOKED));
    check(&chain, &bundle, &[middle.crl(&[&leaf]), root.crl(&[])], (REVOKED, REVOKED));
    // A serial number of the wrong issuer's list says nothing.
    check(&chain, &bundle, &[middle.crl(&[&middle.der]), root.crl(&[&leaf])], (ID, ID));
}

#[test]
fn who_signs_lists_may_sign_lists() {
    let certificates_only = |params: &mut rcgen::CertificateParams| {
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    };
    let root = Ca::root("root");
    let unable = root.again(certificates_only);
    let leaf = root.leaf(ID).der;
    check(std::slice::from_ref(&leaf), &unable.bundle("example.org"), &[unable.crl(&[])], (UNKNOWN, ID));
    let unsaid = root.again(|params| params.key_usages.clear());
    check(std::slice::from_ref(&leaf), &unsaid.bundle("example.org"), &[unsaid.crl(&[])], (ID, ID));
}

#[test]
fn a_list_is_about_what_it_says() {
    let root = Ca::root("root");
    let bundle = root.bundle("example.org");
    let middle = root.intermediate("middle", |_| {});
    let point = |scope| {
        move |params: &mut CertificateRevocationListParams| {
            params.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint {
                    uris: vec!["https://ca.example/1.crl".to_owned()],
                },
                scope,
            });
        }
    };
    let of_root = |scope| read(&root.crl_with(&[], point(scope)));
    let leaf = root.leaf(ID).der;
    check(std::slice::from_ref(&leaf), &bundle, &[of_root(Some(CrlScope::UserCertsOnly))], (ID, ID));
    check(std::slice::from_ref(&leaf), &bundle, &[of_root(Some(CrlScope::CaCertsOnly))], (UNKNOWN, ID));
    check(std::slice::from_ref(&leaf), &bundle, &[of_root(None)], (ID, ID));
    let below = [middle.leaf(ID).der, middle.der.clone()];
    let of_middle = middle.crl(&[]);
    check(&below, &bundle, &[of_middle.clone(), of_root(Some(CrlScope::UserCertsOnly))], (UNKNOWN, ID));
    check(&below, &bundle, &[of_middle, of_root(Some(CrlScope::CaCertsOnly))], (ID, ID));

    let pointing = |uri: &str| {
        let points = vec![CrlDistributionPoint { uris: vec![uri.to_owned()] }];
        root.leaf_with(ID, |params| params.crl_distribution_points = points).der
    };
    check(&[pointing("https://ca.example/1.crl")], &bundle, &[of_root(None)], (ID, ID));
    check(&[pointing("https://ca.example/2.crl")], &bundle, &[of_root(None)], (UNKNOWN, ID));
    check(&[pointing("https://ca.example/2.crl")], &bundle, &[root.crl(&[])], (ID, ID));
}

#[test]
fn lists_that_all_bear_one_name_do_not_make_a_chain_costly() {
    let root = Ca::root("root");
    let middle = root.intermediate("middle", |_| {});
    let foreign = Ca::root("middle");
    let decoys = |count: usize| -> Vec<_> {
        let mut lists: Vec<_> = (0..count)
            .map(|number| read(&foreign.crl_with(&[], |params| params.crl_number = (number as u64).into())))
            .collect();
        lists.extend([middle.crl(&[]), root.crl(&[])]);
        lists
    };
    let chain = [middle.leaf(ID).der, middle.der.clone()];
    check(&chain, &root.bundle("example.org"), &decoys(SIGNATURES_MAX - 1), (ID, ID));
    check(&chain, &root.bundle("example.org"), &decoys(SIGNATURES_MAX), (UNKNOWN, UNKNOWN));
}

#[test]
fn files_hold_lists_in_der_or_pem() {
    let ca = Ca::root("root");
    let (one, two) = (ca.crl_with(&[], |_| {}), ca.crl_with(&[&ca.der], |_| {}));
    let pem = |der: &[u8]| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n")
    };
    assert_eq!(RevocationList::from_file(&one).unwrap(), [read(&one)]);
    let both = format!("# lists\n{}{}", pem(&one), pem(&two));
    assert_eq!(RevocationList::from_file(both.as_bytes()).unwrap(), [read(&one), read(&two)]);
    assert_ne!(read(&one), read(&two));
    for (content, message) in [
        (&b""[..], "neither a revocation list in DER nor PEM"),
        (b"hello", "neither a revocation list in DER nor PEM"),
        (&ca.der, "cannot be read"),
        (&one[..one.len() - 1], "cannot be read"),
        (&[one.as_ref(), &[0]].concat(), "cannot be read"),
        (&vec![0x30; REVOCATION_LIST_BYTES_MAX + 1], "too large"),
        (format!("{}{}", pem(&one), pem(&[1, 2])).as_bytes(), "cannot be read"),
    ] {
        let error = RevocationList::from_file(content).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    let many = vec![read(&one); REVOCATION_LISTS_MAX + 1];
    let bundle = ca.bundle("example.org");
    assert!(bundle.clone().with_revocation(many, RevocationMode::Hard).is_err());
    let lists = vec![read(&one), read(&one), read(&two)];
    let bundle = bundle.with_revocation(lists, RevocationMode::Soft).unwrap();
    assert_eq!((bundle.revocation_lists().count(), bundle.revocation_mode()), (2, RevocationMode::Soft));
    assert_eq!(read(&one).next_update(), at(NOW_S + 60));
    assert_eq!(bundle.revocation_until(), None);
    let longer = ca.crl_with(&[], |params| list_window(params, -60, 90));
    let bundle = bundle.with_revocation(vec![read(&longer), read(&one)], RevocationMode::Hard).unwrap();
    assert_eq!(bundle.revocation_until(), Some(at(NOW_S + 90)));
}

#[test]
fn a_bundle_with_other_lists_is_another_bundle() {
    let ca = Ca::root("root");
    let bundle = ca.bundle("example.org");
    let with = |lists, mode| bundle.clone().with_revocation(lists, mode).unwrap();
    let list = ca.crl(&[]);
    assert_ne!(bundle, with(vec![list.clone()], RevocationMode::Hard));
    assert_eq!(
        with(vec![list.clone()], RevocationMode::Hard),
        with(vec![list.clone()], RevocationMode::Hard)
    );
    assert_ne!(
        with(vec![list.clone()], RevocationMode::Soft),
        with(vec![list.clone()], RevocationMode::Hard)
    );
    assert_ne!(
        with(vec![ca.crl(&[&ca.der])], RevocationMode::Hard),
        with(vec![list.clone()], RevocationMode::Hard)
    );
    assert_eq!(with(vec![list], RevocationMode::Off), bundle);
}

#[test]
fn no_bent_list_makes_anybody_good_or_stops_us() {
    let ca = Ca::root("root");
    let leaf = ca.leaf(ID).der;
    let list = ca.crl_with(&[&leaf], |params| {
        params.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint { uris: vec!["https://ca.example/1.crl".to_owned()] },
            scope: Some(CrlScope::UserCertsOnly),
        });
    });
    for place in 0..list.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bent = list.to_vec();
            bent[place] ^= flip;
            let Ok(read) = RevocationList::from_der(&bent) else { continue };
            let bundle = ca.bundle("example.org").with_revocation(vec![read], RevocationMode::Hard).unwrap();
            let verdict = verify_chain(std::slice::from_ref(&leaf), &bundles([bundle]), Role::Client, now());
            assert!(verdict.is_err(), "byte {place} may be flipped by {flip}");
        }
        assert!(RevocationList::from_der(&list[..place]).is_err(), "cut at {place}");
    }
}

/// Until when, in seconds from now, a chain of two certificates is known not to be revoked, by lists of these lives for
/// the leaf and for the intermediate.
#[track_caller]
fn known_until(mode: RevocationMode, (leaf_s, middle_s): (&[i64], &[i64]), expected: Option<u64>) {
    let root = Ca::root("root");
    let middle = root.intermediate("middle", |_| {});
    let chain = [middle.leaf(ID).der, middle.der.clone()];
    let lists = |ca: &Ca, lives: &[i64]| -> Vec<_> {
        lives.iter().map(|s| read(&ca.crl_with(&[], |params| list_window(params, -3600, *s)))).collect()
    };
    let lists = [lists(&middle, leaf_s), lists(&root, middle_s)].concat();
    let bundle = root.bundle("example.org").with_revocation(lists, mode).unwrap();
    let peer = verify_chain(&chain, &bundles([bundle]), Role::Client, now()).unwrap();
    let until = peer.unrevoked_until.map(|until| until.as_secs() - NOW_S);
    assert_eq!(until, expected, "{mode:?} {leaf_s:?} {middle_s:?}");
    if let Some(until) = peer.unrevoked_until {
        let before = until.as_secs() - 1;
        assert!(peer.is_valid_at(at(before)) && !peer.is_valid_at(until));
    }
}

#[test]
fn a_chain_is_known_not_to_be_revoked_until_the_first_list_that_it_needs_expires() {
    use RevocationMode::{Hard, Off, Soft};
    known_until(Hard, (&[50], &[40]), Some(40));
    known_until(Hard, (&[40], &[50]), Some(40));
    // Of several lists of one issuer the one counts that lives longest.
    known_until(Hard, (&[40, 55, -1], &[50]), Some(50));
    known_until(Soft, (&[40], &[50]), None);
    known_until(Off, (&[40], &[50]), None);
}
