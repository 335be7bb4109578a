//! From whom tokens are taken, and on what terms.

use super::algorithm::Algorithm;
use super::claims::Binding;
use super::verify::TokenError;
use crate::id::TrustDomain;

/// The longest leeway, in seconds, that clocks may be apart.
pub const LEEWAY_S_MAX: u64 = 120;
/// The leeway, in seconds, unless another one is set.
pub const LEEWAY_S_DEFAULT: u64 = 5;
/// The largest token, in bytes, that any issuer may be allowed.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// The largest token, in bytes, unless another limit is set.
pub const TOKEN_BYTES_DEFAULT: usize = 8 * 1024;

/// The longest life of a Kubernetes service account's token, in seconds, unless another limit is set. The kubelet renews
/// them far more often; what lives longer is a token that somebody has made by hand.
pub const KUBERNETES_LIFETIME_S_DEFAULT: u64 = 24 * 3600;

/// What kind of token an issuer issues. It decides about the header, and about the claims that have to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// OAuth 2.0 access tokens (RFC 9068): `typ` is `at+jwt`, and `iss`, `exp`, `aud`, `sub`, `client_id`, `iat` and
    /// `jti` are there.
    AccessToken,
    /// Issuers that mark their access tokens `JWT` or not at all. A token marked as something else is still refused.
    Generic,
    /// SVIDs of this trust domain (JWT-SVID): chosen by the subject's trust domain, not by `iss`.
    JwtSvid(TrustDomain),
    /// Tokens of Kubernetes service accounts, as a cluster projects them into pods: `typ` is `JWT` or absent, `sub` is
    /// the account that the claim `kubernetes.io` describes, `iat` is there, and no token lives longer than
    /// [`KUBERNETES_LIFETIME_S_DEFAULT`] unless another limit is set.
    KubernetesServiceAccount,
    /// Transaction tokens (draft-ietf-oauth-transaction-tokens §5): `typ` is `txntoken+jwt`, and `txn`, `sub`, `scope`,
    /// `req_wl`, `iat`, `aud` and `exp` are there. They say on whose behalf a chain of calls goes on; they are nobody's
    /// credential, and [`super::verify`] takes none of them.
    TransactionToken,
}

/// What the tokens of an issuer must be bound to, so that a stolen one is of no use. What a token says it is bound to is
/// asked for in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SenderConstraint {
    /// Nothing.
    #[default]
    None,
    /// The certificate of the connection (RFC 8705 §3).
    Mtls,
    /// A key that proves each request (RFC 9449).
    Dpop,
    /// One of the two.
    Any,
}

impl SenderConstraint {
    pub(super) fn check(self, binding: &Binding) -> Result<(), TokenError> {
        let (to_certificate, to_key) = (binding.certificate.is_some(), binding.key.is_some());
        match self {
            Self::Mtls if !to_certificate => {
                Err(TokenError::Binding("its issuer's tokens must be bound to a certificate"))
            }
            Self::Dpop if !to_key => Err(TokenError::Binding("its issuer's tokens must be bound to a key")),
            Self::Any if !to_certificate && !to_key => {
                Err(TokenError::Binding("its issuer's tokens must be bound to a certificate or a key"))
            }
            Self::None | Self::Mtls | Self::Dpop | Self::Any => Ok(()),
        }
    }
}

/// Why an issuer's terms make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// An empty issuer would match a token with an empty `iss`.
    #[error("the issuer is empty")]
    IssuerEmpty,
    /// RFC 8725 §3.9: tokens for others are not for us.
    #[error("no audience is named for the issuer `{0}`")]
    NoAudience(String),
    /// RFC 8725 §3.1.
    #[error("no algorithm is allowed for the issuer `{0}`")]
    NoAlgorithm(String),
    /// JWT-SVID §2.1.
    #[error("the algorithm `{algorithm}` is not one of JWT-SVIDs, which `{issuer}` issues")]
    Algorithm {
        /// Whose terms.
        issuer: String,
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// A build with the feature `fips` verifies nothing by what its module does not approve.
    #[error("the algorithm `EdDSA` of `{0}` is not approved in the FIPS module of this build")]
    NotFips(String),
    /// More than [`LEEWAY_S_MAX`].
    #[error("a leeway of {0} s is too long, at most 120 s are allowed")]
    Leeway(u64),
    /// More than [`TOKEN_BYTES_MAX`], or nothing.
    #[error("a token limit of {0} bytes is not between 1 and 16384")]
    TokenBytes(usize),
}

