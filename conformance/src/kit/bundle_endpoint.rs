//! Bundle endpoints that serve what they are told, and our own client at the other end. Plain rustls and bytes by
//! hand: none of Postern's own code on the server's side.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_identity::tls::Material;
use postern_identity::{TrustBundle, TrustBundles, X509Svid};
use postern_proxy::config::{EndpointProfile, EndpointProof, FederationConfig, RevocationRule, TrustRoots};
use postern_proxy::demo::ca::Ca;
use postern_proxy::sources::identity::federation::{FederationUpdate, Pace, Surroundings, run};
use postern_proxy::sources::last_good::LastGood;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::workload_api::{clock, now};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom the cases federate with.
pub(crate) const FRIEND: &str = "friend.org";
/// Who its endpoint is.
pub(crate) const ENDPOINT: &str = "spiffe://friend.org/spire/server";

/// The answer that never comes.
pub(crate) const SILENCE: &str = "(silence)";

/// What a server shows.
pub(crate) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// The SVID of `id`.
pub(crate) fn svid(ca: &Ca, id: &str) -> Shown {
    let id = id.parse().expect("a SPIFFE ID");
    let issued = ca.issue(&id, Duration::from_secs(60), now()).expect("an SVID");
    Shown {
        chain: vec![issued.chain_der().clone()],
        key: PrivatePkcs8KeyDer::from(issued.key_pkcs8()).into(),
    }
}

/// A web authority, and what a server with a certificate for `name` shows.
pub(crate) fn web(name: &str, bend: impl FnOnce(&mut CertificateParams)) -> (String, Shown) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(vec![]).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = ca.self_signed(&ca_key).expect("a root");
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    bend(&mut params);
    let leaf = params.signed_by(&key, &issuer).expect("a leaf");
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    (root.pem(), Shown { chain: vec![leaf.der().clone()], key })
}

/// Expired long ago.
pub(crate) fn expired(params: &mut CertificateParams) {
    params.not_after = date_time_ymd(2000, 1, 1);
}

/// A server, and what it says to one request after the other; the last answer is repeated.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    tls: Arc<ServerConfig>,
    answers: Vec<String>,
    asked: usize,
}

impl Server {
    pub(crate) async fn start(shown: Shown, answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(State { tls: tls(shown), answers, asked: 0 }));
        let server = Self { address, state };
        drop(tokio::spawn(server.clone().serve(listener)));
        server
    }

    /// Shows another certificate from now on.
    pub(crate) fn show(&self, shown: Shown) {
        self.state.lock().expect("the state").tls = tls(shown);
    }

    /// Says something else from now on.
    pub(crate) fn say(&self, answer: String) {
        let mut state = self.state.lock().expect("the state");
        state.asked = 0;
        state.answers = vec![answer];
    }

    /// Requests since it last was told what to say.
    pub(crate) fn asked(&self) -> usize {
        self.state.lock().expect("the state").asked
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}/bundle", self.address.port())
    }

    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let server = self.clone();
            drop(tokio::spawn(async move {
                let tls = Arc::clone(&server.state.lock().expect("the state").tls);
                let Ok(mut stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    head.push(byte);
                }
                let answer = server.next();
                if answer == SILENCE {
                    return std::future::pending().await;
                }
                drop(stream.write_all(answer.as_bytes()).await);
                drop(stream.shutdown().await);
            }));
        }
    }

    fn next(&self) -> String {
        let mut state = self.state.lock().expect("the state");
        let place = state.asked.min(state.answers.len() - 1);
        state.asked += 1;
        state.answers[place].clone()
    }
}

fn tls(shown: Shown) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    Arc::new(builder.with_single_cert(shown.chain, shown.key).expect("a server"))
}

/// An answer with a document.
pub(crate) fn ok(document: &str) -> String {
    let bytes = document.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n{document}")
}

/// An answer without one.
pub(crate) fn status(status: u16) -> String {
    format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n\r\n")
}

/// A redirect.
pub(crate) fn redirect(location: &str) -> String {
    format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
}

