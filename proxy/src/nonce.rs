//! What proofs of possession have to hold where nobody may make them in advance (RFC 9449 §9).
//!
//! A nonce is a keyed digest of the time, in periods of five minutes: nothing is remembered, every worker gives out and
//! knows the same, and nobody can tell the next one. The key lives as long as the process.
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand::SystemRandom;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// How long a nonce is the one that is given out; for as long again it is still taken.
const PERIOD_S: u64 = 300;
/// Of the digest.
const NONCE_BYTES: usize = 16;

/// The nonces of this process.
#[derive(Debug)]
pub struct Nonces(hmac::Key);

impl Nonces {
    /// With a new key.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub(crate) fn new() -> Result<Self, Unspecified> {
        Ok(Self(hmac::Key::generate(HMAC_SHA256, &SystemRandom::new())?))
    }

    /// The one to give out.
    pub(crate) fn current(&self, now_s: u64) -> String {
        self.of_period(now_s / PERIOD_S)
    }

    /// Those that are taken: the one that is given out, and the one before.
    pub(crate) fn accepted(&self, now_s: u64) -> [String; 2] {
        let period = now_s / PERIOD_S;
        [self.of_period(period), self.of_period(period.saturating_sub(1))]
    }

    fn of_period(&self, period: u64) -> String {
        let digest = hmac::sign(&self.0, &period.to_be_bytes());
        URL_SAFE_NO_PAD.encode(digest.as_ref().get(..NONCE_BYTES).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_taken_in_its_period_and_the_next() {
        let nonces = Nonces::new().unwrap();
        let given = nonces.current(600);
        assert_eq!(given.len(), 22);
        for (now_s, is_taken) in [(599, false), (600, true), (899, true), (1199, true), (1200, false)] {
            assert_eq!(nonces.accepted(now_s).contains(&given), is_taken, "{now_s}");
        }
        assert!(!Nonces::new().unwrap().accepted(600).contains(&given), "another process has its own");
    }
}