/// An issuer of tokens and its terms. Two issuers never share keys: a key is found by issuer first, then by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) profile: Profile,
    pub(super) leeway_s: u64,
    pub(super) lifetime_s_max: Option<u64>,
    pub(super) token_bytes_max: usize,
    pub(super) sender_constraint: SenderConstraint,
}

impl Issuer {
    /// An issuer by its exact `iss`, the audiences that are ours, and the algorithms that it signs with; with the
    /// profile [`Profile::AccessToken`], a leeway of 5 s and tokens of at most 8 KiB.
    ///
    /// # Errors
    /// When one of the three is empty.
    pub fn new(
        issuer: String,
        audiences: Vec<String>,
        algorithms: Vec<Algorithm>,
    ) -> Result<Self, IssuerError> {
        if issuer.is_empty() {
            return Err(IssuerError::IssuerEmpty);
        }
        if audiences.is_empty() || audiences.iter().any(String::is_empty) {
            return Err(IssuerError::NoAudience(issuer));
        }
        if algorithms.is_empty() {
            return Err(IssuerError::NoAlgorithm(issuer));
        }
        if crate::tls::IS_FIPS && algorithms.contains(&Algorithm::EdDsa) {
            return Err(IssuerError::NotFips(issuer));
        }
        Ok(Self {
            issuer,
            audiences,
            algorithms,
            profile: Profile::AccessToken,
            leeway_s: LEEWAY_S_DEFAULT,
            lifetime_s_max: None,
            token_bytes_max: TOKEN_BYTES_DEFAULT,
            sender_constraint: SenderConstraint::None,
        })
    }

    /// Another kind of token.
    ///
    /// # Errors
    /// When an algorithm is not one of the profile.
    pub fn with_profile(mut self, profile: Profile) -> Result<Self, IssuerError> {
        if let Profile::JwtSvid(_) = profile
            && let Some(algorithm) = self.algorithms.iter().find(|algorithm| !algorithm.is_of_jwt_svid())
        {
            return Err(IssuerError::Algorithm { algorithm: *algorithm, issuer: self.issuer });
        }
        if profile == Profile::KubernetesServiceAccount {
            self.lifetime_s_max = self.lifetime_s_max.or(Some(KUBERNETES_LIFETIME_S_DEFAULT));
        }
        self.profile = profile;
        Ok(self)
    }

    /// How far apart clocks may be, in seconds, at most [`LEEWAY_S_MAX`].
    ///
    /// # Errors
    /// When it is longer.
    pub fn with_leeway_s(mut self, leeway_s: u64) -> Result<Self, IssuerError> {
        if leeway_s > LEEWAY_S_MAX {
            return Err(IssuerError::Leeway(leeway_s));
        }
        self.leeway_s = leeway_s;
        Ok(self)
    }

    /// The longest life of a token, from `iat` to `exp`, in seconds; a token without `iat` is then refused.
    #[must_use]
    pub fn with_lifetime_s_max(mut self, lifetime_s_max: u64) -> Self {
        self.lifetime_s_max = Some(lifetime_s_max);
        self
    }

    /// The largest token in bytes, at most [`TOKEN_BYTES_MAX`].
    ///
    /// # Errors
    /// When it is larger or 0.
    pub fn with_token_bytes_max(mut self, token_bytes_max: usize) -> Result<Self, IssuerError> {
        if token_bytes_max == 0 || token_bytes_max > TOKEN_BYTES_MAX {
            return Err(IssuerError::TokenBytes(token_bytes_max));
        }
        self.token_bytes_max = token_bytes_max;
        Ok(self)
    }

    /// Whether it issues transaction tokens, which are for [`super::verify_transaction`].
    #[must_use]
    pub fn is_of_transactions(&self) -> bool {
        self.profile == Profile::TransactionToken
    }

    /// The trust domain whose SVIDs these are, for an issuer of JWT-SVIDs.
    #[must_use]
    pub fn trust_domain(&self) -> Option<&TrustDomain> {
        match &self.profile {
            Profile::JwtSvid(trust_domain) => Some(trust_domain),
            Profile::AccessToken
            | Profile::Generic
            | Profile::KubernetesServiceAccount
            | Profile::TransactionToken => None,
        }
    }

    /// What its tokens must be bound to.
    #[must_use]
    pub fn with_sender_constraint(mut self, sender_constraint: SenderConstraint) -> Self {
        self.sender_constraint = sender_constraint;
        self
    }

    /// The exact `iss`; for JWT-SVIDs the name under which the issuer is configured.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}
