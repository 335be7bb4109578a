//! What becomes of names, by whatever is answered.
mod services;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use tokio::time::Instant;

use super::*;
use crate::clock::SystemClock;
use crate::traffic::share::Share;

/// Answers one after the other, the last one for ever.
#[derive(Debug)]
struct Script(Mutex<VecDeque<Answer>>);

impl Resolve for Script {
    fn resolve<'r>(&'r self, _: &'r str) -> Resolving<'r> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}

fn family(text: &str) -> Result<Found, Trouble> {
    match text {
        "nothing" => Err(Trouble::Nothing),
        "fails" => Err(Trouble::Failed("refused".to_owned())),
        found => {
            let (ttl, addresses) = found.split_once(' ').unwrap_or((found, ""));
            let addresses = addresses.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
            Ok(Found { addresses, ttl: Duration::from_secs(ttl.parse().unwrap()) })
        }
    }
}

fn answer((v4, v6): (&str, &str)) -> Answer {
    Answer { v4: family(v4), v6: family(v6) }
}

fn orders(loopback_only: bool) -> Named {
    let endpoint = NamedEndpoint { host: "orders".to_owned(), port: Some(8443), loopback_only };
    Named { upstream: "app".into(), endpoint }
}

fn surroundings(answers: &[(&str, &str)], own: &str) -> (Surroundings, mpsc::Receiver<NameUpdate>) {
    let answers = answers.iter().copied().map(answer).collect();
    asking(Arc::new(Script(Mutex::new(answers))), own)
}

fn asking(resolver: Arc<dyn Resolve>, own: &str) -> (Surroundings, mpsc::Receiver<NameUpdate>) {
    let (updates, found) = mpsc::channel(1);
    let own = watch::channel(own.split_whitespace().map(|own| own.parse().unwrap()).collect()).1;
    (Surroundings { resolver, clock: Arc::new(SystemClock::default()), own, updates }, found)
}

/// What was found, or why nothing was; shares as `priority/weight`, where there are any, the latter in thousands.
fn text(found: &Result<Vec<Located>, String>) -> String {
    let place = |Located { address, share }: &Located| match *share {
        share if share == Share::default() => address.to_string(),
        Share { priority, weight } => format!("{address}*{priority}/{}", weight / 1000),
    };
    match found {
        Ok(places) => places.iter().map(place).collect::<Vec<_>>().join(" "),
        Err(why) => format!("! {why}"),
    }
}

/// After these answers comes this update, and then this wait.
fn check(answers: &[(&str, &str)], (loopback_only, own): (bool, &str), expected: &str, wait_s: u64) {
    let surroundings = surroundings(answers, own);
    becomes(orders(loopback_only), surroundings, answers.len(), (expected, wait_s));
}

/// So many updates later it has come to this, and then comes this wait.
fn becomes(
    named: Named,
    (surroundings, mut found): (Surroundings, mpsc::Receiver<NameUpdate>),
    updates: usize,
    (expected, wait_s): (&str, u64),
) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (wanted, wanting) = watch::channel(vec![named]);
        let following = tokio::spawn(run(wanting, surroundings));
        for _ in 1..updates {
            found.recv().await.unwrap();
        }
        let update = found.recv().await.unwrap();
        let trouble = update.trouble.map_or_else(String::new, |why| format!(" ? {why}"));
        assert_eq!(text(&update.found) + &trouble, expected);
        let told = Instant::now();
        found.recv().await.unwrap();
        // Failures are not repeated in step with everybody else.
        let wait = told.elapsed().as_secs_f64();
        let is_about = (wait - wait_s as f64).abs() <= wait_s as f64 / 10.0 + 0.01;
        assert!(is_about, "{wait} s instead of {wait_s} s after {expected}");
        drop(wanted);
        following.abort();
    });
}

const ANYWHERE: (bool, &str) = (false, "");

#[test]
fn both_families_are_sorted_and_each_address_is_taken_once() {
    let found = ("30 10.0.0.2 10.0.0.1 10.0.0.2", "20 2001:db8::1");
    check(&[found], ANYWHERE, "10.0.0.1:8443 10.0.0.2:8443 [2001:db8::1]:8443", 20);
    check(&[("30 10.0.0.1", "nothing")], ANYWHERE, "10.0.0.1:8443", 30);
    check(&[("nothing", "30 2001:db8::1")], ANYWHERE, "[2001:db8::1]:8443", 30);
    check(&[("30 10.0.0.1", "30 ::ffff:10.0.0.1")], ANYWHERE, "10.0.0.1:8443", 30);
}

#[test]
fn a_name_is_asked_for_again_when_its_records_say_so_within_bounds() {
    check(&[("0 10.0.0.1", "nothing")], ANYWHERE, "10.0.0.1:8443", 5);
    check(&[("4 10.0.0.1", "nothing")], ANYWHERE, "10.0.0.1:8443", 5);
    check(&[("86400 10.0.0.1", "nothing")], ANYWHERE, "10.0.0.1:8443", 300);
}

