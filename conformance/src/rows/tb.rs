//! Trust bundles: what a trust domain publishes about itself.

use std::time::Duration;

use postern_identity::{BundleMap, Peer, TrustBundle};

use super::x5::{document, jwk};
use crate::kit::certificates::{Ca, DOMAIN, ID, bundles, domain, judge};
use crate::{Row, row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = documents();
    rows.extend(members());
    rows.extend(domains());
    rows
}

fn bundle(document: &str) -> Result<TrustBundle, String> {
    TrustBundle::from_spiffe_json(domain(DOMAIN), document.as_bytes()).map_err(|error| error.to_string())
}

fn map(document: &str) -> Result<BundleMap, String> {
    BundleMap::from_spiffe_json(document.as_bytes()).map_err(|error| error.to_string())
}

/// A caller whose authority stands in a bundle as the one JWK that `bend` has changed.
fn by_jwk(bend: impl FnOnce(String) -> String) -> Result<Peer, String> {
    let ca = Ca::root();
    judge(&[ca.leaf(ID).der], &bundles([document(&[bend(jwk(&[&ca.der]))])?]))
}

fn documents() -> Vec<Row> {
    vec![
        row("TB-01", "a bundle is a JWK set", "Bundle §4.1")
            .accepts("keys", || bundle(r#"{"keys":[]}"#))
            .accepts("unknown members", || bundle(r#"{"keys":[],"x":{"y":[1]}}"#))
            .refuses("no keys", "`keys`", || bundle(r#"{"spiffe_sequence":1}"#))
            .refuses("keys that are no list", "`keys`", || bundle(r#"{"keys":{}}"#))
            .refuses("keys twice", "occurs twice", || bundle(r#"{"keys":[],"keys":[]}"#))
            .refuses("no JSON", "not JSON", || bundle("keys")),
        row("TB-02", "JWKs of unknown kty or use are passed over", "Bundle §4.2.1, §4.2.2")
            .accepts("beside a known one", || {
                let ca = Ca::root();
                let others = [
                    r#"{"kty":"XYZ","use":"x509-svid","x5c":["!"]}"#,
                    r#"{"kty":"EC","use":"wit-svid","kid":"a"}"#,
                    r#"{"kty":"EC","x5c":["!"]}"#,
                    r#"{"use":"x509-svid","x5c":["!"]}"#,
                ];
                let mut keys: Vec<String> = others.map(str::to_owned).to_vec();
                keys.push(jwk(&[&ca.der]));
                judge(&[ca.leaf(ID).der], &bundles([document(&keys)?]))
            })
            .refuses("of unknown kty", "tls.chain.untrusted", || by_jwk(|jwk| jwk.replace("EC", "XYZ")))
            .refuses("of unknown use", "tls.chain.untrusted", || by_jwk(|jwk| jwk.replace("x509-", "tls-")))
            .refuses("of a use in another case", "tls.chain.untrusted", || {
                by_jwk(|jwk| jwk.replace("x509-svid", "X509-SVID"))
            })
            .refuses("without use", "tls.chain.untrusted", || {
                by_jwk(|jwk| jwk.replace(r#""use":"x509-svid","#, ""))
            }),
        row("TB-03", "without keys nobody is trusted", "Bundle §4.1.3")
            .accepts("with one", || by_jwk(|jwk| jwk))
            .refuses("an empty list", "tls.chain.untrusted", || {
                judge(&[Ca::root().leaf(ID).der], &bundles([document(&[])?]))
            })
            .refuses("a key of another use alone", "tls.chain.untrusted", || {
                let other = r#"{"kty":"EC","use":"jwt-svid","kid":"a"}"#.to_owned();
                judge(&[Ca::root().leaf(ID).der], &bundles([document(&[other])?]))
            }),
    ]
}

fn numbered(number: &str) -> Result<TrustBundle, String> {
    bundle(&format!(r#"{{"keys":[],"spiffe_sequence":{number}}}"#))
}

/// One bundle after another.
fn succession(earlier: &str, later: &str) -> Result<(), String> {
    let (earlier, later) = (numbered(earlier)?, numbered(later)?);
    later.check_succeeds(&earlier).map_err(|error| error.to_string())
}

/// How long after a bundle with this hint the next one is fetched.
fn refreshed(hint: &str, expected_s: u64) -> Result<(), String> {
    let interval = bundle(&format!(r#"{{"keys":[]{hint}}}"#))?.refresh_interval();
    if interval == Duration::from_secs(expected_s) { Ok(()) } else { Err(format!("{interval:?}")) }
}

fn members() -> Vec<Row> {
    vec![
        row("TB-04", "sequence numbers never go back", "Bundle §4.1.1 (O)")
            .accepts("forward", || succession("7", "8"))
            .accepts("the same", || succession("8", "8"))
            .accepts("64 bits", || succession("18446744073709551614", "18446744073709551615"))
            .refuses("backward", "has the sequence number 7", || succession("8", "7"))
            .refuses("64 bits backward", "18446744073709551614", || {
                succession("18446744073709551615", "18446744073709551614")
            })
            .refuses("no whole number", "`spiffe_sequence`", || numbered("1.5"))
            .refuses("text", "`spiffe_sequence`", || numbered("\"7\"")),
        row("TB-05", "refresh hints are hints", "Bundle §4.1.2, §6.1 (O)")
            .accepts("none: five minutes", || refreshed("", 300))
            .accepts("ten minutes", || refreshed(r#","spiffe_refresh_hint":600"#, 600))
            .accepts("a second: half a minute", || refreshed(r#","spiffe_refresh_hint":1"#, 30))
            .accepts("a year: a day", || refreshed(r#","spiffe_refresh_hint":31536000"#, 86400))
            .refuses("text", "`spiffe_refresh_hint`", || refreshed(r#","spiffe_refresh_hint":"600""#, 600))
            .refuses("half a second", "`spiffe_refresh_hint`", || {
                refreshed(r#","spiffe_refresh_hint":0.5"#, 30)
            }),
    ]
}

fn domains() -> Vec<Row> {
    vec![
        row("TB-06", "the SVID's trust domain chooses the bundle", "Bundle §3")
            .accepts("each by its own", || {
                let (a, b) = (Ca::root(), Ca::root());
                let trusted = bundles([a.bundle("a.org"), b.bundle("b.org")]);
                judge(&[a.leaf("spiffe://a.org/x").der], &trusted)?;
                judge(&[b.leaf("spiffe://b.org/x").der], &trusted)
            })
            .refuses("one by the other's", "tls.chain.untrusted", || {
                let (a, b) = (Ca::root(), Ca::root());
                let trusted = bundles([a.bundle("a.org"), b.bundle("b.org")]);
                judge(&[a.leaf("spiffe://b.org/x").der], &trusted)
            })
            .refuses("one that has replaced another", "tls.chain.untrusted", || {
                let (a, b) = (Ca::root(), Ca::root());
                let trusted = bundles([a.bundle(DOMAIN), b.bundle(DOMAIN)]);
                judge(&[a.leaf(ID).der], &trusted)
            }),
        row("TB-07", "a map names each trust domain once", "Bundle §5.1.1, §6.3")
            .accepts("two trust domains", || {
                map(r#"{"trust_domains":{"a.org":{"keys":[]},"b.org":{"keys":[]}}}"#)
            })
            .accepts("a member's hint, which does not count", || {
                let map = map(r#"{"trust_domains":{"a.org":{"keys":[],"spiffe_refresh_hint":3600}}}"#)?;
                let interval = map.refresh_interval;
                if interval == Duration::from_secs(300) { Ok(()) } else { Err(format!("{interval:?}")) }
            })
            .refuses("none named", "`trust_domains`", || map(r#"{"keys":[]}"#))
            .refuses("one named twice", "occurs twice", || {
                map(r#"{"trust_domains":{"a.org":{"keys":[]},"a.org":{"keys":[]}}}"#)
            })
            .refuses("one named twice, once by escapes", "occurs twice", || {
                map(r#"{"trust_domains":{"a.org":{"keys":[]},"\u0061.org":{"keys":[]}}}"#)
            })
            .refuses("one of several that cannot be read", "`b.org`", || {
                map(r#"{"trust_domains":{"a.org":{"keys":[]},"b.org":{"keys":3}}}"#)
            })
            .refuses("a name that is none", "`A.org`", || map(r#"{"trust_domains":{"A.org":{"keys":[]}}}"#)),
        row("TB-08", "a shared key joins no trust domains", "Bundle §6.2")
            .accepts("a key shared by two, for each", || {
                let shared = Ca::root();
                let trusted = bundles([shared.bundle("a.org"), shared.bundle("b.org")]);
                judge(&[shared.leaf("spiffe://a.org/x").der], &trusted)?;
                judge(&[shared.leaf("spiffe://b.org/x").der], &trusted)
            })
            .refuses("a key of one, for a third", "tls.trust_domain.unknown", || {
                let shared = Ca::root();
                let trusted = bundles([shared.bundle("a.org"), shared.bundle("b.org")]);
                judge(&[shared.leaf("spiffe://c.org/x").der], &trusted)
            })
            .refuses("a second key of one, for the other", "tls.chain.untrusted", || {
                let (shared, own) = (Ca::root(), Ca::root());
                let both = TrustBundle::from_der(domain("a.org"), &[shared.der.clone(), own.der.clone()]);
                let trusted = bundles([both.map_err(|e| e.to_string())?, shared.bundle("b.org")]);
                judge(&[own.leaf("spiffe://b.org/x").der], &trusted)
            }),
    ]
}
