//! A real OpenID provider: its access tokens are taken by discovery, its new keys are found, its absence is survived.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::Request;
use postern_tests::caller::call_plain;
use postern_tests::process::{Running, wait};
use postern_tests::{Answer, Scene, Version, peer, port};
use rustix::process::Signal;
use serde_json::json;

const AUDIENCE: &str = "https://orders.example";
const LIMIT: Duration = Duration::from_secs(45);

const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "the token lacks the scope"}

decision := {"allowed": true} if {
	input.postern.token_issuer == input.claims.iss
	input.claims.client_id == "shop"
	"read" in split(input.claims.scope, " ")
}
"#;

struct Provider {
    running: Running,
    address: SocketAddr,
}

impl Provider {
    fn start(module: &Path, address: SocketAddr, folder: &Path) -> Self {
        let mut command = Command::new("node");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/peers/oidc-provider.mjs")).arg(module);
        command.arg(address.port().to_string());
        let mut running = Running::start("oidc-provider", command, folder);
        running.wait_for("readiness", LIMIT, |output| output.contains("ready").then_some(()));
        Self { running, address }
    }

    /// An access token for a resource (RFC 8707), as the client `shop` gets it for itself.
    fn token(&self, resource: &str, scope: &str) -> String {
        let credentials = base64::prelude::BASE64_STANDARD.encode("shop:secret");
        let form = format!("grant_type=client_credentials&resource={resource}&scope={scope}");
        let request = Request::post("/token")
            .header("authorization", format!("Basic {credentials}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from(form))
            .expect("a request");
        let answer = call_plain(self.address, request).expect("the provider answers");
        let token = answer.json()["access_token"].as_str().map(str::to_owned);
        token.unwrap_or_else(|| panic!("no token: {answer:?}"))
    }

    fn rotate(&mut self) {
        let seen = self.running.output().matches("rotated").count();
        self.running.signal(Signal::HUP);
        let rotated = |output: &str| (output.matches("rotated").count() > seen).then_some(());
        self.running.wait_for("new keys", LIMIT, rotated);
    }
}

fn ask(scene: &Scene, token: &str) -> Answer {
    let request = Request::builder().uri("/things").header("authorization", format!("Bearer {token}"));
    let request = request.body(Bytes::new()).expect("a request");
    scene.caller("/client").call(scene.listener, Version::Http2, request).expect("an answer")
}

fn is_refused(scene: &Scene, token: &str, (status, reason): (u16, &str)) {
    let answer = ask(scene, token);
    assert_eq!(
        (answer.status.as_u16(), answer.json()["reason"].as_str()),
        (status, Some(reason)),
        "{answer:?}"
    );
}

/// Asks until the token is taken: keys may be on their way.
fn is_taken(scene: &Scene, token: &str) {
    wait("the token to be taken", LIMIT, || (ask(scene, token).status == 200).then_some(()));
}

#[test]
fn a_providers_tokens_are_taken_its_new_keys_found_and_its_absence_survived() {
    let Some(module) = peer("POSTERN_OIDC_PROVIDER") else { return };
    let mut scene = Scene::new();
    let address = port::free();
    let mut provider = Provider::start(&module, address, scene.folder.path());
    scene.config["tokens"] = json!([{
        "issuer": format!("http://{address}"),
        "audiences": [AUDIENCE],
        "algorithms": ["ES256"],
        "keys": { "discovery": {} },
        "lifetime_max": "10m",
        "last_good_directory": scene.path("keys"),
    }]);
    scene.config["listeners"]["app"]["routes"][0]["tokens"] = json!("required");
    scene.write_policy(POLICY);
    let sidecar = scene.start();

    let first = provider.token(AUDIENCE, "read");
    is_taken(&scene, &first);
    is_refused(&scene, &provider.token(AUDIENCE, "write"), (403, "policy.denied"));
    is_refused(&scene, &provider.token("https://billing.example", "read"), (401, "token.audience"));

    // A key that was never seen brings the next fetch; the one that is published no longer verifies nothing.
    provider.rotate();
    let second = provider.token(AUDIENCE, "read");
    is_taken(&scene, &second);
    is_refused(&scene, &first, (401, "token.key_unknown"));
    sidecar.stop();

    // Nobody is there to ask: the keys of the last run serve, and readiness says so.
    drop(provider);
    let sidecar = scene.start();
    is_taken(&scene, &second);
    let keys = wait("the fetch to fail", LIMIT, || {
        let (_, text) = sidecar.ask_status("/readyz?verbose");
        text.contains("cannot connect").then_some(text)
    });
    assert!(keys.contains(&format!("those of http://{address} are stale, for another 8")), "{keys}");
    assert!(sidecar.metric("postern_key_set_valid_until_timestamp_seconds{") > 1e9);
    assert!(sidecar.metric("postern_key_set_refreshes_total{issuer") >= 1.0);
    let kept =
        std::fs::read_dir(scene.path("keys")).expect("the folder").next().expect("a file").expect("an entry");
    assert_eq!(kept.metadata().expect("its metadata").permissions().mode() & 0o777, 0o600);
    sidecar.stop();

    // Without what was kept there is nothing to verify with, and that is not the caller's fault.
    std::fs::remove_file(kept.path()).expect("the file is removed");
    let sidecar = scene.start();
    is_refused(&scene, &second, (503, "keys.unavailable"));
    let provider = Provider::start(&module, address, scene.folder.path());
    is_taken(&scene, &provider.token(AUDIENCE, "read"));
    sidecar.stop();
}
