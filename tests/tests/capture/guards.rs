//! What stands behind the rules that lead connections: what those cannot lead reaches neither the service nor the world.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use postern_tests::netns::Wire;
use postern_tests::{Running, peer};

use super::{LIMIT, OWN, SERVICE, Scene, check};

const INBOUND: &str = "  inbound: { listener: app, ports: { only: [8080] } }\n";
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// Every port that whoever calls can come from, where that is made to matter.
const FROM: std::ops::RangeInclusive<u16> = 31000..=31009;

/// A transparent socket is made by a call that the test has no other way to make.
const TRANSPARENT: &str = "
import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
listener = socket.socket(family)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(*((41, 75) if family == socket.AF_INET6 else (0, 19)), 1)
listener.bind((sys.argv[1], 8443))
listener.listen()
print('listening', flush=True)
while True:
    stream, _ = listener.accept()
    host, port = stream.getsockname()[:2]
    stream.sendall(f'transparent as {host} {port}\\n'.encode())
    stream.close()
";

impl Scene {
    /// The same, with a listener for transparent capture in the configuration.
    fn transparent() -> Option<Self> {
        let scene = Self::new(INBOUND)?;
        let configuration = fs::read_to_string(scene.path("postern.yaml")).expect("the configuration");
        let transparent =
            configuration.replace("8443\", captured: redirect", "8443\", captured: transparent");
        fs::write(scene.path("postern.yaml"), transparent).expect("a file");
        Some(scene)
    }

    /// That listener, for the family of `service`; gone when dropped.
    fn listen(&self, service: IpAddr) -> Running {
        let mut command = self.wire.service.command(Path::new("python3"));
        command.args(["-c", TRANSPARENT, if service.is_ipv6() { "::" } else { "0.0.0.0" }]);
        let mut listener = Running::start("transparent", command, self.wire.folder.path());
        listener.wait_for("its socket", LIMIT, |output| output.contains("listening").then_some(()));
        listener
    }

    /// Makes connection tracking believe in connections that the caller opened, one for each of [`FROM`].
    fn track(&self, conntrack: &Path, ends: impl Fn(u16) -> String) {
        for port in FROM {
            let entry = format!("-I -p tcp {} --state ESTABLISHED -u SEEN_REPLY,ASSURED -t 600", ends(port));
            self.wire.service.run(conntrack, &entry.split(' ').collect::<Vec<_>>()).expect_code(0);
        }
    }

    fn forget_tracked(&self, conntrack: &Path) {
        for family in ["ipv4", "ipv6"] {
            self.wire.service.run(conntrack, &["-F", "-f", family]).expect_code(0);
        }
    }

    fn nft(&self, rules: &str) {
        self.wire.service.run(&self.tools.nft, &[rules]).expect_code(0);
    }
}

fn write_sysctl(name: &str, value: &str) {
    fs::write(Path::new("/proc/sys/net").join(name), value).expect("sysctl");
}

#[test]
fn transparent_capture_leaves_the_destination_and_lets_nothing_by_without_the_listener() {
    let Some(scene) = Scene::transparent() else { return };
    for address in Wire::SERVICE.into_iter().chain(LOOPBACK) {
        scene.wire.service.serve("app", SocketAddr::new(address, 8080));
    }
    for backend in scene.backends() {
        let addresses = Wire::SERVICE.map(|service| SocketAddr::new(service, 8080));
        let mut standing = addresses.map(|address| scene.wire.outside.connect(0, address));
        assert_eq!(standing.each_mut().map(|standing| standing.read()), ["app", "app"], "{backend}");
        scene.capture(&["enable", "--permanent", "--backend", backend]).expect_code(0);
        for (address, loopback) in addresses.into_iter().zip(LOOPBACK) {
            check(&scene, backend, ("outside", 0), address, "TimedOut");
            let _listener = scene.listen(address.ip());
            let led = format!("transparent as {} 8080", address.ip());
            check(&scene, backend, ("outside", 0), address, &led);
            check(&scene, backend, ("service", SERVICE), address, "app");
            check(&scene, backend, ("service", SERVICE), SocketAddr::new(loopback, 8080), "app");
            let echoes = standing.each_mut().map(|standing| standing.echo("on"));
            assert_eq!(echoes, ["on", "on"], "{backend}: what stood before");
        }
        scene.capture(&["disable"]).expect_code(0);
    }
}

