//! What issuers publish.

use postern_identity::token::{KeySet, jwks_uri};
use serde_json::{Value, json};

use crate::kit::token::{ISSUER, access, base64url, generic, signer, stranger};
use crate::{Row, row};

pub(super) fn rows() -> Vec<Row> {
    vec![sets(), thumbprints(), discovery()]
}

/// The right key among others.
fn beside(
    others: Vec<Value>,
) -> impl Fn() -> Result<postern_identity::token::Claims, crate::kit::token::Refused> {
    move || {
        let mut keys = others.clone();
        keys.push(signer("ES256").named("k1"));
        access().keys(keys).verify()
    }
}

fn sets() -> Row {
    let same_name = |strangers: usize| {
        let wrong = (0..strangers).map(|_| stranger().named("k1")).collect();
        beside(wrong)
    };
    row("JT-10", "bad keys are ignored one by one", "RFC 7517 §4.2-§4.5, §5")
        .accepts("beside an unknown type", beside(vec![json!({"kty": "new", "kid": "x"})]))
        .accepts("beside what is no key", beside(vec![json!(1), json!("x"), Value::Null, json!({})]))
        .accepts("beside a kid that is a number", beside(vec![json!({"kty": "EC", "kid": 5})]))
        .accepts("beside a list where text belongs", beside(vec![json!({"kty": ["EC"], "kid": "x"})]))
        .accepts("beside a key for encryption of the same name", || {
            let mut encryption = stranger().named("k1");
            encryption["use"] = json!("enc");
            beside(vec![encryption])()
        })
        .accepts("beside another type of the same name", beside(vec![signer("EdDSA").named("k1")]))
        .accepts("the second of the same name and type", same_name(1))
        .accepts("the fourth of the same name and type", same_name(3))
        .accepts("use sig", || access().key("use", json!("sig")).verify())
        .accepts("key_ops verify", || access().key("key_ops", json!(["verify"])).verify())
        .refuses("the fifth of the same name and type", "token.malformed", same_name(4))
        .refuses("use enc", "token.key_unknown", || {
            access().keys(vec![named_with("use", json!("enc")), stranger().named("k2")]).verify()
        })
        .refuses("key_ops without verify", "token.key_unknown", || {
            access().keys(vec![named_with("key_ops", json!(["sign"])), stranger().named("k2")]).verify()
        })
        .refuses("no key that is usable", "none of the 1 keys", || KeySet::parse(br#"{"keys":[{}]}"#))
        .refuses("no list of keys", "no member `keys`", || KeySet::parse(b"{}"))
        .refuses("65 keys", "at most 64", || {
            KeySet::parse(json!({"keys": vec![json!({}); 65]}).to_string().as_bytes())
        })
        .refuses("a name twice", "occurs twice", || KeySet::parse(br#"{"keys":[],"keys":[]}"#))
}

fn named_with(name: &str, value: Value) -> Value {
    let mut jwk = signer("ES256").named("k1");
    jwk[name] = value;
    jwk
}

/// RFC 7638 §3.1.
const MODULUS: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXj\
                       BZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAta\
                       Sqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPk\
                       sINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

fn thumbprint(jwk: &Value) -> Result<String, String> {
    let document = json!({"keys": [jwk]}).to_string();
    let set = KeySet::parse(document.as_bytes()).map_err(|error| error.to_string())?;
    set.thumbprints().next().map(base64url).ok_or_else(|| "no key".to_owned())
}

fn thumbprints() -> Row {
    let is = |jwk: Value, expected: &'static str| {
        move || match thumbprint(&jwk)? {
            found if found == expected => Ok(()),
            found => Err(format!("the thumbprint is {found}")),
        }
    };
    let rsa = json!({"kty": "RSA", "n": MODULUS, "e": "AQAB"});
    let dressed =
        json!({"kty": "RSA", "n": MODULUS, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29", "use": "sig"});
    let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    row("JT-11", "thumbprints of keys", "RFC 7638, RFC 8037 App. A.3")
        .accepts("RSA", is(rsa, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"))
        .accepts(
            "members that are not the key's own",
            is(dressed, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        )
        .accepts("Ed25519", is(okp, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"))
        .refuses("another spelling of a coordinate", "none of the 1 keys", || {
            let mut jwk = signer("ES256").jwk.clone();
            let x = format!("AA{}", jwk["x"].as_str().unwrap());
            jwk["x"] = json!(x);
            thumbprint(&jwk)
        })
}

fn discovery() -> Row {
    let of = |metadata: Value| move || jwks_uri(metadata.to_string().as_bytes(), ISSUER);
    let keys = "https://idp.example.org/keys";
    row("JT-15", "metadata are the issuer's own", "OpenID Connect Discovery §3, §4.3")
        .accepts("the same issuer", of(json!({"issuer": ISSUER, "jwks_uri": keys})))
        .accepts("an access token", || access().verify())
        .refuses("a slash more", "not of", of(json!({"issuer": format!("{ISSUER}/"), "jwks_uri": keys})))
        .refuses("another case", "not of", of(json!({"issuer": ISSUER.to_uppercase(), "jwks_uri": keys})))
        .refuses("a list of issuers", "not of", of(json!({"issuer": [ISSUER], "jwks_uri": keys})))
        .refuses("no issuer", "not of", of(json!({"jwks_uri": keys})))
        .refuses("no keys", "no `jwks_uri`", of(json!({"issuer": ISSUER})))
        .refuses("an issuer twice", "occurs twice", || {
            jwks_uri(format!(r#"{{"issuer":"x","issuer":"{ISSUER}"}}"#).as_bytes(), ISSUER)
        })
        .refuses("a page", "not JSON", || jwks_uri(b"<html>", ISSUER))
        .refuses("129 KiB", "131072", || jwks_uri(&vec![b' '; 129 * 1024], ISSUER))
        .refuses("an ID token for an access token", "token.type", || {
            let id_token = generic().claim("nonce", json!("n"));
            let mut access = access();
            access.keys = id_token.keys.clone();
            access.verify_text(&id_token.compact())
        })
}
