use std::collections::HashMap;

use super::*;
use crate::demo::ca::Ca;

const NOW_S: u64 = 2_000_000_000;

fn document(trust_domain: &str) -> Vec<u8> {
    let now = postern_identity::UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW_S));
    Ca::new(trust_domain.parse().unwrap(), now).unwrap().jwt_bundle().into_bytes()
}

/// Trust domains with the number of their keys, and a status.
type Judged<'a> = (&'a [(&'a str, usize)], SourceStatus);

/// Bundles come to keys by trust domain, with their number, and a status, or are not taken.
#[track_caller]
fn check(bundles: &[(&str, Vec<u8>)], expected: Result<Judged<'_>, &str>) {
    let bundles: HashMap<_, _> =
        bundles.iter().map(|(name, keys)| ((*name).to_owned(), keys.clone())).collect();
    match (judge(JwtBundlesResponse { bundles }), expected) {
        (Ok((bundles, status)), Ok((names, said))) => {
            let found: Vec<_> = bundles.iter().map(|(name, keys)| (name.as_str(), keys.len())).collect();
            assert_eq!((found.as_slice(), status), (names, said));
        }
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
        (Ok(found), Err(part)) => panic!("{found:?} instead of {part}"),
        (Err(error), Ok(_)) => panic!("{error}"),
    }
}

#[test]
fn each_trust_domain_has_its_own_keys() {
    check(
        &[("spiffe://a.org", document("a.org")), ("spiffe://b.org", document("b.org"))],
        Ok((&[("a.org", 1), ("b.org", 1)], SourceStatus::Ready)),
    );
    // Trust_Domain_and_Bundle §4.1.3: without keys nothing is trusted.
    check(&[("spiffe://a.org", b"{\"keys\":[]}".to_vec())], Ok((&[("a.org", 0)], SourceStatus::Ready)));
}

#[test]
fn a_bundle_that_cannot_be_read_costs_its_own_trust_domain_only() {
    let said = "the JWT bundle of `b.org`: the key set has no member `keys` that is a list";
    check(
        &[("spiffe://a.org", document("a.org")), ("spiffe://b.org", b"{}".to_vec())],
        Ok((&[("a.org", 1)], SourceStatus::Degraded(said.to_owned()))),
    );
}

#[test]
fn keys_of_another_use_and_keys_without_a_name_are_passed_over() {
    let with = |member: &str| {
        let document = String::from_utf8(document("a.org")).unwrap();
        document.replacen("\"kid\"", &format!("{member},\"kid\""), 1).into_bytes()
    };
    let nameless = String::from_utf8(document("a.org")).unwrap().replace("\"kid\"", "\"no\"").into_bytes();
    for (document, keys) in [
        (with("\"use\":\"jwt-svid\""), 1),
        (with("\"use\":\"sig\""), 1),
        (with("\"use\":\"x509-svid\""), 0),
        (with("\"use\":\"wit-svid\""), 0),
        (with("\"use\":\"enc\""), 0),
        (nameless, 0),
    ] {
        check(&[("spiffe://a.org", document)], Ok((&[("a.org", keys)], SourceStatus::Ready)));
    }
}

#[test]
fn a_message_that_says_nothing_or_too_much_is_not_taken() {
    check(&[], Err("sent no JWT bundle"));
    let many: HashMap<_, _> = (0..=BUNDLES_MAX).map(|n| (format!("spiffe://a{n}"), vec![])).collect();
    assert!(judge(JwtBundlesResponse { bundles: many }).is_err());
}
