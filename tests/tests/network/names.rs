//! An upstream's name, of which the server says something else all the time, and a service that is where its records say.

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

use crate::far::{Far, endpoints};
use crate::{LIMIT, logged};

/// The longest answer over UDP without extensions (RFC 1035 §4.2.1); longer ones are asked for by TCP.
const UDP_BYTES_MAX: usize = 512;

/// What a server says: these addresses, or that the service is at these ports of an address, by priority; or this error.
#[derive(Clone, Debug)]
enum Says {
    Addresses(Vec<Ipv4Addr>),
    Service(Ipv4Addr, Vec<(u16, u16)>),
    Code(u8),
}

const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// The types of records.
const A: u8 = 1;
const SRV: u8 = 33;

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
        let (kind, question) = (query[at + 2], &query[12..at + 5]);
        let mut state = self.0.lock().expect("nobody panicked");
        state.1 += usize::from(kind == A);
        let (records, code): (Vec<Vec<u8>>, u8) = match (&state.0, kind) {
            (Says::Addresses(all), A) => (all.iter().map(|ip| ip.octets().to_vec()).collect(), 0),
            (Says::Service(ip, _), A) => (vec![ip.octets().to_vec()], 0),
            (Says::Service(_, all), SRV) => (all.iter().map(service).collect(), 0),
            (Says::Addresses(_) | Says::Service(..), _) => (Vec::new(), 0),
            (Says::Code(code), _) => (Vec::new(), *code),
        };
        let record = |data: &Vec<u8>| {
            let length = u8::try_from(data.len()).expect("a short one");
            [&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, length], data.as_slice()].concat()
        };
        let count = u16::try_from(records.len()).expect("not that many").to_be_bytes();
        let head = [query[0], query[1], 0x81, 0x80 | code, 0, 1, count[0], count[1], 0, 0, 0, 0];
        let answer = [&head, question, &records.iter().flat_map(record).collect::<Vec<_>>()].concat();
        if answer.len() <= longest {
            return answer;
        }
        [&[query[0], query[1], 0x83, 0x80, 0, 1, 0, 0, 0, 0, 0, 0], question].concat()
    }
}

/// RFC 2782: a record of a service at a host that this server knows as well as any other.
fn service((priority, port): &(u16, u16)) -> Vec<u8> {
    let numbers = [*priority, 0, *port].map(u16::to_be_bytes);
    [numbers.concat().as_slice(), b"\x04host\x04test\0"].concat()
}

/// So many addresses of the server beside its own ones.
fn many(count: u16) -> Vec<Ipv4Addr> {
    (1..=count).map(|number| Ipv4Addr::from(0x0a53_0000 + u32::from(number))).collect()
}

fn ip(address: SocketAddr) -> Ipv4Addr {
    match address.ip() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

#[test]
fn what_a_name_led_to_last_stays_in_force_whatever_its_server_says() {
    let [first, second] = endpoints();
    let names = SocketAddr::new(first.ip(), 53);
    let Some(net) = Routed::new() else { return };
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

#[test]
fn a_service_is_at_the_ports_that_its_records_say_and_the_next_priority_stands_in() {
    let [first, second] = endpoints();
    let names = SocketAddr::new(first.ip(), 53);
    let Some(net) = Routed::new() else { return };
    let server = Server::start(&net, names, Says::Service(ip(first), vec![(7, 9002), (3, 9001)]));
    let at = |port| SocketAddr::new(first.ip(), port);
    let [main, spare] = [9001, 9002].map(|port| net.server.within(0, || Upstream::start_at(at(port))));
    let far = Far::start_in(net, Speaks::Http1, 1, |scene, upstream| {
        fs::write(scene.path("resolv.conf"), format!("nameserver {}\n", names.ip())).expect("a file");
        upstream["endpoints"] = json!(["srv:_http._tcp.orders.test."]);
        upstream["health"] = json!({ "probe": "connect", "interval": "1s", "unhealthy_after": 1 });
    });
    let ask = || far.ask(Method::GET, "/").0.map_or(0, |answer| answer.status.as_u16());
    assert!((0..5).all(|_| ask() == 200));
    assert_eq!((main.count(), spare.count()), (5, 0));
    drop(main);
    wait("the next priority", LIMIT, || (ask() == 200).then_some(()));
    assert_eq!(spare.count(), 1);
    let third = far.net.server.within(0, || Upstream::start_at(second));
    server.say(Says::Service(ip(second), vec![(3, second.port())]));
    wait("another place", LIMIT, || {
        assert_eq!(ask(), 200, "it is somewhere all the time");
        (third.count() > 0).then_some(())
    });
    let mut endpoints: Vec<String> =
        logged(&far.stop(), "outcome").iter().map(|of| of["endpoint"].to_string()).collect();
    endpoints.sort();
    endpoints.dedup();
    assert_eq!(endpoints, [at(9001), at(9002), second].map(|at| format!("\"{at}\"")));
}
