//! Where the demo's JWT-SVIDs come from: one ES256 key, in memory.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_identity::{SpiffeId, UnixTime};
use serde_json::json;

pub(super) struct Authority {
    pair: EcdsaKeyPair,
    key_id: String,
}

impl Authority {
    pub(super) fn new() -> Result<Self, Unspecified> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let hash = digest(&SHA256, pair.public_key().as_ref());
        let key_id = encode(hash.as_ref().get(..12).ok_or(Unspecified)?);
        Ok(Self { pair, key_id })
    }

    /// JWT-SVID §§2 and 3.
    pub(super) fn mint(
        &self,
        id: &SpiffeId,
        audiences: &[String],
        ttl: Duration,
        now: UnixTime,
    ) -> Result<String, Unspecified> {
        let header = json!({ "alg": "ES256", "kid": self.key_id, "typ": "JWT" });
        let now = now.as_secs();
        let expires = now.saturating_add(ttl.as_secs());
        let claims = json!({ "sub": id.as_str(), "aud": audiences, "iat": now, "exp": expires });
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes())?;
        Ok(format!("{signed}.{}", encode(signature)))
    }

    /// The public key as a JWK set.
    pub(super) fn jwks(&self) -> String {
        // SEC 1 §2.3.3: 4, x, y.
        let (x, y) = self
            .pair
            .public_key()
            .as_ref()
            .get(1..)
            .unwrap_or_default()
            .split_at_checked(32)
            .unwrap_or_default();
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": self.key_id, "x": encode(x), "y": encode(y) }] }).to_string()
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
