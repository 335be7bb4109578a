use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{IsCa, KeyUsagePurpose};

use super::*;
use crate::testing::{Ca, domain, uri};

fn pem(der: &CertificateDer<'_>) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}

fn x5c(der: &CertificateDer<'_>) -> String {
    format!(r#"{{"kty":"EC","use":"x509-svid","x5c":["{}"]}}"#, STANDARD.encode(der))
}

#[track_caller]
fn check(bundle: Result<TrustBundle, BundleError>, expected: Result<&[&CertificateDer<'_>], &str>) {
    match (bundle, expected) {
        (Ok(bundle), Ok(authorities)) => {
            let seen: Vec<_> = bundle.authorities().iter().map(Authority::der).collect();
            assert_eq!(seen, authorities);
        }
        (Err(error), Err(message)) => assert!(error.to_string().contains(message), "{error}"),
        (seen, expected) => panic!("{seen:?} instead of {expected:?}"),
    }
}

#[test]
fn the_same_authorities_come_from_every_format() {
    let (a, b) = (Ca::root("a").der, Ca::root("b").der);
    let both: &[&CertificateDer<'_>] = &[&a, &b];
    let td = || domain("example.org");
    check(TrustBundle::from_der(td(), &[a.clone(), b.clone(), a.clone()]), Ok(both));
    check(TrustBundle::from_pem(td(), format!("# roots\n{}{}", pem(&a), pem(&b)).as_bytes()), Ok(both));
    check(TrustBundle::from_concatenated_der(td(), &[a.as_ref(), b.as_ref()].concat()), Ok(both));
    let document = format!(
        r#"{{"spiffe_sequence":7,"keys":[{},{},{{"kty":"EC","use":"jwt-svid","kid":"k"}},{{"kty":"oct","use":"x509-svid"}},
            {{"kty":"EC","use":"x509-svid"}},{{"kty":"EC","use":"x509-svid","x5c":[]}},{{"kty":"EC","use":"X509-SVID"}},3]}}"#,
        x5c(&a),
        x5c(&b)
    );
    check(TrustBundle::from_spiffe_json(td(), document.as_bytes()), Ok(both));
    check(TrustBundle::from_spiffe_json(td(), br#"{"keys":[]}"#), Ok(&[]));
}

#[test]
fn a_bundle_is_taken_whole_or_not_at_all() {
    let a = Ca::root("a").der;
    let leaf = Ca::root("a").leaf("spiffe://example.org/a").der;
    let td = || domain("example.org");
    check(
        TrustBundle::from_der(td(), &[a.clone(), leaf]),
        Err("authority 2 of `example.org` cannot be read: not a CA"),
    );
    let unable = Ca::root_with("x", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]).der;
    check(TrustBundle::from_der(td(), &[unable]), Err("lacks keyCertSign"));
    let plain = Ca::root_with("x", |params| params.is_ca = IsCa::NoCa).der;
    check(TrustBundle::from_der(td(), &[plain]), Err("not a CA"));
    check(TrustBundle::from_der(td(), &[CertificateDer::from(vec![1, 2])]), Err("authority 1"));
    check(TrustBundle::from_der(td(), &vec![a.clone(); AUTHORITIES_MAX + 1]), Err("too large"));
    check(TrustBundle::from_pem(td(), b""), Err("not PEM"));
    check(
        TrustBundle::from_pem(td(), b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"),
        Err("not PEM"),
    );
    check(TrustBundle::from_pem(td(), &vec![b' '; BUNDLE_BYTES_MAX + 1]), Err("too large"));
    check(
        TrustBundle::from_concatenated_der(td(), &[a.as_ref(), &[0x30]].concat()),
        Err("not a SPIFFE bundle"),
    );
    check(TrustBundle::from_spiffe_json(td(), b"{}"), Err("`keys`"));
    check(TrustBundle::from_spiffe_json(td(), br#"{"keys":[],"keys":[]}"#), Err("occurs twice"));
    check(
        TrustBundle::from_spiffe_json(td(), br#"{"keys":[{"kty":"EC","use":"x509-svid","x5c":["-"]}]}"#),
        Err("base64"),
    );
}

#[test]
fn an_authority_bears_the_name_of_a_trust_domain_or_none() {
    let named = |id| Ca::root_with("x", |params| params.subject_alt_names = vec![uri(id)]).der;
    let of = |id| TrustBundle::from_der(domain("example.org"), &[named(id)]);
    assert!(of("spiffe://example.org").is_ok());
    assert!(of("https://ca.example.org/a").is_ok());
    check(of("spiffe://example.org/a"), Err("`spiffe://example.org/a` is a workload's"));
    check(of("SPIFFE://example.org"), Err("`SPIFFE://example.org` is a workload's"));
}

/// go-spiffe's own fixtures.
#[test]
fn bundles_of_the_reference_implementation_are_read() {
    let Some(data) = crate::testing::public_data() else { return };
    let file = std::fs::File::open(data.join("spiffe/go-spiffe-testdata.json.gz")).unwrap();
    let fixtures: serde_json::Value = serde_json::from_reader(flate2::read::GzDecoder::new(file)).unwrap();
    let read = |name: &str| {
        let text =
            fixtures[format!("bundle/spiffebundle/testdata/spiffebundle_{name}.json")].as_str().unwrap();
        TrustBundle::from_spiffe_json(domain("domain.test"), text.as_bytes())
    };
    for (name, authorities, sequence, refresh_s) in [
        ("valid_1", 1, None, 300),
        ("valid_2", 1, Some(1), 60),
        ("valid_with_wit", 1, Some(1), 60),
        // A JWT key without an ID is nothing to us here.
        ("missing_kid", 1, None, 300),
        // Of several certificates the first counts (X509-SVID §6.2).
        ("multiple_x509", 1, None, 300),
    ] {
        let bundle = read(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let seen = (bundle.authorities().len(), bundle.sequence(), bundle.refresh_interval().as_secs());
        assert_eq!(seen, (authorities, sequence, refresh_s), "{name}");
    }
    check(read("no_keys"), Err("`keys`"));
}

#[test]
fn a_lower_sequence_number_never_follows_a_higher_one() {
    let numbered = |number: &str| {
        let document = format!(r#"{{"keys":[],"spiffe_sequence":{number}}}"#);
        TrustBundle::from_spiffe_json(domain("example.org"), document.as_bytes())
    };
    let highest = numbered("18446744073709551615").unwrap();
    assert_eq!(highest.sequence(), Some(u64::MAX));
    let (seven, eight) = (numbered("7").unwrap(), numbered("8").unwrap());
    assert!(eight.check_succeeds(&seven).is_ok() && seven.check_succeeds(&seven).is_ok());
    let error = seven.check_succeeds(&eight).unwrap_err();
    assert!(error.to_string().contains("has the sequence number 7 and the one in force has 8"), "{error}");
    let none = TrustBundle::from_der(domain("example.org"), &[]).unwrap();
    assert!(none.check_succeeds(&eight).is_ok() && seven.check_succeeds(&none).is_ok());
    for number in ["-1", "1.5", "1e3", "18446744073709551616", "\"7\"", "null"] {
        check(numbered(number), Err("`spiffe_sequence`"));
    }
}

#[test]
fn a_refresh_hint_is_kept_within_bounds() {
    let hinted = |hint: &str| {
        let document = format!(r#"{{"keys":[]{hint}}}"#);
        TrustBundle::from_spiffe_json(domain("example.org"), document.as_bytes())
    };
    for (hint, seconds) in [("", 300), ("0", 30), ("29", 30), ("600", 600), ("86401", 86400)] {
        let member =
            if hint.is_empty() { String::new() } else { format!(r#","spiffe_refresh_hint":{hint}"#) };
        assert_eq!(hinted(&member).unwrap().refresh_interval(), Duration::from_secs(seconds), "{hint}");
    }
    check(hinted(r#","spiffe_refresh_hint":"soon""#), Err("`spiffe_refresh_hint`"));
    check(hinted(r#","spiffe_refresh_hint":-1"#), Err("`spiffe_refresh_hint`"));
}

#[test]
fn a_map_keeps_the_bundles_of_trust_domains_apart() {
    let (a, b) = (Ca::root("a").der, Ca::root("b").der);
    let map = format!(
        r#"{{"spiffe_refresh_hint":60,"trust_domains":{{"a.org":{{"keys":[{}],"spiffe_refresh_hint":3600}},"b.org":{{"keys":[{}]}}}}}}"#,
        x5c(&a),
        x5c(&b)
    );
    let map = BundleMap::from_spiffe_json(map.as_bytes()).unwrap();
    assert_eq!(map.refresh_interval, Duration::from_secs(60));
    assert_eq!(map.bundles.len(), 2);
    let of = |name| map.bundles.get(&domain(name)).unwrap().authorities()[0].der();
    assert_eq!((of("a.org"), of("b.org")), (&a, &b));
    for (map, message) in [
        (r#"{}"#, "`trust_domains`"),
        (r#"[]"#, "not an object"),
        (r#"{"trust_domains":[]}"#, "`trust_domains`"),
        (r#"{"trust_domains":{"a.org":{"keys":[]},"a.org":{"keys":[]}}}"#, "occurs twice"),
        (r#"{"trust_domains":{"A.org":{"keys":[]}}}"#, "`A.org` is not a trust domain"),
        (r#"{"trust_domains":{"a.org":{"keys":[]},"b.org":{}}}"#, "`b.org`"),
        (r#"{"trust_domains":{"a.org":3}}"#, "`a.org`"),
        (r#"{"trust_domains":{},"spiffe_refresh_hint":[]}"#, "`spiffe_refresh_hint`"),
    ] {
        let error = BundleMap::from_spiffe_json(map.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn bundles_of_one_trust_domain_replace_each_other() {
    let (a, b) = (Ca::root("a"), Ca::root("b"));
    let mut bundles = TrustBundles::default();
    assert_eq!(bundles.insert(a.bundle("example.org")), None);
    assert_eq!(bundles.insert(b.bundle("example.org")), Some(a.bundle("example.org")));
    bundles.insert(a.bundle("other.org"));
    assert_eq!(bundles.len(), 2);
    assert_eq!(bundles.get(&domain("example.org")), Some(&b.bundle("example.org")));
    assert_eq!(bundles.get(&domain("third.org")), None);
}
