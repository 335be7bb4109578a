//! What a token says.

use std::sync::Arc;
use std::time::Duration;

use postern_identity::UnixTime;
use postern_identity::token::{Algorithm, Claims, Issuer, KeySet, verify};
use serde_json::{Value, json};

use super::{with_bytes, with_claim, with_header};
use crate::kit::token::{ISSUER, NOW_S, Refused, access, generic, signer, stranger};
use crate::{Row, row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = parties();
    rows.extend(bounds());
    rows
}

/// A token of one of two issuers, each with a key of the same name.
fn of_two(iss: &str, algorithm: &str) -> Result<Claims, Refused> {
    let issuer = |name: &str| {
        Issuer::new(name.to_owned(), vec!["orders".to_owned()], Algorithm::ALL.to_vec()).unwrap()
    };
    let issuers = [issuer(ISSUER), issuer("https://other.example")];
    let sets = [signer("ES256"), signer("EdDSA")].map(|signer| {
        let document = json!({"keys": [signer.named("k1")]}).to_string();
        Arc::new(KeySet::parse(document.as_bytes()).unwrap())
    });
    let mut token = access().claim("iss", json!(iss)).header("alg", json!(algorithm));
    token.signer = signer(algorithm);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW_S));
    verify(&token.compact(), &issuers, &|place| sets.get(place).cloned(), now).map_err(Refused)
}

fn parties() -> Vec<Row> {
    vec![
        row("JT-04", "issuer, key, audience belong together", "RFC 8725 §3.8-§3.10")
            .accepts("each issuer's own key: one", || of_two(ISSUER, "ES256"))
            .accepts("each issuer's own key: the other", || of_two("https://other.example", "EdDSA"))
            .accepts("pointers to keys, which nobody follows", with_header("jku", json!("https://x.example")))
            .refuses("the other issuer's key", "token.algorithm", || of_two(ISSUER, "EdDSA"))
            .refuses("a key that the token brings", "token.signature", || {
                let mut token = access().header("jwk", stranger().jwk.clone());
                token.signer = stranger();
                token.verify()
            })
            .refuses("a slash more", "token.issuer", with_claim("iss", json!(format!("{ISSUER}/"))))
            .refuses("another case", "token.issuer", with_claim("iss", json!(ISSUER.to_uppercase())))
            .refuses("a list of issuers", "token.claims", with_claim("iss", json!([ISSUER])))
            .refuses("no issuer", "token.claims", with_claim("iss", Value::Null))
            .refuses("no audience", "token.claims", with_claim("aud", Value::Null))
            .refuses("an audience that begins alike", "token.audience", with_claim("aud", json!("orders-x")))
            .refuses("a list that is not all text", "token.claims", with_claim("aud", json!(["orders", 1])))
            .refuses("a path as key", "token.key_unknown", with_header("kid", json!("../../dev/null")))
            .refuses("a query as key", "token.key_unknown", with_header("kid", json!("' OR 1=1 --")))
            .refuses("a long name of a key", "token.malformed", with_header("kid", json!("k".repeat(257)))),
        row("JT-14", "401 for tokens, 503 for keys", "RFC 6750 §3")
            .accepts("keys that are there", || access().verify())
            .refuses("a token that is wrong", "token.signature", || access().keys(other_key()).verify())
            .refuses("a key that is not there", "token.key_unknown", with_header("kid", json!("k2")))
            .refuses("no keys at all", "keys.unavailable", || {
                let mut token = access();
                token.keys = None;
                token.verify()
            }),
        row("JT-16", "actors are shown, never believed", "RFC 8693 §4.1")
            .accepts("an actor leaves the subject alone", || {
                let claims = access().claim("act", actors(1)).verify().map_err(|error| error.to_string())?;
                let shown = claims.members.get("act").is_some_and(|act| act["sub"] == "actor");
                match claims.subject.as_deref() {
                    Some("alice") if shown => Ok(()),
                    other => Err(format!("the subject is {other:?}")),
                }
            })
            .accepts("eight actors", || access().claim("act", actors(8)).verify())
            .refuses("nine actors", "8 actors", || access().claim("act", actors(9)).verify())
            .refuses("an actor that is text", "`act`", with_claim("act", json!("actor")))
            .refuses("an actor of an actor that is a list", "`act`", with_claim("act", json!({"act": []})))
            .refuses("an actor instead of a subject", "`sub`", || {
                access().claim("act", actors(1)).claim("sub", Value::Null).verify()
            }),
    ]
}

