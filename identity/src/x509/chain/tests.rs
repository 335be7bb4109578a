use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, DistinguishedName,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, RsaKeySize,
    SanType,
};

use super::*;
use crate::id::IdError;
use crate::testing::{Ca, NOW_S, at, bundles, domain, extension, now, uri, window};
use crate::x509::der;

const ID: &str = "spiffe://example.org/orders";

/// One chain, one verdict: the code of the refusal, or the SPIFFE ID.
#[track_caller]
fn check(chain: &[CertificateDer<'_>], trusted: &TrustBundles, expected: &str) {
    check_as(chain, trusted, Role::Client, now(), expected);
}

#[track_caller]
fn check_as(chain: &[CertificateDer<'_>], trusted: &TrustBundles, role: Role, now: UnixTime, expected: &str) {
    match verify_chain(chain, trusted, role, now) {
        Ok(peer) => assert_eq!(peer.spiffe_id.as_str(), expected),
        Err(error) => assert_eq!(error.code(), expected, "{error}"),
    }
}

/// A leaf that is right but for one change.
#[track_caller]
fn check_leaf(bend: impl FnOnce(&mut CertificateParams), expected: &str) {
    let ca = Ca::root("root");
    let leaf = ca.leaf_with(ID, bend);
    check(&[leaf.der], &bundles([ca.bundle("example.org")]), expected);
}

#[test]
fn a_right_leaf_is_its_spiffe_id() {
    let ca = Ca::root("root");
    let leaf = ca.leaf_with(ID, |params| {
        params.subject_alt_names.push(SanType::DnsName("orders.internal".try_into().unwrap()));
        params.serial_number = Some(vec![0x0a, 0xff].into());
    });
    let peer = verify_chain(
        std::slice::from_ref(&leaf.der),
        &bundles([ca.bundle("example.org")]),
        Role::Client,
        now(),
    )
    .unwrap();
    assert_eq!(peer.spiffe_id.as_str(), ID);
    assert_eq!(peer.not_before, at(NOW_S - 60));
    assert_eq!(peer.not_after, at(NOW_S + 60));
    assert_eq!(peer.serial, "0aff");
    assert_eq!(peer.dns_names, ["orders.internal"]);
    assert_eq!(peer.fingerprint_sha256.as_slice(), digest(&SHA256, &leaf.der).as_ref());
    assert!(peer.is_valid_at(at(NOW_S + 60)) && !peer.is_valid_at(at(NOW_S + 61)));
}

#[test]
fn a_leaf_has_exactly_one_uri_name() {
    check_leaf(|params| params.subject_alt_names.clear(), "tls.svid.uri_san_count");
    check_leaf(
        |params| params.subject_alt_names = vec![SanType::DnsName("example.org".try_into().unwrap())],
        "tls.svid.uri_san_count",
    );
    check_leaf(
        |params| params.subject_alt_names.push(uri("spiffe://example.org/x")),
        "tls.svid.uri_san_count",
    );
    check_leaf(
        |params| params.subject_alt_names.push(uri("https://example.org/x")),
        "tls.svid.uri_san_count",
    );
    check_leaf(
        |params| params.subject_alt_names.push(SanType::Rfc822Name("a@b.example".try_into().unwrap())),
        ID,
    );
}

#[test]
fn the_uri_name_is_a_spiffe_id_with_a_path() {
    for text in [
        "https://example.org/orders",
        "SPIFFE://example.org/orders",
        "spiffe://Example.org/orders",
        "spiffe://example.org:443/orders",
        "spiffe://u@example.org/orders",
        "spiffe://example.org/a%2fb",
        "spiffe://example.org/a//b",
        "spiffe://example.org/a/../b",
        "spiffe://example.org/orders?q",
        "spiffe://example.org/orders#f",
        "spiffe://example.org/orders/",
        "spiffe://example.org/a\0",
    ] {
        check_leaf(|params| params.subject_alt_names = vec![uri(text)], "tls.svid.spiffe_id");
    }
    check_leaf(
        |params| params.subject_alt_names = vec![uri("spiffe://example.org")],
        "tls.svid.path_missing",
    );
    let longest = format!("spiffe://example.org/{}", "x".repeat(2048 - "spiffe://example.org/".len()));
    check_leaf(|params| params.subject_alt_names = vec![uri(&longest)], &longest);
    check_leaf(|params| params.subject_alt_names = vec![uri(&format!("{longest}x"))], "tls.svid.spiffe_id");
}

#[test]
fn the_refusal_of_an_id_quotes_it_and_says_why() {
    let ca = Ca::root("root");
    let leaf = ca.leaf("spiffe://example.org/a b");
    let error =
        verify_chain(&[leaf.der], &bundles([ca.bundle("example.org")]), Role::Client, now()).unwrap_err();
    assert_eq!(
        error,
        VerifyError::SpiffeId {
            text: "spiffe://example.org/a b".to_owned(),
            cause: IdError::PathCharacter(' ')
        }
    );
}

#[test]
fn a_leaf_is_not_a_ca() {
    check_leaf(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), "tls.svid.ca");
    check_leaf(|params| params.is_ca = IsCa::NoCa, ID);
}

#[test]
fn a_leaf_may_sign_handshakes_and_nothing_else() {
    for (usages, expected) in [
        (vec![], "tls.svid.key_usage"),
        (vec![KeyUsagePurpose::KeyEncipherment], "tls.svid.key_usage"),
        (vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign], "tls.svid.key_usage"),
        (vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign], "tls.svid.key_usage"),
        (vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment], ID),
    ] {
        check_leaf(|params| params.key_usages = usages, expected);
    }
}

