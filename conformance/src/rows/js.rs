//! JWT-SVIDs.

mod federated;

use postern_identity::token::{Algorithm, Claims, KeySet, Profile};
use serde_json::{Value, json};

use crate::kit::token::{
    NOW_S, Refused, access, authority, base64url, generic, signer, stranger, svid, terms,
};
use crate::{Row, row};
use federated::{Served, Token};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = header();
    rows.extend(claims());
    rows.extend(keys());
    rows
}

fn with_header(name: &'static str, value: Value) -> impl Fn() -> Result<Claims, Refused> {
    move || svid().header(name, value.clone()).verify()
}

fn with_claim(name: &'static str, value: Value) -> impl Fn() -> Result<Claims, Refused> {
    move || svid().claim(name, value.clone()).verify()
}

fn with_algorithm(name: &'static str) -> impl Fn() -> Result<Claims, Refused> {
    move || svid().signed_with(name).verify()
}

/// A JSON serialisation of a JWS with a true signature (RFC 7515 §7.2).
fn json_serialisation(flattened: bool) -> String {
    let compact = svid().compact();
    let mut parts = compact.split('.').map(str::to_owned);
    let mut next = || parts.next().unwrap();
    let (protected, payload, signature) = (next(), next(), next());
    let signed = json!({"protected": protected, "signature": signature});
    match flattened {
        true => json!({"payload": payload, "protected": protected, "signature": signed["signature"]}),
        false => json!({"payload": payload, "signatures": [signed]}),
    }
    .to_string()
}