/// A kernel that sends SYN cookies keeps nothing of a connection until the last packet of its handshake.
#[test]
fn transparent_capture_leads_connections_also_while_syn_cookies_are_sent() {
    let Some(scene) = Scene::transparent() else { return };
    scene.wire.service.within(0, || write_sysctl("ipv4/tcp_syncookies", "2"));
    scene.wire.service.serve("app", SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 8080));
    for service in Wire::SERVICE {
        let _listener = scene.listen(service);
        for backend in scene.backends() {
            scene.capture(&["enable", "--permanent", "--backend", backend]).expect_code(0);
            let led = format!("transparent as {service} 8080");
            check(&scene, backend, ("outside", 0), SocketAddr::new(service, 8080), &led);
            scene.capture(&["disable"]).expect_code(0);
        }
    }
}

/// A translation of somebody else's, to the service.
const LED_ON: &str = "table ip earlier { chain prerouting { type nat hook prerouting priority -150; tcp dport 7777 redirect to :8080; }; }";

/// Somebody calls the service past what leads to the listener: by another translation, and as what connection tracking was
/// talked into taking for part of a connection, which reaches the `taken`; every other connection is `led`.
#[track_caller]
fn check_inbound(scene: &Scene, led: &str, taken: &str) {
    let Some(conntrack) = peer("POSTERN_CONNTRACK") else { return };
    let [service, _] = Wire::SERVICE;
    let [captured, led_on] = [8080, 7777].map(|port| SocketAddr::new(service, port));
    scene.nft(LED_ON);
    scene.wire.outside.within(0, || write_sysctl("ipv4/ip_local_port_range", "31000 31009"));
    check(scene, "none", ("outside", 0), led_on, "app for 10.77.0.2:7777");
    for backend in scene.backends() {
        scene.capture(&["enable", "--permanent", "--backend", backend]).expect_code(0);
        check(scene, backend, ("outside", 0), led_on, "TimedOut");
        scene.forget_tracked(&conntrack);
        scene.track(&conntrack, |port| format!("-s 10.77.0.1 -d 10.77.0.2 --sport {port} --dport 8080"));
        check(scene, backend, ("outside", 0), captured, taken);
        scene.forget_tracked(&conntrack);
        check(scene, backend, ("outside", 0), captured, led);
        scene.capture(&["disable"]).expect_code(0);
    }
}

#[test]
fn what_is_not_redirected_does_not_reach_the_service_either() {
    let Some(scene) = Scene::new(INBOUND) else { return };
    scene.serve();
    check_inbound(&scene, "listener for 10.77.0.2:8080", "TimedOut");
}

#[test]
fn what_is_not_led_to_a_transparent_listener_does_not_reach_the_service_either() {
    let Some(scene) = Scene::transparent() else { return };
    scene.wire.service.serve("app", SocketAddr::new(Wire::SERVICE[0], 8080));
    let _listener = scene.listen(Wire::SERVICE[0]);
    let led = "transparent as 10.77.0.2 8080";
    check_inbound(&scene, led, led);
}

/// Of a connection that the listener ended the kernel keeps something for a while. What comes from the same port next meets
/// with it, and only some of these count as new connections: for others its sequence number or time is too old.
#[test]
fn what_is_left_of_a_connection_that_was_led_is_no_way_to_the_service() {
    let Some(conntrack) = peer("POSTERN_CONNTRACK") else { return };
    let Some(scene) = Scene::transparent() else { return };
    let [captured, led_on] = [8080, 7777].map(|port| SocketAddr::new(Wire::SERVICE[0], port));
    scene.wire.service.serve("app", captured);
    let _listener = scene.listen(captured.ip());
    scene.nft(LED_ON);
    let outside = &scene.wire.outside;
    outside.within(0, || write_sysctl("ipv4/ip_local_port_range", "31000 31009"));
    for backend in scene.backends() {
        scene.capture(&["enable", "--permanent", "--backend", backend]).expect_code(0);
        for _ in 0..30 {
            let mut led = outside.connect(0, captured);
            let said = [led.read(), led.read()];
            assert_eq!(said, ["transparent as 10.77.0.2 8080", ""], "{backend}: the listener ends it");
        }
        // Connection tracking alone would not let the port be the same.
        scene.forget_tracked(&conntrack);
        let said = std::thread::scope(|scope| {
            let asking = FROM.map(|_| scope.spawn(|| outside.ask(0, led_on))).collect::<Vec<_>>();
            asking.into_iter().map(|asked| asked.join().expect("an answer")).collect::<Vec<_>>()
        });
        assert_eq!(said, ["TimedOut"; 10], "{backend}");
        check(&scene, backend, ("outside", 0), captured, "transparent as 10.77.0.2 8080");
        scene.capture(&["disable"]).expect_code(0);
    }
}

