//! Connections that the kernel leads to the sidecar: an application that knows of nothing calls a server that knows of
//! nothing, and what is between them decides.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use postern_tests::process::{Output, run};
use postern_tests::sidecar::{assert_log_is_whole, records};
use postern_tests::{Netns, Scene};
use serde_json::{Value, json};

/// Where the server is, in both families.
const HOSTS: [&str; 2] = ["192.0.2.7", "fd00::7"];
/// Where it greets, where it answers requests, and where it does one or the other.
const PORTS: [u16; 2] = [5432, 8080];
/// Whose traffic is captured; the sidecar's own is somebody else's.
const APPLICATION: &str = "65534";

/// The workload may go to one host.
const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "not there"}

decision := {"allowed": true} if {
	input.attributes.source.principal == "spiffe://example.org/sidecar"
	input.attributes.destination.address.socketAddress.address in {"192.0.2.7", "fd00::7"}
}
"#;

const REDIRECT: &str = "table inet capture {
    chain output { type nat hook output priority -100;
        meta skuid 65534 meta l4proto tcp redirect to :15001
    }
}";

const TPROXY: &str = "table inet capture {
    chain output { type route hook output priority mangle;
        meta skuid 65534 meta l4proto tcp meta mark set 1
    }
    chain prerouting { type filter hook prerouting priority mangle;
        meta mark 1 meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:15001 accept
        meta mark 1 meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:15001 accept
    }
}";

/// A sidecar with a listener in each family, at which connections come this way.
fn scene(way: &str) -> Scene {
    let mut scene = Scene::new();
    let listener = |address: &str| {
        json!({
            "outbound": { "address": address, "captured": way },
            "protocol": "detect",
            // Longer than any caller here waits: whoever has to hear something at once does, or does not.
            "limits": { "detect_timeout": "10s" },
            "routes": [
                { "name": "web", "match": { "destinations": ["*:8080"] }, "upstream": "web" },
                { "name": "wire", "match": { "destinations": ["*:5432", "192.0.2.7:8080"] }, "upstream": "wire" },
            ],
        })
    };
    scene.config["listeners"] =
        json!({ "egress-4": listener("127.0.0.1:15001"), "egress-6": listener("[::1]:15001") });
    let there = json!(["original_destination"]);
    scene.config["upstreams"] = json!({
        "web": { "endpoints": there, "plaintext": "any_address" },
        "wire": { "endpoints": there, "plaintext": "any_address", "protocol": "tcp" },
    });
    scene.write_policy(POLICY);
    scene
}

/// A server that greets, hears four bytes and says them back; or one that answers a request.
fn serve(address: SocketAddr) {
    let listener = TcpListener::bind(address).expect("the server's address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut heard = [0; 1024];
            if address.port() == 5432 {
                drop(stream.write_all(b"hello\n"));
                drop(stream.read_exact(&mut heard[..4]).and_then(|()| stream.write_all(&heard[..4])));
            } else {
                drop(stream.read(&mut heard));
                drop(
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfound"),
                );
            }
        }
    });
}

/// What the application does, as a user whose traffic is captured, within less time than is waited for first bytes.
fn application(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", APPLICATION, "--clear-groups", program]).args(arguments);
    run(command, Duration::from_secs(8))
}

/// What an application hears from there that listens first and then says `ping`.
fn talk(host: &str, port: u16) -> String {
    let script = format!("exec 3<>/dev/tcp/{host}/{port} && head -c6 <&3 && printf ping >&3 && head -c4 <&3");
    application("bash", &["-c", &script]).out
}

fn decisions(scene: &Scene, kind: &str) -> Vec<Value> {
    let text = records(&scene.audit());
    let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|record| record["kind"] == kind).collect()
}

/// What is said of connections that led back, in order.
fn loops(scene: &Scene) -> Vec<String> {
    let mut loops: Vec<_> = decisions(scene, "conn")
        .iter()
        .filter(|entry| entry["reason"] == "conn.loop")
        .map(|entry| entry["detail"].as_str().unwrap_or_default().to_owned())
        .collect();
    loops.sort();
    loops
}

/// The journey, with connections that come this way by these rules.
fn check(way: &str, rules: &str) {
    Netns::play(|netns| {
        netns.ip("addr add 192.0.2.7/32 dev lo");
        netns.ip("addr add 192.0.2.66/32 dev lo");
        netns.ip("addr add fd00::7/128 dev lo nodad");
        for family in ["-4", "-6"] {
            netns.ip(&format!("{family} rule add fwmark 1 lookup 100"));
            netns.ip(&format!("{family} route add local default dev lo table 100"));
        }
        netns.nft(rules);
        let scene = scene(way);
        let sidecar = scene.start();
        for host in HOSTS {
            let ip: IpAddr = host.parse().expect("an address");
            PORTS.into_iter().for_each(|port| serve(SocketAddr::new(ip, port)));
            assert_eq!(talk(host, 5432), "hello\nping", "{host}: {}", sidecar.running.output());
            let url = format!("http://{}/x", SocketAddr::new(ip, 8080));
            let fetched = application("curl", &["-s", "-m", "5", &url]);
            assert_eq!(fetched.out, "found", "{host}: {fetched:?} {}", sidecar.running.output());
        }
        serve("192.0.2.66:5432".parse().expect("an address"));
        assert_eq!(talk("192.0.2.66", 5432), "", "what is denied is not heard");
        for ours in ["127.0.0.1", "::1"] {
            assert_eq!(talk(ours, 15001), "", "a loop is closed");
        }
        assert_eq!(talk("127.0.0.1", scene.status.port()), "", "and so is the way to the status port");

        sidecar.stop();
        assert_log_is_whole(&scene.audit());
        let mut found: Vec<_> = decisions(&scene, "decision")
            .iter()
            .map(|d| {
                ["dst", "method", "route", "decision"]
                    .map(|member| d[member].as_str().unwrap_or("").to_owned())
            })
            .collect();
        found.sort();
        let expected = [
            ["192.0.2.66:5432", "connect", "wire", "deny"],
            ["192.0.2.7:5432", "connect", "wire", "allow"],
            ["192.0.2.7:8080", "GET", "web", "allow"],
            ["[fd00::7]:5432", "connect", "wire", "allow"],
            ["[fd00::7]:8080", "GET", "web", "allow"],
        ];
        assert_eq!(found, expected, "{way}");
        let loops = loops(&scene);
        let ours = ["127.0.0.1:15001".to_owned(), scene.status.to_string(), "[::1]:15001".to_owned()];
        let mut expected = ours.map(|address| format!("it was going to {address}"));
        expected.sort();
        assert_eq!(loops, expected, "{way}");
    });
}

