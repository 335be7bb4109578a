//! Tokens of OAuth issuers: JOSE, JWT, and what is built on them.

mod claims;
mod header;
mod keys;
mod transactions;

use postern_identity::token::Claims;
use serde_json::Value;

use crate::Row;
use crate::kit::token::{Refused, access};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = header::rows();
    rows.extend(claims::rows());
    rows.extend(keys::rows());
    rows.push(transactions::row());
    rows.extend(super::open::jt());
    rows
}

fn with_header(name: &'static str, value: Value) -> impl Fn() -> Result<Claims, Refused> {
    move || access().header(name, value.clone()).verify()
}

fn with_claim(name: &'static str, value: Value) -> impl Fn() -> Result<Claims, Refused> {
    move || access().claim(name, value.clone()).verify()
}

/// A true signature over any header and payload.
fn with_bytes(header: &'static str, payload: &'static str) -> impl Fn() -> Result<Claims, Refused> {
    move || access().verify_text(&access().signer.mint(header, payload))
}

/// The right token's text, bent by hand.
fn with_text(bend: impl Fn(&str) -> String) -> impl Fn() -> Result<Claims, Refused> {
    move || access().verify_text(&bend(&access().compact()))
}
