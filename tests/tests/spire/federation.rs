//! A second trust domain: believed while it is federated with, and no longer.

use postern_tests::spire::{Agent, Programs, Server};
use postern_tests::{Caller, Scene, process};
use serde_json::json;

use super::{LIMIT, ask, scene};

/// Lets `/client` of both trust domains read.
const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false}

decision := {"allowed": true} if {
	input.attributes.source.principal in {"spiffe://example.org/client", "spiffe://other.org/client"}
}
"#;

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