fn other_key() -> Vec<Value> {
    vec![stranger().named("k1")]
}

fn actors(count: usize) -> Value {
    (1..count).fold(json!({"sub": "actor"}), |inner, _| json!({"sub": "actor", "act": inner}))
}

/// The right claims with `exp` as written, not as serde_json would write it.
fn with_expiry(text: &'static str) -> impl Fn() -> Result<Claims, Refused> {
    move || {
        let token = generic();
        let claims = format!(r#"{{"iss":"{ISSUER}","aud":"orders","exp":{text}}}"#);
        token.verify_text(&token.signer.mint(&token.header.to_string(), &claims))
    }
}

fn with_pad(bytes: usize) -> impl Fn() -> Result<Claims, Refused> {
    move || access().claim("pad", json!("x".repeat(bytes))).verify()
}

fn bounds() -> Vec<Row> {
    const HEADER: &str = r#"{"alg":"ES256","kid":"k1","typ":"at+jwt"}"#;
    let many = |count: usize| {
        move || (0..count).fold(access(), |token, n| token.claim(&format!("c{n}"), json!(n))).verify()
    };
    let deep = |depth: usize| {
        move || access().claim("deep", (0..depth).fold(json!(1), |inner, _| json!([inner]))).verify()
    };
    vec![
        row("JT-08", "times: typed, bounded, small leeway", "RFC 7519 §2, §4.1")
            .accepts("a decimal", with_expiry("2000000060.5"))
            .accepts("an exponent", with_expiry("2.00000006e9"))
            .accepts("past within five seconds", with_expiry("1999999996"))
            .refuses("past by five seconds", "token.expired", with_expiry("1999999995"))
            .refuses("text", "token.claims", with_expiry(r#""2000000060""#))
            .refuses("never", "token.claims", with_expiry(r#""never""#))
            .refuses("null", "token.claims", with_expiry("null"))
            .refuses("beyond every number", "token.claims", with_expiry("1e400"))
            .refuses("2^63", "token.claims", with_expiry("9223372036854775808"))
            .refuses("the year 10000", "token.claims", with_expiry("253402300800"))
            .refuses("before 1970", "token.claims", with_expiry("-1"))
            .refuses("no end", "token.claims", || generic().claim("exp", Value::Null).verify())
            .refuses("nbf to come", "token.not_yet_valid", with_claim("nbf", json!(NOW_S + 6)))
            .refuses("a leeway of 121 s", "121", || access().issuer.with_leeway_s(121))
            .refuses("a life beyond the issuer's", "token.lifetime", || {
                let mut token = access();
                token.issuer = token.issuer.with_lifetime_s_max(69);
                token.verify()
            }),
        row("JT-09", "size, claims and depth are bounded", "RFC 8725 §3.10 (O)")
            .accepts("5 KiB", with_pad(5 * 1024))
            .accepts("64 claims", many(57))
            .accepts("16 levels", deep(15))
            .refuses("more than 8 KiB", "token.too_large", with_pad(7 * 1024))
            .refuses("a megabyte", "token.too_large", with_pad(1024 * 1024))
            .refuses("a limit beyond 16 KiB", "16385", || access().issuer.with_token_bytes_max(16_385))
            .refuses("65 claims", "token.malformed", many(58))
            .refuses("17 levels", "token.malformed", deep(16))
            .refuses("a thousand levels", "token.malformed", || {
                let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
                access().verify_text(&access().signer.mint(HEADER, &format!(r#"{{"a":{deep}}}"#)))
            })
            .refuses("a thousand levels without an end", "token.malformed", || {
                access().verify_text(&access().signer.mint(HEADER, &"[".repeat(1000)))
            })
            .refuses("a deep header", "token.malformed", with_header("x", json!([[[[[1]]]]])))
            .refuses(
                "a number of a hundred digits",
                "token.malformed",
                with_bytes(
                    HEADER,
                    concat!(
                        r#"{"exp":1"#,
                        "00000000000000000000000000000000000000000000000000",
                        "00000000000000000000000000000000000000000000000000",
                        "}"
                    ),
                ),
            ),
    ]
}
