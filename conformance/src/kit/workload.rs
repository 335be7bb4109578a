//! A workload that names itself and proves it: both tokens, right, to be bent one rule at a time.

use std::fmt;
use std::sync::Arc;

use postern_identity::TrustDomain;
use postern_identity::pop::workload::{Presented, Target, Workload, WorkloadError, verify};
use postern_identity::token::KeySet;
use serde_json::{Value, json};

use super::proof::{Key, NOW_S, now, sha256};

/// Why a request was refused, with the code in front.
pub(crate) struct Refused(WorkloadError);

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.0.code(), self.0)
    }
}

/// A request with a workload's two tokens.
pub(crate) struct Request {
    /// The bundle document of `example.org`.
    pub(crate) bundle: Value,
    pub(crate) header: Value,
    pub(crate) claims: Value,
    pub(crate) proof_header: Value,
    /// `wth` is filled in unless it is there.
    pub(crate) proof: Value,
    /// Who signs the proof.
    pub(crate) signer: &'static Key,
    pub(crate) access_token: Option<&'static str>,
    pub(crate) transaction_token: Option<&'static str>,
}

impl Request {
    pub(crate) fn new() -> Self {
        let mut authority = Key::of_issuer().jwk();
        (authority["kid"], authority["use"]) = (json!("a1"), json!("wit-svid"));
        let mut confirmed = Key::of_holder().jwk();
        confirmed["alg"] = json!("ES256");
        Self {
            bundle: json!({ "keys": [authority] }),
            header: json!({"alg": "ES256", "typ": "wit+jwt", "kid": "a1"}),
            claims: json!({
                "sub": "spiffe://example.org/web", "exp": NOW_S + 600, "cnf": {"jwk": confirmed},
            }),
            proof_header: json!({"alg": "ES256", "typ": "wpt+jwt"}),
            proof: json!({"aud": "https://orders.test/things", "exp": NOW_S + 60, "jti": "1"}),
            signer: Key::of_holder(),
            access_token: None,
            transaction_token: None,
        }
    }

    pub(crate) fn identity(&self) -> String {
        Key::of_issuer().sign(&self.header, &self.claims)
    }

    pub(crate) fn verify(&self) -> Result<Workload, Refused> {
        let identity = self.identity();
        let mut proof = self.proof.clone();
        if proof.get("wth").is_none() {
            proof["wth"] = json!(sha256(&identity));
        }
        self.verify_with(&identity, &self.signer.sign(&self.proof_header, &proof))
    }

    pub(crate) fn verify_with(&self, identity: &str, proof: &str) -> Result<Workload, Refused> {
        let presented = Presented {
            identity,
            proof,
            access_token: self.access_token,
            transaction_token: self.transaction_token,
        };
        let authorities = ["https://orders.test".to_owned()];
        let target =
            Target { authorities: &authorities, path: "/things", spell: &|uri| Some(uri.to_owned()) };
        let keys = Arc::new(KeySet::parse_wit_bundle(self.bundle.to_string().as_bytes()).unwrap());
        let of = |domain: &TrustDomain| (domain.as_str() == "example.org").then(|| Arc::clone(&keys));
        verify(&presented, &target, &of, now()).map_err(Refused)
    }
}
