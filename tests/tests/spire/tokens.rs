//! JWT-SVIDs that SPIRE mints: proven by the keys of their trust domain, wherever those come from.

use bytes::Bytes;
use http::Request;
use postern_tests::spire::{Agent, Programs, Server};
use postern_tests::{Caller, Scene, Version, process};
use serde_json::{Value, json};

use super::{LIMIT, scene};

/// Who may read is the workload that the JWT-SVID names, as its trust domain vouches for it.
const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "not the batch"}

decision := {"allowed": true} if {
	input.postern.token_trust_domain == "example.org"
	input.claims.sub == "spiffe://example.org/batch"
}
"#;

/// The scene takes JWT-SVIDs of `example.org`, whose keys are there.
fn take_tokens(scene: &mut Scene, keys: &Value) {
    scene.write_policy(POLICY);
    scene.config["tokens"] = json!([{
        "issuer": "spiffe://example.org", "audiences": ["orders"], "algorithms": ["ES256", "RS256"],
        "profile": "jwt_svid", "keys": keys,
    }]);
    scene.config["listeners"]["app"]["routes"][0]["tokens"] = json!("required");
}

/// The status of a request with this token, and the reason of a refusal.
fn ask(caller: &Caller, scene: &Scene, token: &str) -> (u16, String) {
    let ask = Request::get("/things").header("authorization", format!("Bearer {token}"));
    let ask = ask.body(Bytes::new()).expect("a request");
    let answer = caller.call(scene.listener, Version::Http2, ask).expect("an answer");
    (answer.status.as_u16(), answer.json()["reason"].as_str().unwrap_or_default().to_owned())
}

#[track_caller]
fn wait_until_taken(caller: &Caller, scene: &Scene, token: &str) {
    process::wait("the JWT-SVID to be taken", LIMIT, || (ask(caller, scene, token).0 == 200).then_some(()));
}

fn refused(reason: &str) -> (u16, String) {
    (401, reason.to_owned())
}

/// Writes the trust domain's bundle document to where the sidecar looks for it, in one step.
fn write_bundle(server: &Server, scene: &Scene) {
    let waiting = scene.path("spire-bundle.next");
    std::fs::write(&waiting, server.bundle_document()).expect("the bundle");
    std::fs::rename(&waiting, scene.path("spire-bundle.json")).expect("the bundle is put in place");
}

#[test]
fn jwt_svids_that_spire_mints_are_taken_by_its_bundle_and_new_authorities_found() {
    let Some(programs) = Programs::find() else { return };
    let server = Server::start(&programs, "example.org", "");
    let mut scene = Scene::new();
    write_bundle(&server, &scene);
    let keys = json!({ "file": scene.path("spire-bundle.json") });
    take_tokens(&mut scene, &keys);
    let sidecar = scene.start();
    let caller = scene.caller("/client");
    wait_until_taken(&caller, &scene, &server.mint_jwt("/batch", "orders"));
    assert_eq!(ask(&caller, &scene, &server.mint_jwt("/batch", "billing")), refused("token.audience"));
    assert_eq!(ask(&caller, &scene, &server.mint_jwt("/db", "orders")).0, 403);

    server.rotate_jwt_authority();
    let renewed = server.mint_jwt("/batch", "orders");
    assert_eq!(ask(&caller, &scene, &renewed), refused("token.key_unknown"));
    write_bundle(&server, &scene);
    wait_until_taken(&caller, &scene, &renewed);
    sidecar.stop();
}

#[test]
fn jwt_svids_of_a_federated_trust_domain_are_proven_by_its_own_bundle_in_the_workload_api() {
    let Some(programs) = Programs::find() else { return };
    let server = Server::start(&programs, "example.org", "");
    let other = Server::start(&programs, "other.org", "");
    server.set_bundle(&other);
    server.register("/sidecar", &["-federatesWith", "spiffe://other.org"]);
    let agent = Agent::start(&server);
    let mut scene = scene(&agent.socket(), &json!({}));
    take_tokens(&mut scene, &json!({ "workload_api": {} }));
    scene.write_policy(&POLICY.replace("== \"example.org\"", "in {\"example.org\", \"other.org\"}").replace(
        "== \"spiffe://example.org/batch\"",
        "in {\"spiffe://example.org/batch\", \"spiffe://other.org/batch\"}",
    ));
    let mut theirs = scene.config["tokens"][0].clone();
    theirs["issuer"] = json!("spiffe://other.org");
    scene.config["tokens"].as_array_mut().expect("issuers").push(theirs);
    let sidecar = scene.start();
    let (client, bundle) = server.mint("/client");
    let caller = Caller::new(&client, &bundle);
    let (ours, theirs) = (server.mint_jwt("/batch", "orders"), other.mint_jwt("/batch", "orders"));
    wait_until_taken(&caller, &scene, &ours);
    wait_until_taken(&caller, &scene, &theirs);

    server.json(&["bundle", "delete", "-id", "spiffe://other.org", "-mode", "dissociate"]);
    process::wait("the other trust domain's keys to go", LIMIT, || {
        (ask(&caller, &scene, &theirs) == refused("token.key_unknown")).then_some(())
    });
    assert_eq!(ask(&caller, &scene, &ours).0, 200);
    sidecar.stop();
}

#[test]
fn jwt_svids_are_proven_by_the_keys_of_the_workload_api_through_their_rotation() {
    let Some(programs) = Programs::find() else { return };
    let server = Server::start(&programs, "example.org", "");
    server.register("/sidecar", &[]);
    let agent = Agent::start(&server);
    let mut scene = scene(&agent.socket(), &json!({}));
    take_tokens(&mut scene, &json!({ "workload_api": {} }));
    let sidecar = scene.start();
    let (client, bundle) = server.mint("/client");
    let caller = Caller::new(&client, &bundle);

    let old = server.mint_jwt("/batch", "orders");
    wait_until_taken(&caller, &scene, &old);
    assert_eq!(ask(&caller, &scene, &server.mint_jwt("/batch", "bank")), refused("token.audience"));
    assert_eq!(ask(&caller, &scene, &server.mint_jwt("/db", "orders")).0, 403);

    let before = server.rotate_jwt_authority();
    let new = server.mint_jwt("/batch", "orders");
    wait_until_taken(&caller, &scene, &new);
    assert_eq!(ask(&caller, &scene, &old).0, 200, "both keys are in the bundle");
    server.revoke_jwt_authority(&before);
    process::wait("the old key to go", LIMIT, || {
        (ask(&caller, &scene, &old) == refused("token.key_unknown")).then_some(())
    });
    assert_eq!(ask(&caller, &scene, &new).0, 200);
    sidecar.stop();
}
