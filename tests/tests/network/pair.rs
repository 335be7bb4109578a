//! Two applications with a sidecar each, and a router between them. Packet rules lead to the sidecars what the one sends
//! and what comes to the other; neither knows of them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;

use postern_tests::netns::{Namespace, Routed};
use postern_tests::peer::postern;
use postern_tests::{Output, Scene, Sidecar, Upstream};
use serde_json::json;

use crate::LIMIT;

/// What the client's sidecar lets out, and what the server's lets in.
const BOTH: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "not there"}

decision := {"allowed": true} if {
	input.attributes.source.principal == "spiffe://example.org/client"
	input.attributes.destination.address.socketAddress.address in {"10.82.0.2", "fd52::2"}
	input.attributes.destination.address.socketAddress.portValue in {8080, 5432, 6379, 2525}
}
"#;

/// Where requests are answered; everywhere else are streams.
pub const WEB: u16 = 8080;
pub const POSTGRES: u16 = 5432;
pub const REDIS: u16 = 6379;
pub const GREETER: u16 = 2525;

/// All of it, running.
pub struct Pair {
    pub net: Routed,
    pub asking: Scene,
    pub asked: Scene,
    pub near: Sidecar,
    pub far: Sidecar,
}

impl Pair {
    /// With a server that takes requests (`http`) or streams (`tcp`).
    pub fn start(serves: &str) -> Option<Self> {
        let net = Routed::new()?;
        let (asking, asked) = scenes(serves);
        let (near, far) = (net.start(&net.client, &asking), net.start(&net.server, &asked));
        for (place, scene) in [(&net.client, &asking), (&net.server, &asked)] {
            capture(place, scene).expect_code(0);
        }
        Some(Self { net, asking, asked, near, far })
    }

    /// What the client's application does.
    pub fn application(&self, program: &Path, arguments: &[&str]) -> Output {
        self.net.run(&self.net.client, Routed::APPLICATION, program, arguments)
    }

    /// Ends both, and gives back what their logs are in.
    pub fn stop(self) -> (Routed, Scene, Scene) {
        self.near.stop();
        self.far.stop();
        for scene in [&self.asking, &self.asked] {
            postern_tests::sidecar::assert_log_is_whole(&scene.audit());
        }
        (self.net, self.asking, self.asked)
    }
}

/// A web server of the server's application at each of its addresses.
pub fn serve_web(net: &Routed) -> Vec<Upstream> {
    let at = |ip: &IpAddr| {
        let address = SocketAddr::new(*ip, WEB);
        net.server.within(Routed::APPLICATION, || Upstream::start_at(address))
    };
    Routed::SERVER.iter().map(at).collect()
}

/// A server that speaks first, as one for mail does: it greets, and says back each line.
pub fn serve_greeter(net: &Routed) {
    for ip in Routed::SERVER {
        let bind = || TcpListener::bind(SocketAddr::new(ip, GREETER)).expect("a free port");
        let listener = net.server.within(Routed::APPLICATION, bind);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    drop(writeln!(stream, "220 mail.test ready"));
                    let Ok(reader) = stream.try_clone() else { return };
                    for line in BufReader::new(reader).lines().map_while(Result::ok) {
                        drop(writeln!(stream, "250 {line}"));
                    }
                });
            }
        });
    }
}

fn scenes(serves: &str) -> (Scene, Scene) {
    let (mut asking, mut asked) = (Scene::new(), Scene::new());
    asked.authority.issue("/server").write(asked.folder.path(), "sidecar");
    asked.authority.issue("/client").write(asking.folder.path(), "sidecar");
    fs::write(asking.path("trust.pem"), asked.authority.bundle_pem()).expect("the bundle is written");
    let out = |address: &str| {
        json!({
            "outbound": { "address": address, "captured": "redirect" },
            "protocol": "detect",
            // Longer than anybody here waits: whoever has to hear something at once does, or does not.
            "limits": { "detect_timeout": "10s" },
            "routes": [
                { "name": "web", "match": { "destinations": ["*:8080"] }, "upstream": "web", "explain": "detail" },
                { "name": "streams", "match": { "destinations": ["10.82.0.0/16:*", "[fd52::]/64:*"] }, "upstream": "streams" },
            ],
        })
    };
    asking.config["listeners"] = json!({ "out": out("127.0.0.1:15001"), "out6": out("[::1]:15001") });
    let mutual = json!({ "mutual": { "spiffe_ids": ["spiffe://example.org/server"] } });
    let there = json!(["original_destination"]);
    asking.config["upstreams"] = json!({
        "web": { "endpoints": there, "tls": mutual },
        "streams": { "endpoints": there, "protocol": "tcp", "tls": mutual },
    });
    asking.config["capture"] = json!({ "outbound": {
        "listener": "out",
        "listener_ipv6": "out6",
        "from": { "uids": [Routed::APPLICATION] },
        "own": { "uid": Routed::SIDECAR },
    } });
    let route = if serves == "http" {
        json!({ "name": "all", "match": { "path_prefix": "/" }, "upstream": "itself", "explain": "detail" })
    } else {
        json!({ "name": "all", "match": {}, "upstream": "itself" })
    };
    asked.config["listeners"] = json!({ "in": {
        "inbound": {
            "address": "[::]:8443",
            "captured": "redirect",
            "tls": { "mutual": { "trust_domains": ["example.org"] } },
        },
        "protocol": serves,
        "routes": [route],
    } });
    asked.config["upstreams"] = json!({ "itself": {
        "endpoints": there,
        "protocol": if serves == "http" { "http1" } else { "tcp" },
        "plaintext": "any_address",
    } });
    let ports = [WEB, POSTGRES, REDIS, GREETER];
    asked.config["capture"] = json!({ "inbound": { "listener": "in", "ports": { "only": ports } } });
    let egress = "\tinput.attributes.destination.principal == \"spiffe://example.org/server\"\n}\n";
    asking.write_policy(&BOTH.replace("}\n}\n", &format!("}}\n{egress}")));
    asked.write_policy(BOTH);
    (asking, asked)
}

/// The rules of the configuration with which the sidecar runs.
fn capture(place: &Namespace, scene: &Scene) -> Output {
    let mut command = place.command(&postern());
    command.args(["capture", "enable", "--permanent", "-c"]).arg(scene.path("postern.yaml"));
    command.arg("--state-dir").arg(scene.path("capture"));
    postern_tests::run(command, LIMIT)
}
