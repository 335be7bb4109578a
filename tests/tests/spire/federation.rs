//! A second trust domain: believed while it is federated with, and no longer.

use bytes::Bytes;
use http::Request;
use postern_tests::caller::get;
use postern_tests::spire::{Agent, Programs, Server};
use postern_tests::{Caller, Scene, Version, port, process};
use rustix::process::Signal;
use serde_json::json;

use super::{LIMIT, ask, scene};

/// Lets `/client` of both trust domains read.
const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false}

decision := {"allowed": true} if {
	input.attributes.source.principal in {"spiffe://example.org/client", "spiffe://other.org/client"}
}
"#;

/// The status of our own client's request with this token.
fn with_token(scene: &Scene, token: &str) -> u16 {
    let ask = Request::get("/things").header("authorization", format!("Bearer {token}"));
    let ask = ask.body(Bytes::new()).expect("a request");
    let answer = scene.caller("/client").call(scene.listener, Version::Http2, ask);
    answer.expect("an answer").status.as_u16()
}

fn accept_both(scene: &mut Scene) {
    scene.write_policy(POLICY);
    scene.config["listeners"]["app"]["inbound"]["tls"]["mutual"]["trust_domains"] =
        json!(["example.org", "other.org"]);
}

#[test]
fn callers_of_another_trust_domain_are_answered_while_the_server_federates_with_it() {
    let Some(programs) = Programs::find() else { return };
    let (server, other) =
        (Server::start(&programs, "example.org", ""), Server::start(&programs, "other.org", ""));
    server.set_bundle(&other);
    server.register("/sidecar", &["-federatesWith", "spiffe://other.org"]);
    let agent = Agent::start(&server);
    let mut scene = scene(&agent.socket(), &json!({}));
    accept_both(&mut scene);
    let sidecar = scene.start();

    let (ours, bundle) = server.mint("/client");
    let (theirs, _) = other.mint("/client");
    let (ours, theirs) = (Caller::new(&ours, &bundle), Caller::new(&theirs, &bundle));
    ask(&ours, &scene).expect("an answer to our own client");
    ask(&theirs, &scene).expect("an answer to the other trust domain's client");

    server.json(&["bundle", "delete", "-id", "spiffe://other.org", "-mode", "dissociate"]);
    process::wait("the other trust domain's client to be refused", LIMIT, || ask(&theirs, &scene).err());
    ask(&ours, &scene).expect("an answer to our own client");
    assert!(sidecar.wait_for_check("trust", "1 trust domain", LIMIT));
    sidecar.stop();
}

#[test]
fn a_trust_domain_is_followed_by_its_own_bundle_endpoint_and_left_when_the_relationship_ends() {
    let Some(programs) = Programs::find() else { return };
    let endpoint = port::free();
    let federation = format!(
        r#"federation {{ bundle_endpoint {{ address = "{}" port = {} refresh_hint = "30s" profile "https_spiffe" {{}} }} }}"#,
        endpoint.ip(),
        endpoint.port()
    );
    let mut other = Server::start(&programs, "other.org", &federation);
    let mut scene = Scene::new();
    accept_both(&mut scene);
    std::fs::write(scene.path("other.json"), other.bundle_document()).expect("the bootstrap bundle");
    scene.config["identity"]["federation_directory"] = json!(scene.path("federation"));
    scene.config["identity"]["federation"] = json!([{
        "trust_domain": "other.org",
        "url": format!("https://{endpoint}/"),
        "profile": { "https_spiffe": {
            "endpoint_spiffe_id": "spiffe://other.org/spire/server",
            "bootstrap_bundle": scene.path("other.json"),
        } },
    }]);
    scene.config["tokens"] = json!([{
        "issuer": "spiffe://other.org", "audiences": ["orders"], "algorithms": ["ES256", "RS256"],
        "profile": "jwt_svid", "keys": { "federation": {} },
    }]);
    let sidecar = scene.start();
    let caller = |server: &Server| Caller::new(&server.mint("/client").0, scene.authority.bundle_pem());

    let of_the_old = caller(&other);
    process::wait("the other trust domain to be believed", LIMIT, || ask(&of_the_old, &scene).ok());
    ask(&scene.caller("/client"), &scene).expect("an answer to our own client");
    let token = other.mint_jwt("/batch", "orders");
    assert_eq!(with_token(&scene, &token), 200, "a JWT-SVID of the other trust domain");

    // The other server changes its authority; the endpoint itself is then proven by what it published before.
    let prepared = other.prepare_authority();
    let fetched = || sidecar.metric("postern_federation_fetches_total{result=\"loaded\"");
    let before = fetched();
    process::wait("the next fetch", LIMIT, || (fetched() > before).then_some(()));
    other.activate_authority(&prepared);
    let of_the_new = caller(&other);
    ask(&of_the_new, &scene).expect("an answer to a client of the new authority");
    sidecar.stop();

    // Without its endpoint, the last bundle counts.
    other.kill();
    let sidecar = scene.start();
    process::wait("the kept bundle to be believed", LIMIT, || ask(&of_the_new, &scene).ok());
    assert_eq!(with_token(&scene, &token), 200, "by the keys that were kept");
    assert!(sidecar.wait_for_check("trust", "other.org: stale: cannot connect", LIMIT), "still ready");

    // The relationship ends, and with it what rests on it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut open =
        runtime.block_on(of_the_new.connect(scene.listener, Version::Http1)).expect("a connection");
    let answer = runtime.block_on(open.send(get("/things"))).expect("an answer");
    assert_eq!(answer.status, 200);
    scene.config["identity"]["federation"] = json!([]);
    scene.write_config();
    sidecar.running.signal(Signal::HUP);
    process::wait("the other trust domain's client to be refused", LIMIT, || ask(&of_the_new, &scene).err());
    let answer = runtime.block_on(open.send(get("/things")));
    assert!(
        answer.as_ref().map_or(true, |answer| answer.status == 401),
        "on the open connection: {answer:?}"
    );
    assert_eq!(std::fs::read_dir(scene.path("federation")).expect("the folder").count(), 0);
    assert_eq!(with_token(&scene, &token), 401, "with the relationship its keys are gone");
    ask(&scene.caller("/client"), &scene).expect("an answer to our own client");
    sidecar.stop();
}
