use base64::engine::general_purpose::STANDARD;
use rcgen::{IsCa, KeyUsagePurpose};

use super::*;
use crate::testing::{Ca, domain};

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