/// The ports that the service itself can be made to come from are excluded, which is about where it calls.
const EXCLUDED: &str = "\
\x20 outbound:
    listener: egress
    listener_ipv6: egress6
    own: { uid: 1337 }
    exclude:
      ports: [22, 31000, 31001, 31002, 31003, 31004, 31005, 31006, 31007, 31008, 31009]
      networks: [10.78.0.0/24, \"fd78::/64\"]
";
/// Rules of others: some before ours are asked, some after.
const TRANSLATED: &str = "
table inet earlier {
    chain output { type nat hook output priority -150;
        tcp dport 7777 dnat ip to 10.77.0.1:80
        tcp dport 7777 dnat ip6 to [fd77::1]:80
        tcp dport 7778 dnat ip to 10.78.0.1:80
        tcp dport 7778 dnat ip6 to [fd78::1]:80
    }
}
table inet later {
    chain output { type nat hook output priority -90;
        ip daddr 10.78.0.9 tcp dport 80 dnat ip to 10.77.0.1:80
        ip6 daddr fd78::9 tcp dport 80 dnat ip6 to [fd77::1]:80
        tcp dport 22 dnat ip to 10.77.0.1:80
        tcp dport 22 dnat ip6 to [fd77::1]:80
    }
}";
const UNTRACKED: &str =
    "table inet untracked { chain output { type filter hook output priority -300; tcp dport 80 notrack; }; }";

#[test]
fn what_cannot_be_redirected_does_not_leave_and_what_is_excluded_goes_where_others_lead_it() {
    let Some(conntrack) = peer("POSTERN_CONNTRACK") else { return };
    let Some(scene) = Scene::new(EXCLUDED) else { return };
    scene.serve();
    scene.nft(TRANSLATED);
    let ports = |range| scene.wire.service.within(0, || write_sysctl("ipv4/ip_local_port_range", range));
    let excluded: [IpAddr; 2] = ["10.78.0.9", "fd78::9"].map(|address| address.parse().expect("an address"));
    for backend in scene.backends() {
        scene.capture(&["enable", "--permanent", "--backend", backend]).expect_code(0);
        for index in [0, 1] {
            let check = |uid, ip, port, reached: &str| {
                check(&scene, backend, ("service", uid), SocketAddr::new(ip, port), reached);
            };
            let (service, outside) = (Wire::SERVICE[index], Wire::OUTSIDE[index]);
            let led = format!("egress for {}", SocketAddr::new(outside, 80));
            check(SERVICE, outside, 80, &led);
            check(SERVICE, outside, 7777, "ConnectionRefused");
            check(OWN, outside, 7777, "world");
            check(SERVICE, outside, 7778, "network");
            check(SERVICE, excluded[index], 80, "world");
            check(SERVICE, outside, 22, "world");

            ports("31000 31009");
            scene.forget_tracked(&conntrack);
            let ends = |port| format!("-s {outside} -d {service} --sport 80 --dport {port}");
            scene.track(&conntrack, ends);
            check(SERVICE, outside, 80, "ConnectionRefused");
            check(OWN, outside, 80, "world");
            ports("32768 60999");
            scene.forget_tracked(&conntrack);

            scene.nft(UNTRACKED);
            check(SERVICE, outside, 80, "ConnectionRefused");
            check(OWN, outside, 80, "world");
            scene.nft("delete table inet untracked");
            check(SERVICE, outside, 80, &led);
        }
        scene.capture(&["disable"]).expect_code(0);
    }
}
