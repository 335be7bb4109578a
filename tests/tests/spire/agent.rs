//! One agent's day: several identities, an agent that dies, one that hangs, and an identity that is taken away.

use postern_tests::caller::{call_plain, get};
use postern_tests::spire::{Agent, Programs, Server};
use postern_tests::{Caller, Scene, Sidecar, Version, process};
use serde_json::{Value, json};

use super::{LIMIT, ask, scene};

/// SPIRE dates SVIDs ten seconds back: this one is half over ten seconds after it was issued, should have been
/// replaced ten seconds later, and expires another ten seconds later.
const LIFETIME: [&str; 2] = ["-x509SVIDTTL", "30"];

struct Day {
    server: Server,
    agent: Agent,
    /// The entries of `/sidecar` and `/edge`.
    entries: [String; 2],
}

#[test]
fn the_sidecar_lives_through_whatever_befalls_its_agent() {
    let Some(programs) = Programs::find() else { return };
    let server = Server::start(&programs, "example.org", "");
    let internal = server.register("/sidecar", &[&LIFETIME[..], &["-hint", "internal"]].concat());
    let entries = [internal, server.register("/edge", &["-hint", "external"])];
    let mut agent = Agent::start(&server);
    agent.wait_for_svids(2);
    let mut day = Day { server, agent, entries };

    for by in [json!({ "spiffe_id": "spiffe://example.org/edge" }), json!({ "hint": "external" })] {
        let (_scene, sidecar) = day.sidecar(&by);
        let (ok, reason) = sidecar.check("identity");
        assert!(ok && reason.starts_with("spiffe://example.org/edge,"), "{reason}");
        sidecar.stop();
    }

    let (scene, sidecar) = day.sidecar(&json!({ "hint": "internal" }));
    let (ok, reason) = sidecar.check("identity");
    assert!(ok && reason.starts_with("spiffe://example.org/sidecar,"), "{reason}");
    let (client, bundle) = day.server.mint("/client");
    let caller = Caller::new(&client, &bundle);
    ask(&caller, &scene).expect("an answer");

    day.an_agent_that_dies(&scene, &sidecar, &caller);
    day.an_agent_that_hangs(&scene, &sidecar, &caller);
    day.an_identity_that_is_taken_away(&scene, &sidecar, &caller);
    sidecar.stop();
}

impl Day {
    fn sidecar(&self, by: &Value) -> (Scene, Sidecar) {
        let scene = scene(&self.agent.socket(), by);
        let sidecar = scene.start();
        (scene, sidecar)
    }

    fn an_agent_that_dies(&mut self, scene: &Scene, sidecar: &Sidecar, caller: &Caller) {
        self.agent.kill();
        assert!(sidecar.wait_for_check("identity", "stale: the Workload API at", LIMIT), "still ready");
        ask(caller, scene).expect("an answer without an agent");
        self.agent.restart();
        wait_until_untroubled(sidecar);
        ask(caller, scene).expect("an answer");
    }

    fn an_agent_that_hangs(&self, scene: &Scene, sidecar: &Sidecar, caller: &Caller) {
        self.agent.hang();
        assert!(sidecar.wait_for_check("identity", "should have been replaced", LIMIT), "still ready");
        ask(caller, scene).expect("an answer while the agent hangs");
        // It does not outlive its SVID.
        assert!(!sidecar.wait_for_check("identity", "expired", LIMIT), "an expired identity is no readiness");
        assert!(ask(caller, scene).is_err(), "a handshake with an expired SVID");
        self.agent.go_on();
        wait_until_untroubled(sidecar);
        ask(caller, scene).expect("an answer");
    }

    fn an_identity_that_is_taken_away(&self, scene: &Scene, sidecar: &Sidecar, caller: &Caller) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connecting = caller.connect(scene.listener, Version::Http1);
        let mut open = runtime.block_on(connecting).expect("a connection");
        let answer = runtime.block_on(open.send(get("/things"))).expect("an answer");
        assert_eq!(answer.status, 200);

        let [internal, external] = &self.entries;
        self.server.json(&["entry", "delete", "-entryID", internal]);
        // Another identity is still offered, and not taken in its stead.
        let gone = "the Workload API does not offer an SVID with the hint `internal`";
        assert!(!sidecar.wait_for_check("identity", gone, LIMIT), "no identity is no readiness");
        assert_eq!(sidecar.ask_status("/readyz").0, 503);
        let refused = ask(caller, scene).expect_err("no handshake without an identity");
        assert!(refused.contains("handshake") || refused.contains("no response"), "{refused}");
        let plain = call_plain(scene.listener, get("/things"));
        assert!(plain.is_err(), "an answer in plain text: {plain:?}");

        // With the last entry everything goes, also whom we believe.
        self.server.json(&["entry", "delete", "-entryID", external]);
        assert!(!sidecar.wait_for_check("identity", "no identity issued", LIMIT));
        let (ok, reason) = sidecar.check("trust");
        assert!(!ok, "{reason}");
        let answer = runtime.block_on(open.send(get("/things")));
        assert!(
            answer.as_ref().map_or(true, |answer| answer.status == 401),
            "on the open connection: {answer:?}"
        );

        let lifetime = [&LIFETIME[..], &["-hint", "internal"]].concat();
        self.server.register("/sidecar", &lifetime);
        wait_until_untroubled(sidecar);
        process::wait("an answer with the identity that came back", LIMIT, || ask(caller, scene).ok());
    }
}

/// An identity, and nothing said against its source.
fn wait_until_untroubled(sidecar: &Sidecar) {
    process::wait("an identity without trouble", LIMIT, || {
        let (ok, reason) = sidecar.check("identity");
        (ok && reason.ends_with(" s") && !reason.contains(';')).then_some(())
    });
}