#[test]
fn an_extended_key_usage_covers_the_role() {
    let ca = Ca::root("root");
    let trusted = bundles([ca.bundle("example.org")]);
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    let server = ExtendedKeyUsagePurpose::ServerAuth;
    let refused = "tls.svid.extended_key_usage";
    for (usages, as_client, as_server) in [
        (vec![], ID, ID),
        (vec![client.clone(), server.clone()], ID, ID),
        (vec![client], ID, refused),
        (vec![server], refused, ID),
        (vec![ExtendedKeyUsagePurpose::CodeSigning], refused, refused),
    ] {
        let leaf = ca.leaf_with(ID, |params| params.extended_key_usages = usages);
        check_as(std::slice::from_ref(&leaf.der), &trusted, Role::Client, now(), as_client);
        check_as(&[leaf.der], &trusted, Role::Server, now(), as_server);
    }
}

#[test]
fn without_a_subject_the_names_are_critical() {
    let san = |id: &str, critical| {
        let mut content =
            vec![0x30, u8::try_from(id.len() + 2).unwrap(), 0x86, u8::try_from(id.len()).unwrap()];
        content.extend(id.as_bytes());
        extension(&[2, 5, 29, 17], &content, critical)
    };
    for (critical, expected) in [(false, "tls.svid.san_not_critical"), (true, ID)] {
        check_leaf(
            |params| {
                params.distinguished_name = DistinguishedName::new();
                params.subject_alt_names.clear();
                params.custom_extensions.push(san(ID, critical));
            },
            expected,
        );
    }
}

#[test]
fn extensions_are_readable_and_occur_once() {
    let twice = extension(&[2, 5, 29, 15], &[3, 2, 7, 0x80], true);
    check_leaf(|params| params.custom_extensions.push(twice), "tls.svid.malformed");
    let broken = extension(&[2, 5, 29, 15], &[0xff, 0xff], true);
    check_leaf(
        |params| {
            params.key_usages.clear();
            params.custom_extensions.push(broken);
        },
        "tls.svid.malformed",
    );
    let unknown = |critical| extension(&[1, 3, 6, 1, 4, 1, 55555, 1], &[5, 0], critical);
    check_leaf(|params| params.custom_extensions.push(unknown(true)), "tls.chain.malformed");
    check_leaf(|params| params.custom_extensions.push(unknown(false)), ID);
}

#[test]
fn a_leaf_has_a_strong_key_of_a_known_kind() {
    let ca = Ca::root("root");
    let trusted = bundles([ca.bundle("example.org")]);
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
    ] {
        let leaf = ca.leaf_of(KeyPair::generate_for(algorithm).unwrap(), ID, |_| {});
        check(&[leaf.der], &trusted, ID);
    }
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    check(&[ca.leaf_of(rsa, ID, |_| {}).der], &trusted, ID);
}

