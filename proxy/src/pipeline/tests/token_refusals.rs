//! What a caller hears about its token, and about keys that are not there.
use super::world::World;
use super::{ALLOW, text};
use crate::state::Tokens;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_identity::token::{Algorithm, Issuer, KeySet};
use std::sync::Arc;

const ISSUER: &str = "https://idp.test";
/// RFC 8037 appendix A.2.
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// A token that nobody has signed.
fn unsigned(header: &str) -> String {
    let encode = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"iss":"{ISSUER}"}}"#);
    format!("{}.{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()), encode(&[0; 64]))
}

/// With these keys of the issuer, a request with this field is answered so, and the log says why.
fn check(keys: Option<&str>, field: &str, expected: (u16, Option<&str>, &str)) {
    check_at("/told/x", keys, field, expected);
}

/// The same at another target.
fn check_at(
    target: &str,
    keys: Option<&str>,
    field: &str,
    (status, challenge, reason): (u16, Option<&str>, &str),
) {
    let issuers = "tokens: [{ issuer: https://idp.test, audiences: [a], algorithms: [EdDSA], keys: { file: /nowhere } }]\npolicy:";
    let changes = [("policy:", issuers), ("explain: detail", "explain: detail, tokens: required")];
    let world = World::configured(Some(ALLOW), &changes);
    let issuer = Issuer::new(ISSUER.to_owned(), vec!["a".to_owned()], vec![Algorithm::EdDsa]).unwrap();
    let keys = keys.map(|keys| Arc::new(KeySet::parse(keys.as_bytes()).unwrap()));
    world.shared.publish(|next| {
        next.tokens = Arc::new(Tokens { issuers: vec![issuer], keys: vec![keys], generation: 1 });
    });
    let request = format!("GET {target} HTTP/1.1\nHost: a.test\n{field}\n");
    let seen = std::rc::Rc::clone(&world.seen);
    let (answer, records) = world.run(async |_, caller| caller.ask(&request).await);
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{field}: {answer}");
    let found = answer.lines().find_map(|line| line.strip_prefix("www-authenticate: "));
    assert_eq!(found, challenge, "{field}: {answer}");
    assert!(records.iter().any(|record| text(record, "reason") == reason), "{field}: {records:#?}");
    assert!(seen.borrow().is_empty(), "{field}: something went upstream");
    let log = serde_json::to_string(&records).unwrap();
    let token = field.split_whitespace().next_back().unwrap_or_default();
    assert!(token.len() < 20 || !log.contains(token), "{field}: the token stands in the log");
}

#[test]
fn a_token_is_refused_with_401_and_missing_keys_with_503() {
    let bearer = |header: &str| format!("Authorization: Bearer {}\n", unsigned(header));
    let wrong = Some("Bearer error=\"invalid_token\"");
    check(Some(KEYS), "", (401, Some("Bearer"), "token.missing"));
    check(Some(KEYS), "Authorization: Basic eDp5\n", (401, Some("Bearer"), "token.missing"));
    let right = r#"{"alg":"EdDSA","kid":"a","typ":"at+jwt"}"#;
    check(Some(KEYS), &bearer(right), (401, wrong, "token.signature"));
    check(Some(KEYS), &bearer(&right.replace("\"a\"", "\"b\"")), (401, wrong, "token.key_unknown"));
    check(Some(KEYS), &bearer(&right.replace("EdDSA", "none")), (401, wrong, "token.algorithm"));
    check(Some(KEYS), "Authorization: bearer x.y.z\n", (401, wrong, "token.malformed"));
    check(None, &bearer(right), (503, None, "keys.unavailable"));
}

#[test]
fn a_request_has_one_credential() {
    let token = unsigned(r#"{"alg":"EdDSA","kid":"a","typ":"at+jwt"}"#);
    let wrong = Some("Bearer error=\"invalid_token\"");
    let twice = format!("Authorization: Bearer {token}\nAuthorization: Bearer {token}\n");
    check(Some(KEYS), &twice, (401, wrong, "token.multiple"));
    let listed = format!("Authorization: Bearer {token}, Bearer {token}\n");
    check(Some(KEYS), &listed, (401, wrong, "token.malformed"));
    let once = format!("Authorization: Bearer {token}\n");
    for query in
        ["access_token=x", "a=1&access%5Ftoken=x", "access_token", "a;ACCESS_TOKEN=x", "%61ccess_token="]
    {
        check_at(&format!("/told/x?{query}"), Some(KEYS), &once, (401, wrong, "token.multiple"));
    }
    for query in ["access_tokens=x", "a=access_token", "access%5", "%zzaccess_token"] {
        check_at(&format!("/told/x?{query}"), Some(KEYS), &once, (401, wrong, "token.signature"));
    }
    check_at("/told/x?access_token=x", Some(KEYS), "", (401, Some("Bearer"), "token.missing"));
    check(Some(KEYS), &format!("Authorization: Bearer  {token}\n"), (401, wrong, "token.malformed"));
    check(Some(KEYS), &format!("Authorization: BEARER {token}\n"), (401, wrong, "token.signature"));
}

#[test]
fn a_token_that_points_to_keys_or_is_very_deep_is_judged_like_any_other() {
    let wrong = Some("Bearer error=\"invalid_token\"");
    let bearer = |header: &str| format!("Authorization: Bearer {}\n", unsigned(header));
    for pointer in ["jku", "x5u"] {
        let header =
            format!(r#"{{"alg":"EdDSA","kid":"b","typ":"at+jwt","{pointer}":"http://127.0.0.1:1/k"}}"#);
        check(Some(KEYS), &bearer(&header), (401, wrong, "token.key_unknown"));
    }
    let deep = format!(r#"{{"alg":"EdDSA","x":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
    check(Some(KEYS), &bearer(&deep), (401, wrong, "token.malformed"));
}
