//! `postern capture probe`, in network namespaces of the test's own: it finds the ways past the sidecar that there are, and
//! does not believe what it cannot tell.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use postern_tests::netns::Wire;
use postern_tests::peer;
use postern_tests::peer::postern;
use serde_json::{Value, json};

use super::{CONFIG, LIMIT, OTHER, OWN, SERVICE};

const CAPTURE: &str = "\
capture:
  inbound: { listener: app, ports: { only: [8080] } }
  outbound:
    listener: egress
    listener_ipv6: egress6
    own: { uid: 1337 }
    exclude: { ports: [22], networks: [10.78.0.0/24], uids: [1001] }
";

struct Scene {
    wire: Wire,
    /// The sidecar's two listeners for what the service calls.
    egress: Vec<TcpListener>,
}

impl Scene {
    fn new() -> Option<Self> {
        let _tools = (peer("POSTERN_NFT")?, peer("POSTERN_IPTABLES")?);
        let scene = Self { wire: Wire::new(&peer("POSTERN_IP")?)?, egress: Vec::new() };
        fs::create_dir(scene.path("policy")).expect("a folder");
        fs::write(scene.path("audit.pem"), "").expect("a file");
        fs::set_permissions(scene.path("audit.pem"), fs::Permissions::from_mode(0o600)).expect("chmod");
        fs::write(scene.path("postern.yaml"), format!("{CONFIG}{CAPTURE}")).expect("a file");
        for (outside, further) in Wire::OUTSIDE.into_iter().zip(Wire::FURTHER) {
            for (address, port) in [(outside, 80), (outside, 22), (further, 80)] {
                scene.wire.outside.serve("world", SocketAddr::new(address, port));
            }
        }
        Some(scene)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.wire.folder.path().join(name)
    }

    /// A socket of that user beside the service, of which nobody takes connections: they need not be taken to be there.
    fn listen(&self, uid: u32, address: &str) -> TcpListener {
        self.wire.service.within(uid, || TcpListener::bind(address).expect("a free port"))
    }

    /// The sidecar, played by this user.
    fn serve(&mut self, uid: u32) {
        self.egress.clear();
        self.egress = ["127.0.0.1:15001", "[::1]:15006"].map(|address| self.listen(uid, address)).into();
    }

    fn capture(&self, words: &[&str]) -> (Option<i32>, Value) {
        let mut command = self.wire.service.command(&postern());
        command.arg("capture").args(words).arg("--state-dir").arg(self.path("state")).arg("--json");
        if words[0] != "disable" {
            command.arg("-c").arg(self.path("postern.yaml"));
        }
        let output = postern_tests::run(command, LIMIT);
        let report = serde_json::from_str(&output.out).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (output.code, report)
    }

    /// What is told when that user calls there, and of what listens: a result each, with a part of the reason.
    #[track_caller]
    fn check(&self, (uid, to): (u32, SocketAddr), outbound: (&str, &str), inbound: (&str, &str)) {
        let (code, report) = self.capture(&["probe", "--uid", &uid.to_string(), "--to", &to.to_string()]);
        for ((told, why), way) in [(outbound, "outbound"), (inbound, "inbound")] {
            let one = &report[way][0];
            let because = one["why"].as_str().unwrap_or_default();
            assert_eq!(one["result"], json!(told), "{uid} to {to}, {way}: {report}");
            assert!(because.contains(why), "{uid} to {to}, {way}: {report}");
        }
        let is_captured = outbound.0 == "captured" && inbound.0 == "captured";
        assert_eq!(code, Some(if is_captured { 0 } else { 1 }), "{report}");
    }
}

#[test]
fn the_probe_tells_where_the_application_gets_past_the_sidecar() {
    let Some(mut scene) = Scene::new() else { return };
    let captured = ("captured", "listens on loopback or at captured ports alone");
    let worlds = Wire::OUTSIDE.map(|outside| SocketAddr::new(outside, 80));
    scene.serve(OWN);
    let _service = scene.listen(SERVICE, "[::]:8080");
    let _local = scene.listen(SERVICE, "127.0.0.1:9998");
    let off = ("unknown", "not those of the configuration");
    for world in worlds {
        scene.check((SERVICE, world), ("past", "are the rules in force?"), off);
    }
    for backend in ["nft", "iptables"] {
        assert_eq!(scene.capture(&["enable", "--permanent", "--backend", backend]).0, Some(0));
        for (world, at) in worlds.into_iter().zip(["127.0.0.1:15001", "[::1]:15006"]) {
            scene.check((SERVICE, world), ("captured", at), captured);
            scene.check((OTHER, world), ("captured", at), captured);
            scene.check((1001, world), ("past", "`exclude.uids`"), captured);
            scene.check((OWN, world), ("past", "`own.uid`"), ("captured", ""));
            scene.check((SERVICE, SocketAddr::new(world.ip(), 22)), ("past", "`exclude.ports`"), captured);
        }
        scene.check(
            (SERVICE, SocketAddr::new(Wire::FURTHER[0], 80)),
            ("past", "`exclude.networks`"),
            captured,
        );
        // Whether anybody is there is not the application's to find out.
        scene.check((SERVICE, "10.77.0.9:1".parse().unwrap()), ("captured", "127.0.0.1:15001"), captured);
        let here = SocketAddr::new(Wire::SERVICE[0], 8080);
        scene.check((SERVICE, here), ("unknown", "an address of this machine"), captured);
        assert_eq!(scene.capture(&["disable"]).0, Some(0));
    }
}

#[test]
fn the_probe_does_not_take_somebody_for_the_sidecar_nor_an_open_port_for_a_captured_one() {
    let Some(mut scene) = Scene::new() else { return };
    let world = SocketAddr::new(Wire::OUTSIDE[0], 80);
    let captured = ("captured", "");
    assert_eq!(scene.capture(&["enable", "--permanent", "--backend", "nft"]).0, Some(0));
    scene.check((SERVICE, world), ("unknown", "nobody listens at 127.0.0.1:15001"), captured);
    scene.serve(OTHER);
    scene.check((SERVICE, world), ("unknown", "listens user 1002"), captured);
    scene.serve(OWN);
    for address in ["0.0.0.0:9999", "10.77.0.2:9999", "[::]:9999"] {
        let open = scene.listen(SERVICE, address);
        scene.check((SERVICE, world), ("captured", ""), ("past", "not captured"));
        scene.check((OTHER, world), ("captured", ""), captured);
        drop(open);
    }
    scene.check((SERVICE, world), ("captured", ""), captured);
}
