//! An issuer of bearer tokens for the in-box world.
use super::world::{BEGINNING_S, World};
use crate::state::Tokens;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use postern_identity::token::{Algorithm, Issuer, KeySet, Profile};
use serde_json::{Value, json};
use std::sync::Arc;

/// An issuer with one key.
pub(super) struct TestIssuer(EcdsaKeyPair);

fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl TestIssuer {
    pub(super) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// Its public keys as a JWK set.
    fn jwks(&self) -> Value {
        // An uncompressed point: 4, x, y.
        let point = self.0.public_key().as_ref();
        let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256", "x": x, "y": y}]})
    }

    /// A token with these claims besides its issuer and audience.
    pub(super) fn token(&self, claims: &Value) -> String {
        let mut all = json!({"iss": "https://idp.test", "aud": "app"});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        self.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": "k1"}), &all)
    }

    fn sign(&self, header: &Value, all: &Value) -> String {
        let signed =
            format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(all.to_string().as_bytes()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64url(signature.as_ref()))
    }

    /// A transaction token with these claims besides those that it must have.
    pub(super) fn transaction_token(&self, claims: &Value) -> String {
        let exp = BEGINNING_S + 60;
        let mut all = json!({
            "iss": "https://txn.test", "aud": "example.org", "txn": "1", "sub": "alice", "scope": "s", "req_wl": "w",
            "iat": BEGINNING_S, "exp": exp,
        });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        self.sign(&json!({"alg": "ES256", "typ": "txntoken+jwt", "kid": "k1"}), &all)
    }

    /// Has a world accept its transaction tokens, and nobody's bearer tokens.
    pub(super) fn transactions_accepted_by(&self, world: &World) {
        let issuer = Issuer::new(
            "https://txn.test".to_owned(),
            vec!["example.org".to_owned()],
            vec![Algorithm::Es256],
        );
        let issuer = issuer.unwrap().with_profile(Profile::TransactionToken).unwrap();
        world.shared.publish(|next| {
            next.tokens = Arc::new(Tokens { issuers: vec![issuer], keys: vec![self.keys()], generation: 1 });
        });
    }

    /// Its keys as they are in force.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        Some(Arc::new(KeySet::parse(self.jwks().to_string().as_bytes()).unwrap()))
    }

    /// Has a world accept its tokens.
    pub(super) fn accepted_by(&self, world: &World) {
        let issuer =
            Issuer::new("https://idp.test".to_owned(), vec!["app".to_owned()], vec![Algorithm::Es256]);
        let issuer = issuer.unwrap().with_profile(Profile::Generic).unwrap();
        world.shared.publish(|next| {
            next.tokens = Arc::new(Tokens { issuers: vec![issuer], keys: vec![self.keys()], generation: 1 });
        });
    }
}