fn header() -> Vec<Row> {
    vec![
        row("JS-01", "JWS compact serialisation only", "JWT-SVID §1, §2, §5.1")
            .accepts("three segments", || svid().verify())
            .refuses("JSON, general", "token.malformed", || svid().verify_text(&json_serialisation(false)))
            .refuses("JSON, flattened", "token.malformed", || svid().verify_text(&json_serialisation(true)))
            .refuses("JWE, five segments", "token.malformed", || {
                let header = base64url(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
                svid().verify_text(&format!("{header}.AA.AA.AA.AA"))
            })
            .refuses("two segments", "token.malformed", || svid().verify_text("e30.e30")),
        row("JS-02", "the nine algorithms, no other", "JWT-SVID §2.1, §4")
            .accepts("RS256", with_algorithm("RS256"))
            .accepts("RS384", with_algorithm("RS384"))
            .accepts("RS512", with_algorithm("RS512"))
            .accepts("PS256", with_algorithm("PS256"))
            .accepts("PS384", with_algorithm("PS384"))
            .accepts("PS512", with_algorithm("PS512"))
            .accepts("ES256", with_algorithm("ES256"))
            .accepts("ES384", with_algorithm("ES384"))
            .accepts("ES512", with_algorithm("ES512"))
            .refuses("EdDSA", "token.algorithm", with_algorithm("EdDSA"))
            .refuses("none", "token.algorithm", with_header("alg", json!("none")))
            .refuses("HS256", "token.algorithm", with_header("alg", json!("HS256")))
            .refuses("another case", "token.algorithm", with_header("alg", json!("es256")))
            .refuses("none at all", "token.malformed", with_header("alg", Value::Null)),
        row("JS-03", "header has alg, kid, typ only", "JWT-SVID §2 (O)")
            .accepts("the three", || svid().verify())
            .refuses("jku", "`jku`", with_header("jku", json!("https://attacker.example/keys")))
            .refuses("jwk", "`jwk`", with_header("jwk", stranger().jwk.clone()))
            .refuses("x5c", "`x5c`", with_header("x5c", json!(["AA"])))
            .refuses("x5u", "`x5u`", with_header("x5u", json!("https://attacker.example/c")))
            .refuses("one that nobody knows", "`x-new`", with_header("x-new", json!(1)))
            .refuses("crit", "token.crit", with_header("crit", json!(["exp"]))),
        row("JS-04", "typ is JWT, JOSE or absent", "JWT-SVID §2.3")
            .accepts("JWT", with_header("typ", json!("JWT")))
            .accepts("JOSE", with_header("typ", json!("JOSE")))
            .accepts("absent", with_header("typ", Value::Null))
            .refuses("another case", "token.type", with_header("typ", json!("jwt")))
            .refuses("a media type", "token.type", with_header("typ", json!("application/jwt")))
            .refuses("not text", "token.malformed", with_header("typ", json!(["JWT"]))),
        row("JS-05", "kid is required", "JWT-SVID §2.2 (O)")
            .accepts("the key's name", || svid().verify())
            .refuses("none", "`kid`", with_header("kid", Value::Null))
            .refuses("another name", "token.key_unknown", with_header("kid", json!("k2"))),
    ]
}

fn claims() -> Vec<Row> {
    vec![
        row("JS-06", "sub is a workload's SPIFFE ID", "JWT-SVID §3.1 (O)")
            .accepts("with a path", || svid().verify())
            .refuses("without a path", "not a workload", with_claim("sub", json!("spiffe://example.org")))
            .refuses("not a SPIFFE ID", "token.claims", with_claim("sub", json!("alice")))
            .refuses(
                "one that needs repair",
                "token.claims",
                with_claim("sub", json!("SPIFFE://example.org/a")),
            )
            .refuses("none", "token.claims", with_claim("sub", Value::Null)),
        row("JS-07", "aud is there and names us", "JWT-SVID §3.2")
            .accepts("a list with us", with_claim("aud", json!(["x", "orders"])))
            .refuses("none", "`aud`", with_claim("aud", Value::Null))
            .refuses("an empty list", "token.audience", with_claim("aud", json!([])))
            .refuses("others", "token.audience", with_claim("aud", json!(["x", "order"]))),
        row("JS-08", "exp is there and to come", "JWT-SVID §3.3, App. A")
            .accepts("to come", with_claim("exp", json!(NOW_S + 1)))
            .accepts("past within the leeway", with_claim("exp", json!(NOW_S - 4)))
            .refuses("past", "token.expired", with_claim("exp", json!(NOW_S - 5)))
            .refuses("none", "`exp`", with_claim("exp", Value::Null)),
        row("JS-11", "nbf, iat, iss, jti hold when there", "JWT-SVID §3, RFC 7519 §4.1")
            .accepts("all three", || {
                let then = json!(NOW_S - 1);
                svid().claim("nbf", then.clone()).claim("iat", then).claim("jti", json!("1")).verify()
            })
            .refuses("nbf to come", "token.not_yet_valid", with_claim("nbf", json!(NOW_S + 6)))
            .refuses("iat to come", "token.not_yet_valid", with_claim("iat", json!(NOW_S + 6)))
            .refuses("nbf as text", "token.claims", with_claim("nbf", json!("0")))
            .refuses("iss as a number", "token.claims", with_claim("iss", json!(1)))
            .refuses("jti as a number", "token.claims", with_claim("jti", json!(1))),
        row("JS-12", "a bearer token that no log holds", "JWT-SVID §5.2 (S) (O)")
            .accepts("the token without its scheme", || svid().verify())
            .accepts("what is kept of it is a hash", || {
                let claims = svid().verify().map_err(|error| error.to_string())?;
                lacks(&format!("{claims:?}"), &svid().compact())
            })
            .accepts("what is said of a refused one", || {
                let token = svid().claim("exp", json!(1));
                lacks(&format!("{:?}", token.verify()), &token.compact())
            })
            .refuses("the scheme as part of it", "token.malformed", || {
                svid().verify_text(&format!("Bearer {}", svid().compact()))
            }),
        row("JS-13", "never for another kind of token", "RFC 8725 §3.11, §3.12")
            .accepts("a JWT-SVID where one is expected", || svid().verify())
            .refuses("at+jwt for one", "token.type", with_header("typ", json!("at+jwt")))
            .refuses("wit+jwt for one", "token.type", with_header("typ", json!("wit+jwt")))
            .refuses("one for an access token", "token.type", || {
                let mut token = svid().claim("iss", json!(access().claims["iss"])).key("use", Value::Null);
                token.issuer = access().issuer;
                token.verify()
            })
            .refuses("one for another issuer's", "token.claims", || {
                let mut token = svid();
                token.issuer = generic().issuer;
                token.verify()
            }),
    ]
}

/// Neither the token nor its signature stands in a text.
fn lacks(text: &str, token: &str) -> Result<(), String> {
    let found = token.split('.').any(|segment| text.contains(segment));
    if found { Err("it holds a segment of the token".to_owned()) } else { Ok(()) }
}

fn bundle(keys: &[Value]) -> KeySet {
    KeySet::parse_spiffe_bundle(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn some(set: &KeySet) -> Result<(), String> {
    if set.is_empty() { Err("no key is left".to_owned()) } else { Ok(()) }
}

fn keys() -> Vec<Row> {
    let es256 = || signer("ES256");
    vec![
        row("JS-09", "keys of the subject's domain", "Workload_API §6.3, Bundle §4.2.2")
            .accepts("use jwt-svid", move || some(&bundle(&[authority(es256(), "k1")])))
            .accepts("a token that they signed", || svid().verify())
            .accepts("a federated domain's", || federated::ask(Token::Theirs, Served::Bundle))
            .accepts("ours beside one", || federated::ask(Token::Ours, Served::Bundle))
            .accepts("ours beside one without a bundle", || federated::ask(Token::Ours, Served::Nonsense))
            .refuses("ours by a federated domain's key", "token.key_unknown", || {
                federated::ask(Token::OursByTheirKey, Served::Bundle)
            })
            .refuses("a federated domain's by our key", "token.key_unknown", || {
                federated::ask(Token::TheirsByOurKey, Served::Bundle)
            })
            .refuses("a federated domain's without its bundle", "keys.unavailable", || {
                federated::ask(Token::Theirs, Served::Nonsense)
            })
            .refuses("a subject of another domain", "token.claims", || {
                let mut token = svid().claim("iss", Value::Null);
                token.issuer = terms(Profile::JwtSvid("other.org".parse().unwrap()), &[Algorithm::Es256]);
                token.verify()
            })
            .refuses("a key of another domain", "token.signature", || {
                svid().keys(vec![authority(stranger(), "k1")]).verify()
            })
            .refuses("use x509-svid", "token.key_unknown", || svid().key("use", json!("x509-svid")).verify())
            .refuses("use sig", "token.key_unknown", || svid().key("use", json!("sig")).verify())
            .refuses("no use", "token.key_unknown", || svid().key("use", Value::Null).verify())
            .refuses("an empty bundle", "token.key_unknown", || svid().keys(Vec::new()).verify()),
        row("JS-10", "keys without kid are ignored", "JWT-SVID §6.1")
            .accepts("beside one that has a kid", move || {
                let mut nameless = authority(stranger(), "k1");
                nameless.as_object_mut().unwrap().remove("kid");
                svid().keys(vec![nameless, authority(es256(), "k1")]).verify()
            })
            .refuses("no kid", "token.key_unknown", || svid().key("kid", Value::Null).verify())
            .refuses("an empty kid", "token.key_unknown", || {
                svid().key("kid", json!("")).header("kid", json!("")).verify()
            }),
    ]
}
