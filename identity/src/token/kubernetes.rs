//! Tokens of Kubernetes service accounts: what the API server signs for pods (TokenRequest, projected volumes).

use serde_json::{Map, Value};

use super::claims::{claim, required, wrong_type};
use super::verify::TokenError;

/// The claim that says which account, and mostly which pod, the token was made for.
const CLAIM: &str = "kubernetes.io";

/// `kubernetes.io` is there with every member of its type, and `sub` is the account that it describes: two readers of
/// one token must not see two accounts.
pub(super) fn check(claims: &Map<String, Value>, subject: Option<&str>) -> Result<(), TokenError> {
    let bound = required(claims.get(CLAIM), CLAIM)?.as_object().ok_or_else(|| wrong_type(CLAIM))?;
    let namespace = text(bound, "namespace")?;
    let account = object(bound, "serviceaccount")?
        .ok_or_else(|| claim(CLAIM, "names no service account: tokens of secrets are not taken"))?;
    let name = text(account, "name")?;
    text(account, "uid")?;
    for what in ["pod", "node", "secret"] {
        if let Some(reference) = object(bound, what)? {
            text(reference, "name")?;
            // A node may be named before it has an uid.
            if what != "node" || reference.contains_key("uid") {
                text(reference, "uid")?;
            }
        }
    }
    if bound.get("warnafter").is_some_and(|moment| !moment.is_u64()) {
        return Err(wrong_type(CLAIM));
    }
    let expected = format!("system:serviceaccount:{namespace}:{name}");
    match required(subject, "sub")? == expected {
        true => Ok(()),
        false => Err(claim("sub", "is another account than `kubernetes.io` describes")),
    }
}

fn object<'a>(of: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Map<String, Value>>, TokenError> {
    match of.get(name) {
        None => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(wrong_type(CLAIM)),
    }
}

/// A name or an identifier: there, a string, not empty, and without the colon that separates them in `sub`.
fn text<'a>(of: &'a Map<String, Value>, name: &str) -> Result<&'a str, TokenError> {
    match of.get(name) {
        Some(Value::String(text)) if !text.is_empty() && !text.contains(':') => Ok(text),
        Some(_) => Err(wrong_type(CLAIM)),
        None => Err(claim(CLAIM, "lacks a name or an uid")),
    }
}
