//! Who asks: the workload at the other end, and the token that it may use.

use std::sync::Arc;

use crate::pop::dpop::Proof;
use crate::token::{Claims, TokenError};
use crate::x509::chain::Peer;

/// A proven peer, and the verified claims of the token it sent, if it sent one; or nobody.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Principal {
    /// The workload; none where the caller has proven nothing, and then there are no claims either.
    pub peer: Option<Arc<Peer>>,
    /// The claims of its token.
    pub claims: Option<Arc<Claims>>,
    /// What a transaction token says of the call. It is not the caller's and proves nothing about it.
    pub transaction: Option<Arc<Claims>>,
}

impl Principal {
    /// Who has proven nothing.
    pub fn nobody() -> Self {
        Self { peer: None, claims: None, transaction: None }
    }

    /// Joins the two, when the token may be used by this peer: a token that is bound to a certificate (RFC 8705 §3)
    /// counts only on a connection with that certificate. It has to be asked for each request, even when the token's
    /// verification was remembered.
    ///
    /// # Errors
    /// [`TokenError::Binding`] when the token is bound to another certificate, [`TokenError::ProofMissing`] when it is
    /// bound to a key.
    pub fn new(peer: Arc<Peer>, claims: Option<Arc<Claims>>) -> Result<Self, TokenError> {
        if let Some(claims) = &claims {
            claims.check_binding(&peer, None)?;
        }
        Ok(Self { peer: Some(peer), claims, transaction: None })
    }

    /// Adds the claims of a verified transaction token.
    ///
    /// # Errors
    /// [`TokenError::Binding`] when it is bound to another certificate, or to any where there is no peer, [`TokenError::ProofMissing`] when it is bound to a
    /// key.
    pub fn with_transaction(mut self, transaction: Option<Arc<Claims>>) -> Result<Self, TokenError> {
        match (&transaction, &self.peer) {
            (None, _) => {}
            (Some(claims), Some(peer)) => claims.check_binding(peer, None)?,
            (Some(_), None) => {
                return Err(TokenError::Binding("the caller has proven nothing that it could be bound to"));
            }
        }
        self.transaction = transaction;
        Ok(self)
    }

    /// The same with the proof of the key that the token is bound to (RFC 9449), which came with this request.
    ///
    /// # Errors
    /// [`TokenError::Binding`] when the token is bound to another certificate, or the proof is for another token.
    pub fn proven(peer: Arc<Peer>, claims: Arc<Claims>, proof: &Proof) -> Result<Self, TokenError> {
        claims.check_binding(&peer, Some(proof))?;
        Ok(Self { peer: Some(peer), claims: Some(claims), transaction: None })
    }
}
