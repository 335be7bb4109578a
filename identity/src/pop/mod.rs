//! Proofs of possession: that whoever brings a token holds the key that it was issued for. A token that is stolen
//! without that key is of no use.
//!
//! A proof is for one request: verifiers here say what it proves, and whoever asks them has to remember which proofs
//! were used already, see [`dpop::Proof::replay_key`].

pub mod dpop;
pub mod workload;

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::{Map, Value};

use crate::token::TokenError;

/// What the reader of tokens says against a proof; it speaks of tokens.
fn problem(error: TokenError) -> String {
    if let TokenError::Malformed(problem) = error {
        return problem;
    }
    if let TokenError::Algorithm(name) = error {
        return format!("its algorithm `{name}` is not accepted");
    }
    error.to_string()
}

/// A required text member.
fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    match members.get(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("its `{name}` is not a string")),
        None => Err(format!("it has no `{name}`")),
    }
}

/// The longest `jti` of a proof in bytes.
const PROOF_ID_BYTES_MAX: usize = 256;

/// What tells a proof from all others of its key.
fn proof_id(members: &Map<String, Value>) -> Result<&str, String> {
    match text(members, "jti")? {
        "" => Err("its `jti` is empty".to_owned()),
        id if id.len() > PROOF_ID_BYTES_MAX => Err("its `jti` has more than 256 bytes".to_owned()),
        id => Ok(id),
    }
}

/// SHA-256 over some parts, each with its length before it, so that no two lists of parts have one digest.
fn digest_of(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}
