//! Tokens that are bound to a certificate or to a key.

use std::fmt;
use std::sync::Arc;

use postern_identity::Principal;
use postern_identity::pop::dpop::{self, DpopError, Nonce};
use postern_identity::token::TokenError;
use serde_json::{Value, json};

use crate::kit::proof::{self, Key, NOW_S, base64url};
use crate::{Row, row};

/// A refusal with its code in front.
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl From<TokenError> for Refused {
    fn from(error: TokenError) -> Self {
        Self(format!("{}: {error}", error.code()))
    }
}

impl From<DpopError> for Refused {
    fn from(error: DpopError) -> Self {
        Self(format!("{}: {error}", error.code()))
    }
}

/// A token with this confirmation, made from the peer's certificate, brought by that peer.
fn bound(cnf: impl Fn(&str) -> Value) -> Result<Principal, Refused> {
    let peer = proof::peer();
    let claims = proof::access_token(Some(cnf(&base64url(peer.fingerprint_sha256))))?;
    Ok(Principal::new(peer, Some(Arc::new(claims)))?)
}

/// A right proof with a right token, bent once, and the caller that comes of it.
fn proven(bend: impl Fn(&mut Value, &mut Value)) -> Result<Principal, Refused> {
    proven_by(Key::of_holder(), &Key::of_holder().thumbprint(), Nonce::Any, bend)
}

fn proven_by(
    key: &Key,
    bound_to: &str,
    nonce: Nonce<'_>,
    bend: impl Fn(&mut Value, &mut Value),
) -> Result<Principal, Refused> {
    let claims = proof::access_token(Some(json!({"jkt": bound_to})))?;
    let mut header = json!({"alg": "ES256", "typ": "dpop+jwt", "jwk": key.jwk()});
    let mut members = json!({
        "htm": "GET", "htu": "https://orders.test/things", "iat": NOW_S, "jti": "1",
        "ath": base64url(claims.token_sha256),
    });
    bend(&mut header, &mut members);
    let request = dpop::Request {
        method: "GET",
        uri: "https://orders.test/things",
        spell: &|uri| Some(uri.to_ascii_lowercase()),
        nonce,
    };
    let proof = dpop::verify(&key.sign(&header, &members), &claims, &request, proof::now())?;
    Ok(Principal::proven(proof::peer(), Arc::new(claims), &proof)?)
}

fn header(name: &'static str, value: Value) -> impl Fn() -> Result<Principal, Refused> {
    move || proven(|header, _| header[name] = value.clone())
}

fn claim(name: &'static str, value: Value) -> impl Fn() -> Result<Principal, Refused> {
    move || proven(|_, claims| claims[name] = value.clone())
}

pub(super) fn rows() -> Vec<Row> {
    vec![certificate(), key()]
}

fn certificate() -> Row {
    row("JT-12", "bound to the connection's certificate", "RFC 8705 §3.1")
        .accepts("bound to this one", || bound(|own| json!({"x5t#S256": own})))
        .accepts("bound to none", || {
            Ok::<_, Refused>(Principal::new(proof::peer(), Some(Arc::new(proof::access_token(None)?)))?)
        })
        .refuses("bound to another", "token.binding", || bound(|_| json!({"x5t#S256": base64url([7; 32])})))
        .refuses("bound to one and to more", "token.binding", || {
            bound(|own| json!({"x5t#S256": own, "kid": "k"}))
        })
        .refuses("a digest that is none", "token.claims", || bound(|_| json!({"x5t#S256": "AAAA"})))
        .refuses("a digest with padding", "token.claims", || {
            bound(|own| json!({"x5t#S256": format!("{own}=")}))
        })
        .refuses("an empty confirmation", "token.claims", || bound(|_| json!({})))
}

fn key() -> Row {
    let row = row("JT-13", "DPoP-bound tokens and proofs", "RFC 9449 §4.3, §7.1, §7.2")
        .accepts("a proof in order", || proven(|_, _| {}))
        .accepts("a target with a query", claim("htu", json!("https://orders.test/things?a=b#c")))
        .accepts("a minute old", claim("iat", json!(NOW_S - 60)))
        .accepts("the nonce given out", || {
            let given = ["n0".to_owned(), "n1".to_owned()];
            let nonce = Nonce::OneOf(&given);
            let holder = Key::of_holder();
            proven_by(holder, &holder.thumbprint(), nonce, |_, claims| claims["nonce"] = json!("n1"))
        })
        .refuses("no proof", "token.dpop_missing", || {
            let cnf = json!({"jkt": Key::of_holder().thumbprint()});
            let claims = proof::access_token(Some(cnf))?;
            Ok::<_, Refused>(Principal::new(proof::peer(), Some(Arc::new(claims)))?)
        })
        .refuses("another type", "dpop+jwt", header("typ", json!("JWT")))
        .refuses("a shared secret", "`HS256` is not accepted", header("alg", json!("HS256")))
        .refuses("no signature", "`none` is not accepted", header("alg", json!("none")))
        .refuses("no key", "no `jwk`", || {
            proven(|header, _| drop(header.as_object_mut().map(|members| members.remove("jwk"))))
        })
        .refuses("a private key", "private", || proven(|header, _| header["jwk"]["d"] = json!("AAAA")))
        .refuses("another key's signature", "token.dpop_signature", header("jwk", Key::of_issuer().jwk()));
    row.refuses("another method", "`htm`", claim("htm", json!("POST")))
        .refuses("another path", "`htu`", claim("htu", json!("https://orders.test/other")))
        .refuses("another host", "`htu`", claim("htu", json!("https://other.test/things")))
        .refuses("another scheme", "`htu`", claim("htu", json!("http://orders.test/things")))
        .refuses("older than a minute", "token.dpop_time", claim("iat", json!(NOW_S - 61)))
        .refuses("of the future", "token.dpop_time", claim("iat", json!(NOW_S + 61)))
        .refuses("no id", "no `jti`", || {
            proven(|_, claims| drop(claims.as_object_mut().map(|members| members.remove("jti"))))
        })
        .refuses("an endless id", "`jti`", claim("jti", json!("x".repeat(257))))
        .refuses("another token", "token.dpop_token", claim("ath", json!(base64url([0; 32]))))
        .refuses("a key that the token does not name", "token.dpop_key", || {
            proven_by(&Key::new(), &Key::of_holder().thumbprint(), Nonce::Any, |_, _| {})
        })
        .refuses("an old nonce", "token.dpop_nonce", || {
            let holder = Key::of_holder();
            let given = ["n2".to_owned()];
            let nonce = Nonce::OneOf(&given);
            proven_by(holder, &holder.thumbprint(), nonce, |_, claims| claims["nonce"] = json!("n1"))
        })
        .refuses("a token that is bound to no key", "token.binding", || {
            let claims = proof::access_token(None)?;
            let request = dpop::Request {
                method: "GET",
                uri: "https://orders.test/things",
                spell: &|uri| Some(uri.to_owned()),
                nonce: Nonce::Any,
            };
            Ok::<_, Refused>(dpop::verify("", &claims, &request, proof::now())?)
        })
}
