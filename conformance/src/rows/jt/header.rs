//! Algorithms, kinds, encoding: what is seen before a claim is believed.

use postern_identity::token::{Algorithm, Profile};
use serde_json::{Value, json};

use super::{with_bytes, with_header, with_text};
use crate::kit::token::{access, base64url, generic, signer, stranger, terms};
use crate::{Row, row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = algorithms();
    rows.extend(kinds());
    rows.push(encoding());
    rows
}

/// The issuer signs with these only.
fn only(algorithms: &'static [Algorithm]) -> crate::kit::token::Token {
    let mut token = access();
    token.issuer = terms(Profile::AccessToken, algorithms);
    token
}

fn algorithms() -> Vec<Row> {
    vec![
        row("JT-01", "one key, one algorithm, one list", "RFC 8725 §3.1")
            .accepts("on the issuer's list", || only(&[Algorithm::Es256]).verify())
            .accepts("EdDSA on the list", || only(&[Algorithm::EdDsa]).signed_with("EdDSA").verify())
            .accepts("EdDSA by its new name", || only(&[Algorithm::EdDsa]).signed_with("Ed25519").verify())
            .accepts("ES512 on the list", || only(&[Algorithm::Es512]).signed_with("ES512").verify())
            .accepts("the key names the same", || access().key("alg", json!("ES256")).verify())
            .refuses("EdDSA not on the list", "token.algorithm", || {
                only(&[Algorithm::Es256]).signed_with("EdDSA").verify()
            })
            .refuses("ES512 not on the list", "token.algorithm", || {
                only(&[Algorithm::EdDsa]).signed_with("ES512").verify()
            })
            .refuses("a curve of another algorithm", "token.algorithm", with_header("alg", json!("ES384")))
            .refuses("a type of another algorithm", "token.algorithm", with_header("alg", json!("RS256")))
            .refuses("the key names another", "token.algorithm", || {
                access().signed_with("PS256").key("alg", json!("RS256")).verify()
            }),
        row("JT-02", "no none, no HMAC, no weak keys", "RFC 8725 §3.2, RFC 7518 §3")
            .accepts("RSA of 2048 bits", || access().signed_with("RS256").verify())
            .accepts("ES384 at its width", || access().signed_with("ES384").verify())
            .refuses("none", "token.algorithm", with_header("alg", json!("none")))
            .refuses("nOnE", "token.algorithm", with_header("alg", json!("nOnE")))
            .refuses("no signature", "token.signature", with_text(|right| cut_signature(right, "")))
            .refuses("HMAC with the public key", "token.algorithm", || {
                let signed = format!("{}.{}", base64url(r#"{"alg":"HS256","kid":"k1"}"#), base64url("{}"));
                let secret = access().signer.jwk.to_string();
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
                let tag = base64url(aws_lc_rs::hmac::sign(&key, signed.as_bytes()));
                access().verify_text(&format!("{signed}.{tag}"))
            })
            .refuses(
                "r and s of nothing",
                "token.signature",
                with_text(|right| cut_signature(right, &base64url([0; 64]))),
            )
            .refuses(
                "a signature in DER's width",
                "token.signature",
                with_text(|right| cut_signature(right, &base64url([0x30; 70]))),
            )
            .refuses("a shared secret in the set", "token.key_unknown", || {
                let shared = json!({"kty": "oct", "kid": "k1", "k": "AAAA", "alg": "HS256"});
                access().keys(vec![shared, stranger().named("k2")]).verify()
            })
            .refuses("RSA of 1024 bits", "token.key_unknown", || {
                let weak = json!({"kty": "RSA", "kid": "k1", "e": "AQAB", "n": base64url([0xff; 128])});
                access().keys(vec![weak, stranger().named("k2")]).verify()
            })
            .refuses("a point that is on no curve", "token.key_unknown", || {
                let mut off = signer("ES256").named("k1");
                off["x"] = json!(base64url([1; 32]));
                access().keys(vec![off, stranger().named("k2")]).verify()
            })
            .refuses("a point of small order", "token.key_unknown", || {
                let small = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": base64url([0; 32])});
                access().header("alg", json!("EdDSA")).keys(vec![small, stranger().named("k2")]).verify()
            }),
        row("JT-03", "one signature, nothing nested", "RFC 8725 §3.3, §3.4")
            .accepts("a signature that holds", || access().verify())
            .refuses("another key's signature", "token.signature", || {
                let token = access();
                token.verify_text(&stranger().mint(&token.header.to_string(), &token.claims.to_string()))
            })
            .refuses("a token in a token", "token.malformed", with_header("cty", json!("JWT")))
            .refuses("compression", "token.malformed", with_header("zip", json!("DEF")))
            .refuses("encryption in three segments", "token.malformed", with_header("enc", json!("A256GCM")))
            .refuses("encryption in five", "token.malformed", with_text(|right| format!("{right}.AA.AA"))),
    ]
}

fn cut_signature(token: &str, instead: &str) -> String {
    format!("{}.{instead}", token.rsplit_once('.').unwrap().0)
}

fn kinds() -> Vec<Row> {
    let wrong = |row: Row, typ: &'static str| row.refuses(typ, "token.type", with_header("typ", json!(typ)));
    let kinds = row("JT-05", "typ keeps kinds of token apart", "RFC 8725 §3.11, RFC 9068 §4")
        .accepts("at+jwt", || access().verify())
        .accepts("application/at+jwt", with_header("typ", json!("application/at+jwt")))
        .accepts("JWT where the issuer may", || generic().verify())
        .accepts("none where the issuer may", || generic().header("typ", Value::Null).verify())
        .refuses("none", "token.type", with_header("typ", Value::Null))
        .refuses("DPoP's where the issuer may", "token.type", || {
            generic().header("typ", json!("dpop+jwt")).verify()
        })
        .refuses("a transaction's where the issuer may", "token.type", || {
            generic().header("typ", json!("txntoken+jwt")).verify()
        });
    let kinds = ["JWT", "dpop+jwt", "wit+jwt", "wpt+jwt", "txntoken+jwt", "logout+jwt", "secevent+jwt"]
        .into_iter()
        .fold(kinds, wrong);
    let kinds = ["client_id", "iat", "jti", "sub"].into_iter().fold(kinds, |row, name| {
        row.refuses(name, "token.claims", move || access().claim(name, Value::Null).verify())
    });
    let critical = row("JT-06", "any crit is refused", "RFC 7515 §4.1.11, RFC 7797")
        .accepts("none", || access().verify())
        .refuses("an unknown one", "token.crit", with_header("crit", json!(["http://x"])))
        .refuses("an empty list", "token.crit", with_header("crit", json!([])))
        .refuses("a registered one", "token.crit", with_header("crit", json!(["exp"])))
        .refuses("the same twice", "token.crit", with_header("crit", json!(["x", "x"])))
        .refuses("not a list", "token.crit", with_header("crit", json!("exp")))
        .refuses("null", "token.crit", with_bytes(r#"{"alg":"ES256","kid":"k1","crit":null}"#, "{}"))
        .refuses("b64", "token.crit", with_header("b64", json!(false)))
        .refuses("b64 that says nothing new", "token.crit", with_header("b64", json!(true)));
    vec![kinds, critical]
}

fn encoding() -> Row {
    const HEADER: &str = r#"{"alg":"ES256","kid":"k1","typ":"at+jwt"}"#;
    row("JT-07", "one token, one spelling", "RFC 7515 §2, §4, RFC 7519 §4")
        .accepts("the canonical one", || access().verify())
        .refuses("padding", "token.malformed", with_text(|right| format!("{right}==")))
        .refuses("a line's end", "token.malformed", with_text(|right| format!("{right}\n")))
        .refuses("a space in front", "token.malformed", with_text(|right| format!(" {right}")))
        .refuses(
            "the other alphabet",
            "token.malformed",
            with_text(|right| format!("{}+/", right.get(..right.len() - 2).unwrap())),
        )
        .refuses(
            "stray bits at the end",
            "token.malformed",
            with_text(|right| {
                // 64 bytes leave four unused bits in the last character; `B` sets one of them.
                format!("{}B", right.get(..right.len() - 1).unwrap())
            }),
        )
        .refuses("four segments", "token.malformed", with_text(|right| format!("{right}.AA")))
        .refuses(
            "a name twice in the header",
            "token.malformed",
            with_bytes(r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","kid":"k1"}"#, "{}"),
        )
        .refuses(
            "a name twice, once escaped",
            "token.malformed",
            with_bytes(HEADER, r#"{"sub":"a","\u0073ub":"admin"}"#),
        )
        .refuses("a name twice, deep inside", "token.malformed", with_bytes(HEADER, r#"{"a":{"b":1,"b":2}}"#))
        .refuses("a header that is a list", "token.malformed", with_bytes("[]", "{}"))
        .refuses("claims that are text", "token.malformed", with_bytes(HEADER, r#""sub""#))
        .refuses("claims and something", "token.malformed", with_bytes(HEADER, "{} {}"))
        .refuses("a lone surrogate", "token.malformed", with_bytes(HEADER, r#"{"sub":"\ud800"}"#))
        .refuses("not UTF-8", "token.malformed", || {
            let signed = format!("{}.{}", base64url(HEADER), base64url(b"{\"sub\":\"\xff\"}"));
            let signature = base64url(access().signer.sign(&signed));
            access().verify_text(&format!("{signed}.{signature}"))
        })
}