#[test]
fn a_redirected_application_reaches_where_it_was_going_as_far_as_policy_permits() {
    check("redirect", REDIRECT);
}

#[test]
fn an_application_behind_a_transparent_proxy_reaches_where_it_was_going_as_far_as_policy_permits() {
    check("transparent", TPROXY);
}

#[test]
fn who_comes_to_a_captured_listener_by_himself_is_refused() {
    Netns::play(|_| {
        let scene = scene("redirect");
        let sidecar = scene.start();
        let mut direct = std::net::TcpStream::connect("127.0.0.1:15001").expect("it listens");
        let mut heard = Vec::new();
        drop(direct.read_to_end(&mut heard));
        assert!(heard.is_empty());
        sidecar.stop();
        let entries = decisions(&scene, "conn");
        let reasons: Vec<_> = entries.iter().filter_map(|entry| entry["reason"].as_str()).collect();
        // As the kernel follows connections in this namespace or not, it was going to us or to nobody knows where.
        assert!(matches!(reasons.as_slice(), ["conn.not_captured" | "conn.loop"]), "{entries:?}");
    });
}

/// Another sidecar has the ports that this one has. Here any address could be bound to, be it ours or not.
#[test]
fn who_goes_to_the_port_of_another_sidecar_is_not_taken_for_one_who_comes_back() {
    const ELSEWHERE: [&str; 2] = ["198.51.100.9", "fd01::9"];
    Netns::play(|netns| {
        for sysctl in ["ipv4/ip_nonlocal_bind", "ipv6/ip_nonlocal_bind"] {
            std::fs::write(format!("/proc/sys/net/{sysctl}"), "1").expect("sysctl");
        }
        netns.ip("link add away type veth peer name there");
        netns.ip("link set there up");
        netns.ip("link set away up");
        // The second of a network, for which the first may stand.
        for own in ["192.0.2.6/24", "192.0.2.7/24", "fd00::6/64", "fd00::7/64"] {
            netns.ip(&format!("addr add {own} dev away{}", if own.contains(':') { " nodad" } else { "" }));
        }
        for ((family, elsewhere), host) in ["-4", "-6"].into_iter().zip(ELSEWHERE).zip(HOSTS) {
            netns.ip(&format!("{family} route add {elsewhere} dev away src {host}"));
        }
        // The others are not in this namespace, so what the sidecar says to them is led to servers that are.
        netns.nft(
            "table inet capture {
                chain output { type nat hook output priority -100;
                    meta skuid 65534 meta l4proto tcp redirect to :15001
                    ip daddr 198.51.100.9 tcp dport 8443 dnat ip to 192.0.2.7:5432
                    ip6 daddr fd01::9 tcp dport 8443 dnat ip6 to [fd00::7]:5432
                }
            }",
        );
        let mut scene = scene("redirect");
        let inbound = Scene::new().config["listeners"]["app"].take();
        scene.config["listeners"]["in"] = inbound;
        scene.config["listeners"]["in"]["inbound"]["address"] = json!("[::]:8443");
        scene.config["listeners"]["in"]["routes"][0]["upstream"] = json!("service");
        scene.config["upstreams"]["service"] = json!({ "endpoints": ["127.0.0.1:9"] });
        for egress in ["egress-4", "egress-6"] {
            scene.config["listeners"][egress]["routes"][1]["match"]["destinations"] = json!(["*:8443"]);
        }
        scene.write_policy(&POLICY.replace("\"192.0.2.7\", \"fd00::7\"", "\"198.51.100.9\", \"fd01::9\""));
        let sidecar = scene.start();
        for (host, elsewhere) in HOSTS.into_iter().zip(ELSEWHERE) {
            serve(SocketAddr::new(host.parse().expect("an address"), 5432));
            assert_eq!(talk(elsewhere, 8443), "hello\nping", "{elsewhere}: {}", sidecar.running.output());
            assert_eq!(talk(host, 8443), "", "{host} is this sidecar's own");
        }
        sidecar.stop();
        assert_eq!(loops(&scene), ["it was going to 192.0.2.7:8443", "it was going to [fd00::7]:8443"]);
    });
}
