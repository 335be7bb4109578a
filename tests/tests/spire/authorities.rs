//! Rotation: of the sidecar's own SVID, and of the authority of its trust domain.

use postern_tests::spire::{Agent, Programs, Server};
use postern_tests::{Caller, Load, process};
use serde_json::json;

use super::{LIMIT, PRESSURE, ask, scene};

/// Certificates that callers must have seen: the first one and two successors.
const CERTIFICATES_SEEN: usize = 3;

/// Flags of an entry whose SVIDs are replaced every few seconds.
const SHORT: [&str; 2] = ["-x509SVIDTTL", "14"];

#[test]
fn the_sidecar_follows_the_rotation_of_its_svid_without_a_failed_request() {
    let Some(programs) = Programs::find() else { return };
    let server = Server::start(&programs, "example.org", "");
    server.register("/sidecar", &SHORT);
    let agent = Agent::start(&server);
    let scene = scene(&agent.socket(), &json!({}));
    let sidecar = scene.start();

    let (client, bundle) = server.mint("/client");
    let load = Load::start(&Caller::new(&client, &bundle), scene.listener, "/things", PRESSURE);
    process::wait("two rotations seen by callers", LIMIT, || {
        (load.certificates() >= CERTIFICATES_SEEN).then_some(())
    });
    load.stop().assert_nothing_lost();
    sidecar.stop();
}

#[test]
fn an_authority_is_replaced_without_a_failed_request_and_refused_once_it_is_revoked() {
    let Some(programs) = Programs::find() else { return };
    let server = Server::start(&programs, "example.org", "");
    server.register("/sidecar", &[]);
    let agent = Agent::start(&server);
    let scene = scene(&agent.socket(), &json!({}));
    let sidecar = scene.start();

    let prepared = server.prepare_authority();
    // Callers learn of the new authority before it signs anything.
    let (client, bundle) = server.mint("/client");
    let of_the_old = Caller::new(&client, &bundle);
    let load = Load::start(&of_the_old, scene.listener, "/things", PRESSURE);
    let old = server.activate_authority(&prepared);
    let (client, bundle) = server.mint("/client");
    let of_the_new = Caller::new(&client, &bundle);
    process::wait("the new authority to be believed", LIMIT, || ask(&of_the_new, &scene).ok());

    let serial = server.agent_serial();
    server.taint_authority(&old);
    // SVIDs live for an hour here: only the taint makes agent and sidecar take new ones.
    process::wait("an SVID of the new authority", LIMIT, || (load.certificates() >= 2).then_some(()));
    process::wait("the agent's own SVID of the new authority", LIMIT, || {
        (server.agent_serial() != serial).then_some(())
    });
    load.wait_for_answers(20, LIMIT);
    load.stop().assert_nothing_lost();

    let load = Load::start(&of_the_new, scene.listener, "/things", PRESSURE);
    server.revoke_authority(&old);
    process::wait("callers of the old authority to be refused", LIMIT, || ask(&of_the_old, &scene).err());
    load.wait_for_answers(20, LIMIT);
    load.stop().assert_nothing_lost();
    assert!(ask(&of_the_old, &scene).is_err());
    sidecar.stop();
}