#[test]
fn a_trust_domain_speaks_only_for_itself() {
    let own = Ca::root("own");
    let other = Ca::root("other");
    let trusted = bundles([own.bundle("example.org"), other.bundle("other.org")]);
    check(&[own.leaf(ID).der], &trusted, ID);
    check(&[other.leaf("spiffe://other.org/a").der], &trusted, "spiffe://other.org/a");
    check(&[other.leaf(ID).der], &trusted, "tls.chain.untrusted");
    check(&[own.leaf("spiffe://third.org/a").der], &trusted, "tls.trust_domain.unknown");
    check(&[own.leaf(ID).der], &TrustBundles::default(), "tls.trust_domain.unknown");
    let empty = bundles([TrustBundle::from_der(domain("example.org"), &[]).unwrap()]);
    check(&[own.leaf(ID).der], &empty, "tls.chain.untrusted");
    check(&[Ca::root("own").leaf(ID).der], &trusted, "tls.chain.untrusted");
}

#[test]
fn every_certificate_of_the_path_is_valid_now() {
    let ca = Ca::root("root");
    let trusted = bundles([ca.bundle("example.org")]);
    let expired = ca.leaf_with(ID, |params| window(params, -60, -1));
    check(&[expired.der], &trusted, "tls.chain.expired");
    let early = ca.leaf_with(ID, |params| window(params, 1, 60));
    check(&[early.der], &trusted, "tls.chain.not_yet_valid");
    let last_second = ca.leaf_with(ID, |params| window(params, 0, 0));
    check(&[last_second.der], &trusted, ID);

    for (begin, end, expected) in
        [(-60, -1, "tls.chain.expired"), (1, 60, "tls.chain.not_yet_valid"), (-60, 60, ID)]
    {
        let middle = ca.intermediate("middle", |params| window(params, begin, end));
        check(&[middle.leaf(ID).der, middle.der], &trusted, expected);
        let root = Ca::root_with("root", |params| window(params, begin, end));
        check(&[root.leaf(ID).der], &bundles([root.bundle("example.org")]), expected);
    }
}

#[test]
fn a_peer_lives_as_long_as_the_shortest_certificate_of_its_path() {
    let root = Ca::root_with("root", |params| window(params, -30, 3600));
    let middle = root.intermediate("middle", |params| window(params, -3600, 20));
    let leaf = middle.leaf(ID);
    let trusted = bundles([root.bundle("example.org")]);
    let peer = verify_chain(&[leaf.der, middle.der], &trusted, Role::Client, now()).unwrap();
    assert_eq!((peer.not_before, peer.not_after), (at(NOW_S - 30), at(NOW_S + 20)));
}

#[test]
fn a_renewed_authority_with_the_same_key_takes_over() {
    let key = KeyPair::generate().unwrap();
    let root = |begin, end| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        window(&mut params, begin, end);
        params
    };
    let old = root(-100, -10).self_signed(&key).unwrap().der().clone();
    let new_params = root(-20, 100);
    let new = new_params.self_signed(&key).unwrap().der().clone();
    let mut leaf_params = CertificateParams::default();
    leaf_params.subject_alt_names = vec![uri(ID)];
    leaf_params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    window(&mut leaf_params, -5, 5);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = leaf_params.signed_by(&leaf_key, &rcgen::Issuer::new(new_params, key)).unwrap();
    let bundle = TrustBundle::from_der(domain("example.org"), &[old.clone(), new]).unwrap();
    check(&[leaf.der().clone()], &bundles([bundle]), ID);
    let only_old = TrustBundle::from_der(domain("example.org"), &[old]).unwrap();
    check(&[leaf.der().clone()], &bundles([only_old]), "tls.chain.expired");
}