#[test]
fn a_failure_and_an_empty_answer_bring_nothing_and_are_tried_again_later_each_time() {
    check(&[("fails", "fails")], ANYWHERE, "! AAAA: refused", 1);
    check(&[("nothing", "nothing")], ANYWHERE, "! it has no address", 1);
    check(&[("5", "5")], ANYWHERE, "! it has no address", 1);
    check(&[("nothing", "fails")], ANYWHERE, "! AAAA: refused", 1);
    check(&[("fails", "fails"), ("fails", "fails")], ANYWHERE, "! AAAA: refused", 2);
    let often = [("nothing", "nothing"); 8];
    check(&often, ANYWHERE, "! it has no address", 60);
    let well_between =
        [("fails", "fails"), ("fails", "fails"), ("9 10.0.0.1", "nothing"), ("fails", "fails")];
    check(&well_between, ANYWHERE, "! AAAA: refused", 1);
}

#[test]
fn a_family_of_which_nobody_can_say_anything_keeps_its_addresses() {
    let both = ("30 10.0.0.1", "30 2001:db8::1");
    let half = ("30 10.0.0.2", "fails");
    check(&[both, half], ANYWHERE, "10.0.0.2:8443 [2001:db8::1]:8443 ? AAAA: refused", 1);
    check(&[both, half, half], ANYWHERE, "10.0.0.2:8443 [2001:db8::1]:8443 ? AAAA: refused", 2);
    check(&[both, half, both, half], ANYWHERE, "10.0.0.2:8443 [2001:db8::1]:8443 ? AAAA: refused", 1);
    let shorter = ("7 10.0.0.2", "fails");
    check(&[shorter; 5], ANYWHERE, "10.0.0.2:8443 ? AAAA: refused", 7);
    let other = ("fails", "30 2001:db8::2");
    check(&[both, other], ANYWHERE, "10.0.0.1:8443 [2001:db8::2]:8443 ? A: refused", 1);
    check(&[both, ("30 10.0.0.2", "nothing")], ANYWHERE, "10.0.0.2:8443", 30);
}

#[test]
fn addresses_that_must_not_be_called_are_left_out() {
    let own = "127.0.0.1:8443 10.0.0.9:8443 10.0.0.8:9999";
    let found = ("30 10.0.0.8 10.0.0.9 127.0.0.1", "nothing");
    check(&[found], (false, own), "10.0.0.8:8443", 30);
    let back = "! none of its addresses can be used: 127.0.0.1 leads back to this sidecar";
    check(&[("30 127.0.0.1", "nothing")], (false, own), back, 1);
    check(&[("30 127.0.0.1", "nothing")], (false, "0.0.0.0:8443"), back, 1);
    check(&[("30 127.0.0.1", "nothing")], (false, "[::]:8443"), back, 1);
    // An address of the documentation is nobody's.
    check(&[("30 192.0.2.1", "nothing")], (false, "0.0.0.0:8443"), "192.0.2.1:8443", 30);
    check(&[("30 0.0.0.0 224.0.0.1 10.0.0.1", "30 :: ff02::1")], ANYWHERE, "10.0.0.1:8443", 30);
    check(&[("30 10.0.0.1 127.0.0.1", "30 ::1 2001:db8::1")], (true, ""), "127.0.0.1:8443 [::1]:8443", 30);
    let beyond = "! none of its addresses can be used: 10.0.0.1 is beyond loopback, and what is spoken there has no TLS";
    check(&[("30 10.0.0.1", "nothing")], (true, ""), beyond, 1);
}

#[test]
fn of_many_addresses_the_same_ones_are_taken_every_time() {
    let all: Vec<String> = (0..300_u32).map(|n| Ipv4Addr::from(0x0a00_0000 + n).to_string()).collect();
    let backwards: Vec<String> = all.iter().rev().cloned().collect();
    let expected: Vec<String> = all.iter().take(256).map(|ip| format!("{ip}:8443")).collect();
    for order in [all, backwards] {
        check(&[(&format!("30 {}", order.join(" ")), "nothing")], ANYWHERE, &expected.join(" "), 30);
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_stays_is_not_asked_for_anew_and_one_that_goes_is_not_asked_for_at_all() {
    let (surroundings, mut found) = surroundings(&[("100 10.0.0.1", "nothing")], "");
    let other = Named { upstream: "other".into(), ..orders(false) };
    let (wanted, wanting) = watch::channel(vec![orders(false)]);
    let following = tokio::spawn(run(wanting, surroundings));
    let mut next = async || (found.recv().await.unwrap().named, Instant::now());
    let (first, began) = next().await;
    assert_eq!(first, orders(false));
    wanted.send_replace(vec![orders(false), other.clone()]);
    assert_eq!(next().await, (other.clone(), began));
    wanted.send_replace(vec![other.clone()]);
    for _ in 0..3 {
        assert_eq!(next().await.0, other);
    }
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_a_failure() {
    let (surroundings, mut found) = surroundings(&[], "");
    let (_wanted, wanting) = watch::channel(vec![orders(false)]);
    let following = tokio::spawn(run(wanting, surroundings));
    let update = found.recv().await.unwrap();
    assert_eq!(text(&update.found), "! AAAA: no answer within 10 s");
    following.abort();
}

/// A server that knows these records, and answers all else with NXDOMAIN; what ends in `broken.` with SERVFAIL.
async fn server(records: &'static [(&'static str, &'static str, u32)]) -> SocketAddr {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query).await {
            socket.send_to(&answered(&query[..length], records), from).await.unwrap();
        }
    });
    address
}