/// The bundle document of these authorities, with further members.
pub(crate) fn document(authorities: &[&Ca], more: &str) -> String {
    let key = |ca: &&Ca| {
        let der = STANDARD.encode(ca.bundle_der());
        format!(r#"{{"use":"x509-svid","kty":"EC","crv":"P-256","x5c":["{der}"]}}"#)
    };
    let keys: Vec<_> = authorities.iter().map(key).collect();
    format!(r#"{{"keys":[{}]{more}}}"#, keys.join(","))
}

/// Our client with its folder, and the relationships that it is told to have.
pub(crate) struct Client {
    pub(crate) folder: tempfile::TempDir,
    wanted: watch::Sender<Vec<FederationConfig>>,
    updates: mpsc::Receiver<FederationUpdate>,
    /// What it believes: our own trust domain, and what was fetched.
    pub(crate) trust: TrustBundles,
}

/// What is in force for everybody.
#[derive(Debug)]
struct InForce(Arc<TrustBundles>);

impl Material for InForce {
    fn trust(&self) -> Arc<TrustBundles> {
        Arc::clone(&self.0)
    }

    fn svid(&self) -> Option<Arc<X509Svid>> {
        None
    }
}

impl Client {
    /// Believes `own` and begins to follow nothing; a bundle is fetched again after `longest` at the latest.
    pub(crate) fn new(own: &[&Ca], longest: Duration) -> Self {
        Self::in_folder(tempfile::tempdir().expect("a folder"), own, longest)
    }

    pub(crate) fn in_folder(folder: tempfile::TempDir, own: &[&Ca], longest: Duration) -> Self {
        let mut trust = TrustBundles::default();
        for ca in own {
            trust.insert(ca.bundle().expect("a bundle"));
        }
        let (wanted, configured) = watch::channel(Vec::new());
        let (updates_in, updates) = mpsc::channel(16);
        let surroundings = Surroundings {
            last_good: LastGood::of(folder.path().join("kept"), "json"),
            trust: Arc::new(InForce(Arc::new(trust.clone()))),
            clock: clock(),
            pace: Pace { before_first: longest, longest, timeout: Duration::from_secs(2) },
            revocation: RevocationRule::WhereListed,
            updates: updates_in,
        };
        drop(tokio::spawn(run(configured, surroundings)));
        Self { folder, wanted, updates, trust }
    }

    pub(crate) fn want(&self, relationships: Vec<FederationConfig>) {
        self.wanted.send_replace(relationships);
    }

    /// A relationship with [`FRIEND`] by Web PKI, under this root.
    pub(crate) fn by_web(&self, url: String, root: &str) -> FederationConfig {
        let path = self.file("root.pem", root);
        let profile = EndpointProfile::HttpsWeb { trust_roots: TrustRoots::Files(vec![path]) };
        FederationConfig { trust_domain: FRIEND.parse().expect("a name"), url, profile }
    }

    /// A relationship with [`FRIEND`] whose endpoint is [`ENDPOINT`], proven first by this authority.
    pub(crate) fn by_spiffe(&self, url: String, bootstrap: &Ca) -> FederationConfig {
        let proof = EndpointProof::SelfServing {
            bootstrap_bundle: self.file("bootstrap.pem", &bootstrap.bundle_pem()),
        };
        self.with_proof(url, ENDPOINT, proof)
    }

    pub(crate) fn with_proof(&self, url: String, endpoint: &str, proof: EndpointProof) -> FederationConfig {
        let endpoint = endpoint.parse().expect("a SPIFFE ID");
        let profile = EndpointProfile::HttpsSpiffe { endpoint, proof };
        FederationConfig { trust_domain: FRIEND.parse().expect("a name"), url, profile }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// The next thing that becomes of a relationship; bundles are believed.
    pub(crate) async fn next(&mut self) -> Result<FederationUpdate, String> {
        let update = timeout(PATIENCE, self.updates.recv()).await.ok().flatten().ok_or("nothing came")?;
        match &update {
            FederationUpdate::Kept(brought) | FederationUpdate::Fetched(brought) => {
                self.trust.insert(TrustBundle::clone(&brought.bundle));
            }
            FederationUpdate::Ended(trust_domain) => {
                let rest = self.trust.iter().filter(|bundle| bundle.trust_domain() != trust_domain);
                let mut trust = TrustBundles::default();
                for bundle in rest {
                    trust.insert(bundle.clone());
                }
                self.trust = trust;
            }
            FederationUpdate::Failed { .. } => {}
        }
        Ok(update)
    }

    /// The bundle that is fetched next, or why there is none.
    pub(crate) async fn fetched(&mut self) -> Result<Arc<TrustBundle>, String> {
        match self.next().await? {
            FederationUpdate::Fetched(brought) => Ok(brought.bundle),
            FederationUpdate::Failed { status, .. } => Err(format!("{status:?}")),
            other @ (FederationUpdate::Kept(_) | FederationUpdate::Ended(_)) => Err(format!("{other:?}")),
        }
    }

    /// The documents that are kept.
    pub(crate) fn kept(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("kept")).map_or(0, Iterator::count)
    }
}
