//! Transaction tokens.

use std::sync::Arc;
use std::time::Duration;

use postern_identity::UnixTime;
use postern_identity::token::{Algorithm, Claims, KeySet, Profile, verify_transaction};
use serde_json::{Value, json};

use crate::Row;
use crate::kit::token::{ISSUER, NOW_S, Refused, Token, access, stranger, terms};

/// A transaction token that is right.
fn transaction() -> Token {
    let mut token = access().header("typ", json!("txntoken+jwt"));
    token.issuer = terms(Profile::TransactionToken, &[Algorithm::Es256]);
    token.claims = json!({
        "iss": ISSUER, "aud": "orders", "txn": "97053963", "sub": "alice", "scope": "trade", "req_wl": "gateway",
        "iat": NOW_S - 10, "exp": NOW_S + 60, "tctx": {"action": "BUY"}, "rctx": {"req_ip": "192.0.2.1"},
    });
    token
}

/// As the header `Txn-Token` is judged.
fn judge(token: &Token) -> Result<Claims, Refused> {
    let document = token.keys.as_ref().unwrap().to_string();
    let set = Arc::new(KeySet::parse(document.as_bytes()).unwrap());
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW_S));
    let issuers = std::slice::from_ref(&token.issuer);
    verify_transaction(&token.compact(), issuers, &|_| Some(Arc::clone(&set)), now).map_err(Refused)
}

pub(super) fn row() -> Row {
    let with_claim =
        |name: &'static str, value: Value| move || judge(&transaction().claim(name, value.clone()));
    let row =
        crate::row("JT-17", "transaction tokens are no credential", "draft-ietf-oauth-transaction-tokens §5")
            .accepts("one in its own header", || judge(&transaction()))
            .accepts("one without iss, of the only issuer", with_claim("iss", Value::Null))
            .refuses("as a bearer token", "token.issuer", || transaction().verify())
            .refuses("as an access token", "token.type", || {
                let mut token = transaction();
                token.issuer = access().issuer;
                token.verify()
            })
            .refuses("an access token for one", "token.issuer", || judge(&access()))
            .refuses("another typ", "token.type", || judge(&transaction().header("typ", json!("JWT"))))
            .refuses("another trust domain's", "token.audience", with_claim("aud", json!("elsewhere")))
            .refuses("expired", "token.expired", with_claim("exp", json!(NOW_S - 5)))
            .refuses("a context that is text", "token.claims", with_claim("tctx", json!("BUY")))
            .refuses("another key", "token.signature", || {
                judge(&transaction().keys(vec![stranger().named("k1")]))
            });
    ["txn", "sub", "scope", "req_wl", "iat", "exp", "aud"]
        .into_iter()
        .fold(row, |row, name| row.refuses(name, "token.claims", with_claim(name, Value::Null)))
}
