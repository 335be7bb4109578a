//! An upstream's name, of which the server says something else all the time.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::Method;
use postern_tests::Upstream;
use postern_tests::netns::Routed;
use postern_tests::process::wait;
use postern_tests::upstream::Speaks;
use serde_json::json;

use crate::LIMIT;
use crate::far::{Far, endpoints};

/// The longest answer over UDP without extensions (RFC 1035 §4.2.1); longer ones are asked for by TCP.
const UDP_BYTES_MAX: usize = 512;

/// What a server says: these addresses, or this error.
#[derive(Clone, Debug)]
enum Says {
    Addresses(Vec<Ipv4Addr>),
    Code(u8),
}

const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// A server that says the same of every name, and how often it was asked for addresses of IPv4.
#[derive(Clone)]
struct Server(Arc<Mutex<(Says, usize)>>);

impl Server {
    fn start(net: &Routed, address: SocketAddr, says: Says) -> Self {
        let server = Self(Arc::new(Mutex::new((says, 0))));
        let (udp, tcp) = net.server.within(0, || {
            (UdpSocket::bind(address).expect("a free port"), TcpListener::bind(address).expect("a free port"))
        });
        let (of_udp, of_tcp) = (server.clone(), server.clone());
        std::thread::spawn(move || {
            let mut query = [0; UDP_BYTES_MAX];
            while let Ok((length, from)) = udp.recv_from(&mut query) {
                drop(udp.send_to(&of_udp.answer(&query[..length], UDP_BYTES_MAX), from));
            }
        });
        std::thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let server = of_tcp.clone();
                std::thread::spawn(move || server.talk(stream));
            }
        });
        server
    }

    fn say(&self, says: Says) {
        self.0.lock().expect("nobody panicked").0 = says;
    }

    fn asked(&self) -> usize {
        self.0.lock().expect("nobody panicked").1
    }

    fn talk(&self, mut stream: TcpStream) {
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut query).is_err() {
                return;
            }
            let answer = self.answer(&query, usize::from(u16::MAX));
            let length = u16::try_from(answer.len()).expect("no longer than that");
            drop(stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()));
        }
    }

    /// RFC 1035 §4.1: the question again, and the records to it; none may be kept for any time.
    fn answer(&self, query: &[u8], longest: usize) -> Vec<u8> {
        let mut at = 12;
        while query[at] != 0 {
            at += 1 + usize::from(query[at]);
        }
        let (is_ipv4, question) = (query[at + 2] == 1, &query[12..at + 5]);
        let mut state = self.0.lock().expect("nobody panicked");
        state.1 += usize::from(is_ipv4);
        let (addresses, code) = match &state.0 {
            Says::Addresses(all) if is_ipv4 => (all.clone(), 0),
            Says::Addresses(_) => (Vec::new(), 0),
            Says::Code(code) => (Vec::new(), *code),
        };
        let record =
            |ip: &Ipv4Addr| [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4], ip.octets().as_slice()].concat();
        let count = u16::try_from(addresses.len()).expect("not that many").to_be_bytes();
        let head = [query[0], query[1], 0x81, 0x80 | code, 0, 1, count[0], count[1], 0, 0, 0, 0];
        let answer = [&head, question, &addresses.iter().flat_map(record).collect::<Vec<_>>()].concat();
        if answer.len() <= longest {
            return answer;
        }
        [&[query[0], query[1], 0x83, 0x80, 0, 1, 0, 0, 0, 0, 0, 0], question].concat()
    }
}

/// So many addresses of the server beside its own ones.
fn many(count: u16) -> Vec<Ipv4Addr> {
    (1..=count).map(|number| Ipv4Addr::from(0x0a53_0000 + u32::from(number))).collect()
}

#[test]
fn what_a_name_led_to_last_stays_in_force_whatever_its_server_says() {
    let [first, second] = endpoints();
    let names = SocketAddr::new(first.ip(), 53);
    let Some(net) = Routed::new() else { return };
    let ip = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    let server = Server::start(&net, names, Says::Addresses(vec![ip(first)]));
    let far = Far::start_in(net, Speaks::Http1, 1, |scene, upstream| {
        fs::write(scene.path("resolv.conf"), format!("nameserver {}\n", names.ip())).expect("a file");
        upstream["endpoints"] = json!(["orders.test.:9000"]);
    });
    let began = Instant::now();
    let ask = || far.ask(Method::GET, "/").0.map_or(0, |answer| answer.status.as_u16());
    let metric = |series: &str| far.net.client.within(0, || far.sidecar.metric(series));
    let refreshes = |result: &str| {
        let series = "postern_upstream_dns_refreshes_total{upstream=\"app\",result=\"";
        metric(&format!("{series}{result}\""))
    };
    let services = [first, second].map(|at| far.net.server.within(0, || Upstream::start_at(at)));
    assert_eq!((ask(), services[0].count()), (200, 1));

    server.say(Says::Addresses(vec![ip(second)]));
    wait("the other address", LIMIT, || {
        assert_eq!(ask(), 200, "the name leads somewhere all the time");
        (services[1].count() > 0).then_some(())
    });
    let before = services[1].count();
    for (code, name) in [(NXDOMAIN, "NXDOMAIN"), (SERVFAIL, "SERVFAIL")] {
        let failures = refreshes("failure");
        server.say(Says::Code(code));
        wait(name, LIMIT, || (refreshes("failure") > failures + 0.5).then_some(()));
        assert_eq!(ask(), 200, "{name}");
    }
    assert_eq!(services[1].count(), before + 2, "where it led last");

    far.net.server_has("10.83.0.0/16");
    drop(services);
    let _all = far.net.server.within(0, || Upstream::start_at("[::]:9000".parse().expect("an address")));
    server.say(Says::Addresses(many(1000)));
    let available = || metric("postern_upstream_endpoints{upstream=\"app\",state=\"available\"");
    wait("many addresses", LIMIT, || (available() > 1.5).then_some(()));
    assert!((available() - 256.0).abs() < 0.5, "{} of a thousand addresses", available());
    assert!((0..20).all(|_| ask() == 200));
    // Nothing that it said may be kept, and still it is not asked all the time.
    let (asked, seconds) = (server.asked(), began.elapsed().as_secs());
    println!("asked {asked} times in {seconds} s");
    assert!(asked as u64 <= seconds + 8, "asked {asked} times in {seconds} s");
}
