//! Endpoints that cannot be reached, that answer too late, and that stop in the middle.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use http::Method;
use postern_tests::netns::Routed;
use postern_tests::upstream::Speaks;
use postern_tests::{Scene, Upstream};
use serde_json::{Value, json};

use crate::far::{Far, endpoints, request, timed};
use crate::{LIMIT, facts, logged};

/// How many attempts failed at the first endpoint, and with what reason.
fn tried(scene: &Scene, reason: &str) -> usize {
    let outcomes = logged(scene, "outcome");
    let all = outcomes.iter().filter_map(|outcome| outcome["tried"].as_array()).flatten();
    let first = endpoints()[0].to_string();
    all.filter(|tried| tried["endpoint"] == first && tried["reason"] == reason).count()
}

#[test]
fn an_endpoint_that_says_nothing_at_all_is_given_up_in_time_and_another_one_answers() {
    let hole = format!("ip daddr {} tcp flags syn drop", Routed::SERVER[0]);
    for count in [1, 2] {
        let change = |upstream: &mut Value, listener: &mut Value| {
            upstream["connect_timeout"] = json!("500ms");
            listener["routes"][0]["retry"] = json!({ "attempts_max": 2, "on": ["connect_failure"] });
        };
        let Some(far) = Far::start(Speaks::Http1, count, change) else { return };
        let _services = endpoints().map(|at| far.net.server.within(0, || Upstream::start_at(at)));
        far.net.on_the_way(&[&hole]);
        for number in 0..6 {
            let (answer, took) = far.ask(Method::POST, &format!("/{number}"));
            let answer = answer.expect("an answer");
            let expected =
                if count == 1 { (503, json!("upstream.connect_failed")) } else { (200, Value::Null) };
            assert_eq!((answer.status.as_u16(), answer.json()["reason"].clone()), expected, "{answer:?}");
            assert!(took < Duration::from_secs(3), "{took:?}");
        }
        let scene = far.stop();
        assert_eq!(facts(&logged(&scene, "decision"), ["decision"]), [["allow"]; 6]);
        assert!(tried(&scene, "upstream.connect_failed") > 0, "{:?}", logged(&scene, "outcome"));
    }
}

#[test]
fn a_connection_whose_first_packet_is_lost_is_made_by_the_second() {
    let Some(far) = Far::start(Speaks::Http1, 1, |_, _| {}) else { return };
    let _service = far.net.server.within(0, || Upstream::start_at(endpoints()[0]));
    let first = format!("ip daddr {} tcp flags syn numgen inc mod 1000000 == 0 drop", Routed::SERVER[0]);
    far.net.on_the_way(&[&first]);
    let (answer, took) = far.ask(Method::GET, "/");
    assert_eq!(answer.expect("an answer").status, 200);
    assert!(took >= Duration::from_secs(1), "nothing was lost: {took:?}");
}

#[test]
fn an_endpoint_that_does_not_answer_costs_each_request_one_try_and_is_then_left_out() {
    let change = |upstream: &mut Value, listener: &mut Value| {
        upstream["balance"] = json!("round_robin");
        upstream["outlier"] = json!({ "consecutive_failures": 5 });
        let tries = json!({ "attempts_max": 2, "on": ["timeout"], "per_try_timeout": "300ms" });
        listener["routes"][0]["retry"] = tries;
    };
    let Some(far) = Far::start(Speaks::Http1, 2, change) else { return };
    let [silent, good] = endpoints();
    let _silent = far.net.server.within(0, || TcpListener::bind(silent).expect("a free port"));
    let service = far.net.server.within(0, || Upstream::start_at(good));
    let ejected = || far.net.client.within(0, || far.sidecar.metric("postern_upstream_ejections_total"));
    assert!(ejected().abs() < 0.5);
    far.beside(|| async {
        let mut connection = far.connect().await;
        for number in 0..30 {
            let (answer, took) = timed(&mut connection, request(Method::GET, "/", 0)).await;
            let answer = answer.expect("an answer");
            assert_eq!(answer.status, 200, "{number}: {answer:?}");
            assert!(took < Duration::from_secs(3), "{number}: {took:?}");
        }
    });
    assert_eq!(service.count(), 30);
    assert!((ejected() - 1.0).abs() < 0.5, "{}", ejected());
    assert_eq!(tried(&far.stop(), "upstream.timeout"), 5);
}

/// A server that sends the head and half of what it promises, and a quarter of it whenever it is told to.
struct Halting {
    accepted: Receiver<Sender<()>>,
}

impl Halting {
    fn start(far: &Far) -> Self {
        let listener = far.net.server.within(0, || TcpListener::bind(endpoints()[0]).expect("a free port"));
        let (accepting, accepted) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, more) = channel();
                std::thread::spawn(move || halt(stream, &more));
                if accepting.send(sender).is_err() {
                    return;
                }
            }
        });
        Self { accepted }
    }
}

fn halt(mut stream: TcpStream, more: &Receiver<()>) {
    let mut request = [0; 4096];
    while stream.read(&mut request).is_ok_and(|length| length > 0) {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789"));
        for quarter in [b"01234", b"56789"] {
            if more.recv().is_err() {
                return;
            }
            drop(stream.write_all(quarter));
        }
    }
}

#[test]
fn a_connection_that_is_reset_in_the_middle_of_an_answer_breaks_it_off_and_is_not_used_again() {
    let Some(far) = Far::start(Speaks::Http1, 1, |_, _| ()) else { return };
    let server = Halting::start(&far);
    let next = || server.accepted.recv_timeout(LIMIT).expect("a connection");
    std::thread::scope(|scope| {
        let broken = scope.spawn(|| far.ask(Method::GET, "/broken").0);
        let first = next();
        let reached = || far.net.client.within(0, || far.sidecar.metric("postern_upstream_requests_total"));
        postern_tests::process::wait("its head", LIMIT, || (reached() > 0.5).then_some(()));
        // What acknowledges more of it is answered with a reset, and the last quarter never comes.
        let port = endpoints()[0].port();
        far.net.on_the_way(&[&format!("tcp dport {port} reject with tcp reset")]);
        first.send(()).expect("it waits");
        let broken = broken.join().expect("no panic").expect_err("half an answer");
        assert!(broken.contains("half a response"), "{broken}");

        far.net.on_the_way(&[]);
        let again = scope.spawn(|| far.ask(Method::GET, "/again").0);
        let second = next();
        for _ in 0..2 {
            second.send(()).expect("it waits");
        }
        let again = again.join().expect("no panic").expect("a whole answer");
        assert_eq!(&again.body[..], b"01234567890123456789");
    });
    let ended = facts(&logged(&far.stop(), "outcome"), ["end", "status"]);
    assert_eq!(ended, [["done", "200"], ["upstream_error", "200"]]);
}
