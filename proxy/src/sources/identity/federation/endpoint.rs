//! One bundle endpoint: how it proves who it is, and one bounded fetch from it (SPIFFE_Federation §5.2).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use postern_identity::tls::{ExpectedPeers, Material, TlsError, client_config, verify_error};
use postern_identity::token::KeySetError;
use postern_identity::{
    BUNDLE_BYTES_MAX, BundleError, SpiffeId, TrustBundle, TrustBundles, TrustDomain, VerifyError, X509Svid,
};

use super::{Cause, Federated};
use crate::clock::{Clock, TlsTime};
use crate::config::url::{ControlUrl, Scheme, UrlError};
use crate::config::{EndpointProfile, EndpointProof, FederationConfig, Plaintext};
use crate::sources::fetch::{FetchError, Fetched, Fetcher};
use crate::sources::identity::files;
use crate::sources::watched_file::{self, FileError};

/// Redirects that are followed in one fetch.
const REDIRECTS_MAX: usize = 3;

/// Why no bundle is taken from an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Its file is not there.
    #[error("the bootstrap bundle: {0}")]
    BootstrapFile(#[from] FileError),
    /// Its file holds something else.
    #[error("the bootstrap bundle: {0}")]
    Bootstrap(#[source] BundleError),
    /// TLS cannot be set up.
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    /// There is no whole answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The server's certificate does not prove the SPIFFE ID that the endpoint must have.
    #[error("`{url}` does not prove that it is `{expected}`: {error}")]
    Server {
        /// Where.
        url: String,
        /// Who it should be.
        expected: SpiffeId,
        /// What is wrong with its certificate.
        error: VerifyError,
    },
    /// The endpoint is of another trust domain, of which there is no bundle.
    #[error("there is no bundle of `{0}` that could prove the endpoint: federate with it, too")]
    NoProof(TrustDomain),
    /// Any other status than 200 and redirects.
    #[error("`{url}` answered {status}")]
    Status {
        /// Where.
        url: String,
        /// What.
        status: u16,
    },
    /// A redirect to what is no bundle endpoint's URL (§5.2.1.1).
    #[error("`{url}` redirects to what no bundle endpoint may be: {reason}")]
    Redirect {
        /// Where.
        url: String,
        /// What is wrong with the target.
        reason: String,
    },
    /// One redirect after the other.
    #[error("`{0}` redirects more than {REDIRECTS_MAX} times")]
    Redirects(String),
    /// It took too long.
    #[error("`{url}` did not answer within {timeout:?}")]
    Timeout {
        /// Where.
        url: String,
        /// The limit.
        timeout: Duration,
    },
    /// What came is no bundle, or an earlier one.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// What came is no bundle, or has too many authorities of JWT-SVIDs.
    #[error("the authorities of JWT-SVIDs: {0}")]
    JwtKeys(#[from] KeySetError),
}

impl EndpointError {
    pub(super) fn cause(&self) -> Cause {
        match self {
            EndpointError::Bundle(_) | EndpointError::JwtKeys(_) => Cause::Refused,
            EndpointError::BootstrapFile(_)
            | EndpointError::Bootstrap(_)
            | EndpointError::Tls(_)
            | EndpointError::Fetch(_)
            | EndpointError::Server { .. }
            | EndpointError::NoProof(_)
            | EndpointError::Status { .. }
            | EndpointError::Redirect { .. }
            | EndpointError::Redirects(_)
            | EndpointError::Timeout { .. } => Cause::Unavailable,
        }
    }
}

/// A bundle endpoint.
#[derive(Debug)]
pub struct Endpoint {
    trust_domain: TrustDomain,
    url: String,
    proof: Proof,
    clock: Arc<dyn Clock>,
}

/// By what the endpoint is known.
#[derive(Debug)]
enum Proof {
    Web(Fetcher),
    SelfServing { endpoint: SpiffeId, bootstrap: TrustBundle, document: Vec<u8> },
    InForce { endpoint: SpiffeId },
}

impl Endpoint {
    /// From what is configured. Reads the files that are named.
    ///
    /// # Errors
    /// When one of them cannot be read, or holds something else.
    pub fn new(relationship: &FederationConfig, clock: Arc<dyn Clock>) -> Result<Self, EndpointError> {
        let proof = match &relationship.profile {
            EndpointProfile::HttpsWeb { trust_roots } => {
                let time = Arc::new(TlsTime(Arc::clone(&clock)));
                Proof::Web(Fetcher::new(trust_roots, Plaintext::LoopbackOnly, time)?)
            }
            EndpointProfile::HttpsSpiffe { endpoint, proof: EndpointProof::InForce } => {
                Proof::InForce { endpoint: endpoint.clone() }
            }
            EndpointProfile::HttpsSpiffe {
                endpoint,
                proof: EndpointProof::SelfServing { bootstrap_bundle },
            } => {
                let document = watched_file::read(bootstrap_bundle, BUNDLE_BYTES_MAX as u64)?;
                let bootstrap = files::bundle(endpoint.trust_domain().clone(), &document)
                    .map_err(EndpointError::Bootstrap)?;
                Proof::SelfServing { endpoint: endpoint.clone(), bootstrap, document }
            }
        };
        let FederationConfig { trust_domain, url, .. } = relationship.clone();
        Ok(Self { trust_domain, url, proof, clock })
    }

    /// The bootstrap bundle as it was read; empty where there is none.
    pub(super) fn bootstrap(&self) -> &[u8] {
        match &self.proof {
            Proof::SelfServing { document, .. } => document,
            Proof::Web(_) | Proof::InForce { .. } => &[],
        }
    }

    /// Fetches the bundle document. `latest` is the bundle that was fetched before, `in_force` the trust of everybody;
    /// `timeout` bounds all of it, redirects included.
    ///
    /// # Errors
    /// Everything but a whole document from an endpoint that has proven who it is.
    pub async fn fetch(
        &self,
        latest: Option<&TrustBundle>,
        in_force: &dyn Material,
        timeout: Duration,
    ) -> Result<Bytes, EndpointError> {
        let fetcher = self.fetcher(latest, in_force)?;
        match tokio::time::timeout(timeout, Box::pin(self.follow(&fetcher, timeout))).await {
            Ok(fetched) => fetched,
            Err(_elapsed) => Err(EndpointError::Timeout { url: redacted(&self.url), timeout }),
        }
    }

    /// Reads a document that came from here.
    ///
    /// # Errors
    /// When it is no bundle, or an earlier one than `latest`.
    pub fn bundle(&self, document: &[u8], latest: Option<&TrustBundle>) -> Result<Federated, EndpointError> {
        let brought = Federated::from_spiffe_json(self.trust_domain.clone(), document)?;
        if let Some(latest) = latest {
            brought.bundle.check_succeeds(latest)?;
        }
        Ok(brought)
    }

    /// The redirects of one fetch. The next fetch begins at the configured URL again (§5.2.1.4).
    async fn follow(&self, fetcher: &Fetcher, timeout: Duration) -> Result<Bytes, EndpointError> {
        let mut url = https(&self.url)?;
        for _ in 0..=REDIRECTS_MAX {
            let text = format!("https://{}{}", url.authority(), url.path_and_query);
            let headers = [("accept", "application/json")];
            let answer = fetcher.get(&text, &headers, BUNDLE_BYTES_MAX, timeout).await;
            let answer = answer.map_err(|error| self.explained(error, &url))?;
            match answer.status {
                200 => return Ok(answer.body),
                301 | 302 | 303 | 307 | 308 => url = target(&url, &answer)?,
                status => return Err(EndpointError::Status { url: url.redacted(), status }),
            }
        }
        Err(EndpointError::Redirects(redacted(&self.url)))
    }

    /// TLS towards the endpoint: by Web PKI, or as the X.509-SVID that it must have, proven by the newest bundle.
    fn fetcher(
        &self,
        latest: Option<&TrustBundle>,
        in_force: &dyn Material,
    ) -> Result<Fetcher, EndpointError> {
        let (endpoint, bundle) = match &self.proof {
            Proof::Web(fetcher) => return Ok(fetcher.clone()),
            Proof::SelfServing { endpoint, bootstrap, .. } => (endpoint, latest.unwrap_or(bootstrap).clone()),
            Proof::InForce { endpoint } => {
                let trust = in_force.trust();
                let bundle = trust.get(endpoint.trust_domain()).cloned();
                let no_proof = || EndpointError::NoProof(endpoint.trust_domain().clone());
                (endpoint, bundle.ok_or_else(no_proof)?)
            }
        };
        let mut trust = TrustBundles::default();
        trust.insert(bundle);
        let expected = ExpectedPeers::new(vec![endpoint.clone()], Vec::new())?;
        let material = Arc::new(ProofOfOne(Arc::new(trust)));
        let time = Arc::new(TlsTime(Arc::clone(&self.clock)));
        Ok(Fetcher::over(client_config(material, expected, time)?))
    }

    /// rustls hides what our verifier said.
    fn explained(&self, error: FetchError, url: &ControlUrl) -> EndpointError {
        let expected = match &self.proof {
            Proof::SelfServing { endpoint, .. } | Proof::InForce { endpoint } => endpoint,
            Proof::Web(_) => return error.into(),
        };
        let FetchError::Tls { error: cause, .. } = &error else { return error.into() };
        match verify_error(cause).cloned() {
            Some(error) => EndpointError::Server { url: url.redacted(), expected: expected.clone(), error },
            None => error.into(),
        }
    }
}

/// The bundle that proves an endpoint. We show nothing of ourselves: endpoints ask for no client certificate
/// (§5.2.2.3).
#[derive(Debug)]
struct ProofOfOne(Arc<TrustBundles>);

impl Material for ProofOfOne {
    fn trust(&self) -> Arc<TrustBundles> {
        Arc::clone(&self.0)
    }

    fn svid(&self) -> Option<Arc<X509Svid>> {
        None
    }
}

fn https(url: &str) -> Result<ControlUrl, FetchError> {
    let parsed = ControlUrl::parse(url)?;
    match parsed.scheme {
        Scheme::Https => Ok(parsed),
        Scheme::Http => Err(UrlError::Scheme { url: parsed.redacted(), scheme: "http".to_owned() }.into()),
    }
}

/// Where a redirect leads: the whole URL, or a path on the same server.
fn target(from: &ControlUrl, answer: &Fetched) -> Result<ControlUrl, EndpointError> {
    let refused = |reason: String| EndpointError::Redirect { url: from.redacted(), reason };
    let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| refused("it names none".to_owned()))?;
    let whole = if location.starts_with('/') && !location.starts_with("//") {
        format!("https://{}{location}", from.authority())
    } else {
        location.to_owned()
    };
    https(&whole).map_err(|error| refused(error.to_string()))
}

fn redacted(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}