/// RFC 1035 §4.1, by hand: what is asked, and the records of that name and type.
fn answered(query: &[u8], records: &[(&str, &str, u32)]) -> Vec<u8> {
    let (mut name, mut at) = (String::new(), 12);
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        name.push_str(std::str::from_utf8(&query[at + 1..end]).unwrap());
        name.push('.');
        at = end;
    }
    let (name, kind, question) = (name.to_ascii_lowercase(), query[at + 2], &query[12..at + 5]);
    let of_name: Vec<_> = records.iter().filter(|(known, ..)| *known == name).collect();
    let mut answers = Vec::new();
    let mut count = 0;
    for (_, data, ttl) in &of_name {
        let bytes = match data.parse() {
            Ok(IpAddr::V4(ip)) if kind == 1 => ip.octets().to_vec(),
            Ok(IpAddr::V6(ip)) if kind == 28 => ip.octets().to_vec(),
            Err(_) if kind == 33 => services::data(data),
            Ok(IpAddr::V4(_) | IpAddr::V6(_)) | Err(_) => continue,
        };
        count += 1;
        answers.extend([0xc0, 12, 0, kind, 0, 1]);
        answers.extend(ttl.to_be_bytes());
        answers.extend([0, u8::try_from(bytes.len()).unwrap()]);
        answers.extend(bytes);
    }
    let code = if name.ends_with("broken.") {
        2
    } else if of_name.is_empty() {
        3
    } else {
        0
    };
    let head = [query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    [&head, question, &answers].concat()
}

const RECORDS: &[(&str, &str, u32)] = &[
    ("orders.shop.svc.", "10.0.0.1", 30),
    ("orders.shop.svc.", "10.0.0.2", 20),
    ("orders.shop.svc.", "2001:db8::1", 40),
    ("four.example.org.", "10.0.0.4", 5),
    ("six.example.org.", "2001:db8::6", 6),
    ("orders.", "10.9.9.9", 30),
    ("_http._tcp.orders.shop.svc.", "10 5 8443 One.Shop.svc.", 30),
    ("_http._tcp.orders.shop.svc.", "0 7 8444 two.example.org.", 20),
    ("_http._tcp.none.example.org.", "0 0 0 .", 20),
];

/// A host is resolved by a real server, through a search list, to this.
async fn resolves(host: &str, v4: &str, v6: &str) {
    let Answer { v4: found_v4, v6: found_v6 } = system::look_up(&resolver().await, host).await;
    for (found, expected) in [(found_v4, v4), (found_v6, v6)] {
        let found = match found {
            Ok(mut found) => {
                found.addresses.sort();
                let all: Vec<_> = found.addresses.iter().map(IpAddr::to_string).collect();
                format!("{} {}", found.ttl.as_secs(), all.join(" "))
            }
            Err(Trouble::Nothing) => "nothing".to_owned(),
            Err(Trouble::Failed(_)) => "fails".to_owned(),
        };
        assert_eq!(found, expected, "{host}");
    }
}

/// It asks a server of its own, which knows the records.
async fn resolver() -> TokioResolver {
    let at = server(RECORDS).await;
    let mut connection = ConnectionConfig::udp();
    connection.port = at.port();
    let mut server = NameServerConfig::udp(at.ip());
    server.connections = vec![connection];
    let search = vec![Name::from_ascii("shop.svc.").unwrap(), Name::from_ascii("svc.").unwrap()];
    let config = ResolverConfig::from_parts(None, search, vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().cache_size = 0;
    builder.options_mut().attempts = 1;
    builder.build().unwrap()
}

#[tokio::test]
async fn a_server_is_asked_for_both_families_along_the_search_list() {
    resolves("orders", "20 10.0.0.1 10.0.0.2", "40 2001:db8::1").await;
    resolves("orders.", "30 10.9.9.9", "nothing").await;
    resolves("orders.shop", "20 10.0.0.1 10.0.0.2", "40 2001:db8::1").await;
    resolves("four.example.org", "5 10.0.0.4", "nothing").await;
    resolves("six.example.org", "nothing", "6 2001:db8::6").await;
    resolves("nobody.example.org.", "nothing", "nothing").await;
    resolves("is.broken.", "fails", "fails").await;
}

#[tokio::test]
async fn localhost_is_this_machine_by_the_system_s_own_resolver() {
    let Answer { v4, v6 } = System::default().resolve("localhost").await;
    let all = [v4, v6].into_iter().flatten().flat_map(|found| found.addresses);
    let all: Vec<IpAddr> = all.collect();
    assert!(!all.is_empty() && all.iter().all(IpAddr::is_loopback), "{all:?}");
}
