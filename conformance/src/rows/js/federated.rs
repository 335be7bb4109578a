//! JWT-SVIDs of a federated trust domain: a whole sidecar that takes ours by a file and fetches the other bundle.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use postern_proxy::demo::ca::Ca;
use postern_tests::caller::Connection;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::kit::bundle_endpoint::{FRIEND, Server, document, ok, web};
use crate::kit::sidecar::Sidecar;
use crate::kit::workload_api::{authority, now};

/// Our trust domain.
const OURS: &str = "example.org";

/// Whose JWT-SVID is brought.
#[derive(Clone, Copy)]
pub(super) enum Token {
    Ours,
    Theirs,
    /// It names a workload of ours, and the key that signed it is in the other trust domain's bundle.
    OursByTheirKey,
    /// The reverse.
    TheirsByOurKey,
}

/// What the other trust domain serves.
#[derive(Clone, Copy)]
pub(super) enum Served {
    Bundle,
    /// No bundle, ever.
    Nonsense,
}

/// What comes of a request with the token.
pub(super) fn ask(token: Token, served: Served) -> Result<(), String> {
    let world = World::new(served)?;
    let mut connection = world.sidecar.connect(&world.sidecar.scene.caller("/client"))?;
    match served {
        Served::Bundle => {
            let taken = || world.bring(&mut connection, Token::Theirs).ok();
            world.sidecar.until("the other trust domain's bundle", taken)?;
        }
        Served::Nonsense => {
            world.sidecar.until("a fetch", || (world.server.asked() > 0).then_some(()))?;
        }
    }
    world.bring(&mut connection, token)
}

struct World {
    sidecar: Sidecar,
    server: Server,
    /// On which the server runs.
    _runtime: Runtime,
    ours: Ca,
    theirs: Ca,
    /// An authority of our name, whose keys the other trust domain publishes as its own.
    ours_forged: Ca,
    /// The reverse.
    theirs_forged: Ca,
}

impl World {
    fn new(served: Served) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let (ours, theirs) = (authority(OURS), authority(FRIEND));
        let (ours_forged, theirs_forged) = (authority(OURS), authority(FRIEND));
        let answer = match served {
            Served::Bundle => with_jwt_keys(&document(&[&theirs], ""), &[&theirs, &ours_forged]),
            Served::Nonsense => "{\"keys\":1}".to_owned(),
        };
        let (root, shown) = web("localhost", |_| {});
        let server = runtime.block_on(Server::start(shown, vec![ok(&answer)]));
        let sidecar = Sidecar::start(|scene| {
            let file = |name: &str, content: &str| {
                // Without the file the sidecar does not start, and says which one it misses.
                drop(std::fs::write(scene.path(name), content));
                scene.path(name)
            };
            let bundle = file("ours.json", &with_jwt_keys("{\"keys\":[]}", &[&ours, &theirs_forged]));
            let profile = json!({ "https_web": { "trust_roots": { "files": [file("root.pem", &root)] } } });
            let kept = scene.path("federation");
            let identity = &mut scene.config["identity"];
            identity["federation_directory"] = json!(kept);
            identity["federation"] =
                json!([{ "trust_domain": FRIEND, "url": server.url(), "profile": profile }]);
            let issuer = |name: &str, keys: Value| {
                json!({
                    "issuer": format!("spiffe://{name}"), "audiences": ["orders"], "algorithms": ["ES256"],
                    "profile": "jwt_svid", "keys": keys,
                })
            };
            scene.config["tokens"] =
                json!([issuer(OURS, json!({ "file": bundle })), issuer(FRIEND, json!({ "federation": {} }))]);
        })?;
        Ok(Self { sidecar, server, _runtime: runtime, ours, theirs, ours_forged, theirs_forged })
    }

    fn bring(&self, connection: &mut Connection, token: Token) -> Result<(), String> {
        let signer = match token {
            Token::Ours => &self.ours,
            Token::Theirs => &self.theirs,
            Token::OursByTheirKey => &self.ours_forged,
            Token::TheirsByOurKey => &self.theirs_forged,
        };
        let id = format!("spiffe://{}/batch", signer.trust_domain()).parse().expect("a SPIFFE ID");
        let jwt = signer.issue_jwt(&id, &["orders".to_owned()], Duration::from_secs(60), now());
        let jwt = jwt.map_err(|error| error.to_string())?;
        let ask = Request::get("/a").header("authorization", format!("Bearer {jwt}")).body(Bytes::new());
        self.sidecar.ask(connection, ask.map_err(|error| error.to_string())?).map(drop)
    }
}

/// The document with the keys of these authorities for JWT-SVIDs besides.
fn with_jwt_keys(document: &str, authorities: &[&Ca]) -> String {
    let mut document: Value = serde_json::from_str(document).expect("a document");
    let keys = document["keys"].as_array_mut().expect("its keys");
    for authority in authorities {
        let mut bundle: Value = serde_json::from_str(&authority.jwt_bundle()).expect("a bundle");
        let mut key = bundle["keys"][0].take();
        key["use"] = json!("jwt-svid");
        keys.push(key);
    }
    document.to_string()
}