#[test]
fn issuers_are_cas_that_may_sign_certificates() {
    let root = Ca::root("root");
    let trusted = bundles([root.bundle("example.org")]);
    let right = root.intermediate("right", |_| {});
    check(&[right.leaf(ID).der, right.der.clone()], &trusted, ID);
    check(&[right.leaf(ID).der], &trusted, "tls.chain.untrusted");

    let unable = root.intermediate("unable", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    check(&[unable.leaf(ID).der, unable.der], &trusted, "tls.chain.issuer_key_usage");
    let unmarked = root.intermediate("unmarked", |params| params.key_usages.clear());
    check(&[unmarked.leaf(ID).der, unmarked.der], &trusted, "tls.chain.issuer_key_usage");
    let not_ca = root.intermediate("not a CA", |params| params.is_ca = IsCa::ExplicitNoCa);
    check(&[not_ca.leaf(ID).der, not_ca.der], &trusted, "tls.chain.untrusted");

    let short =
        root.intermediate("short", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let below = short.intermediate("below", |_| {});
    check(&[below.leaf(ID).der, below.der, short.der], &trusted, "tls.chain.untrusted");
}

#[test]
fn name_constraints_are_met_or_refused() {
    let constrained = |permitted| {
        Ca::root_with("root", |params| {
            params.name_constraints =
                Some(NameConstraints { permitted_subtrees: vec![permitted], excluded_subtrees: vec![] });
        })
    };
    let dns = constrained(GeneralSubtree::DnsName("example.org".to_owned()));
    check(&[dns.leaf(ID).der], &bundles([dns.bundle("example.org")]), ID);
    let outside = dns.leaf_with(ID, |params| {
        params.subject_alt_names.push(SanType::DnsName("elsewhere.net".try_into().unwrap()));
    });
    check(&[outside.der], &bundles([dns.bundle("example.org")]), "tls.chain.name_constraint");
    let ip = constrained(GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([10, 0, 0, 0], 8)));
    check(&[ip.leaf(ID).der], &bundles([ip.bundle("example.org")]), ID);
}

/// A name constraints extension about URIs alone.
fn uri_constraints(permitted: &[&str], excluded: &[&str]) -> CustomExtension {
    let list = |tag, hosts: &[&str]| {
        let subtrees: Vec<u8> =
            hosts.iter().flat_map(|host| der::wrap(0x30, &der::wrap(0x86, host.as_bytes()))).collect();
        if subtrees.is_empty() { vec![] } else { der::wrap(tag, &subtrees) }
    };
    let content = der::wrap(0x30, &[list(0xa0, permitted), list(0xa1, excluded)].concat());
    extension(&[2, 5, 29, 30], &content, true)
}

#[test]
fn an_authority_may_be_held_to_the_trust_domains_that_its_constraints_name() {
    let refused = "tls.chain.name_constraint";
    for (permitted, excluded, expected) in [
        (&["example.org"][..], &[][..], ID),
        (&["EXAMPLE.ORG"], &[], ID),
        (&["other.org", "example.org"], &[], ID),
        (&[".org"], &[], ID),
        (&["org"], &[], refused),
        (&[".example.org"], &[], refused),
        (&["other.org"], &[], refused),
        (&[""], &[], refused),
        (&["spiffe://example.org"], &[], refused),
        (&[], &["other.org"], ID),
        (&[], &["example.org"], refused),
        (&[], &[".org"], refused),
        (&[], &["spiffe://other.org"], refused),
        (&["example.org"], &["example.org"], refused),
    ] {
        let root = Ca::root_with("root", |params| {
            params.custom_extensions.push(uri_constraints(permitted, excluded));
        });
        let trusted = bundles([root.bundle("example.org")]);
        check(&[root.leaf(ID).der], &trusted, expected);
        let middle = root.intermediate("middle", |_| {});
        check(&[middle.leaf(ID).der, middle.der], &trusted, expected);
    }
    // An address is no name, and cannot be constrained by one.
    let root = Ca::root_with("root", |params| {
        params.custom_extensions.push(uri_constraints(&["1.2.3.4"], &[]));
    });
    check(&[root.leaf("spiffe://1.2.3.4/a").der], &bundles([root.bundle("1.2.3.4")]), refused);
}

#[test]
fn an_intermediate_is_held_to_its_authority_and_its_own_constraints_cannot_be_judged() {
    let root = Ca::root_with("root", |params| {
        params.custom_extensions.push(uri_constraints(&["example.org"], &[]));
    });
    let trusted = bundles([root.bundle("example.org")]);
    let named = |id| root.intermediate("middle", |params| params.subject_alt_names = vec![uri(id)]);
    let (own, foreign) = (named("spiffe://example.org"), named("spiffe://other.org"));
    check(&[own.leaf(ID).der, own.der], &trusted, ID);
    check(&[foreign.leaf(ID).der, foreign.der], &trusted, "tls.chain.name_constraint");
    let narrow = root.intermediate("narrow", |params| {
        params.custom_extensions.push(uri_constraints(&["example.org"], &[]));
    });
    check(&[narrow.leaf(ID).der, narrow.der], &trusted, "tls.chain.name_constraint");
}

#[test]
fn constraints_on_other_names_hold_beside_those_on_uris() {
    let dns = |host: &str| der::wrap(0x30, &der::wrap(0x82, host.as_bytes()));
    let of_uri = |host: &str| der::wrap(0x30, &der::wrap(0x86, host.as_bytes()));
    let content = der::wrap(0x30, &der::wrap(0xa0, &[dns("example.org"), of_uri("example.org")].concat()));
    let root = Ca::root_with("root", |params| {
        params.custom_extensions.push(extension(&[2, 5, 29, 30], &content, true));
    });
    let trusted = bundles([root.bundle("example.org")]);
    let with_dns = |name: &str| {
        let name = SanType::DnsName(name.try_into().unwrap());
        root.leaf_with(ID, |params| params.subject_alt_names.push(name)).der
    };
    check(&[with_dns("orders.example.org")], &trusted, ID);
    check(&[with_dns("elsewhere.net")], &trusted, "tls.chain.name_constraint");
}

#[test]
fn an_intermediate_bears_the_name_of_a_trust_domain_or_none() {
    let root = Ca::root("root");
    let trusted = bundles([root.bundle("example.org")]);
    for (name, expected) in [
        ("spiffe://example.org", ID),
        ("spiffe://upstream.example.org", ID),
        ("https://ca.example.org/a", ID),
        ("spiffe://example.org/ca", "tls.chain.issuer_spiffe_id"),
        ("SPIFFE://example.org", "tls.chain.issuer_spiffe_id"),
    ] {
        let middle = root.intermediate("middle", |params| params.subject_alt_names = vec![uri(name)]);
        check(&[middle.leaf(ID).der, middle.der], &trusted, expected);
    }
}

#[test]
fn limits_come_before_parsing() {
    let ca = Ca::root("root");
    let trusted = bundles([ca.bundle("example.org")]);
    check(&[], &trusted, "tls.no_certificate");
    let leaf = ca.leaf(ID).der;
    let mut chain = vec![leaf.clone()];
    chain.extend(std::iter::repeat_n(ca.der.clone(), 6));
    check(&chain, &trusted, ID);
    chain.push(ca.der.clone());
    check(&chain, &trusted, "tls.chain.too_large");
    check(
        &[leaf.clone(), CertificateDer::from(vec![0; CERTIFICATE_BYTES_MAX + 1])],
        &trusted,
        "tls.chain.too_large",
    );
    let many = vec![CertificateDer::from(vec![0; CERTIFICATE_BYTES_MAX]); 5];
    check(&many, &trusted, "tls.chain.too_large");
    check(&[CertificateDer::from(vec![])], &trusted, "tls.svid.malformed");
    check(&[CertificateDer::from(b"hello".to_vec())], &trusted, "tls.svid.malformed");
    let mut trailing = leaf.to_vec();
    trailing.push(0);
    check(&[CertificateDer::from(trailing)], &trusted, "tls.svid.malformed");
}

#[test]
fn a_flipped_byte_anywhere_in_the_leaf_never_changes_who_it_is() {
    let ca = Ca::root("root");
    let trusted = bundles([ca.bundle("example.org")]);
    let leaf = ca.leaf(ID).der;
    for place in 0..leaf.len() {
        let mut bent = leaf.to_vec();
        bent[place] ^= 0x01;
        let verdict = verify_chain(&[CertificateDer::from(bent)], &trusted, Role::Client, now());
        assert!(verdict.is_err(), "byte {place} may be flipped");
    }
}

mod hostile;
mod limbo;
