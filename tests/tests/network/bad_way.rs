//! A network that loses packets, is slow, or goes away for a while.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::Method;
use postern_tests::upstream::Speaks;
use postern_tests::{Upstream, Version};
use serde_json::{Value, json};

use crate::far::{Far, endpoints, request, timed};
use crate::logged;

/// How much longer than it may something takes on a busy machine.
const SLACK: Duration = Duration::from_millis(1500);

#[test]
fn where_packets_are_lost_every_request_is_answered_and_none_is_made_twice() {
    for (version, speaks) in [(Version::Http1, Speaks::Http1), (Version::Http2, Speaks::H2c)] {
        let patient = |upstream: &mut Value, _: &mut Value| upstream["connect_timeout"] = json!("5s");
        let Some(far) = Far::start(speaks, 1, patient) else { return };
        let service = far.net.server.within(0, || Upstream::start_speaking_at(speaks, endpoints()[0]));
        far.net.on_the_way(&["meta l4proto tcp numgen random mod 100 < 5 counter drop"]);
        far.beside(|| async {
            let ask = |caller| ask_often(&far, version, caller);
            tokio::join!(ask(0), ask(1), ask(2), ask(3));
        });
        assert!(far.net.counted() >= 5, "{} packets were lost", far.net.counted());
        let mut times = BTreeMap::new();
        for seen in service.seen() {
            *times.entry((seen["method"].to_string(), seen["path"].to_string())).or_insert(0) += 1;
        }
        assert_eq!(times.len(), 200, "{version:?}");
        assert!(times.values().all(|times| *times == 1), "{version:?}: {times:?}");
    }
}

async fn ask_often(far: &Far, version: Version, caller: usize) {
    let mut connection = far.caller.connect(far.scene.listener, version).await.expect("the sidecar is there");
    for number in 0..50 {
        let method = if number % 2 == 0 { Method::GET } else { Method::POST };
        let (answer, took) =
            timed(&mut connection, request(method, &format!("/{caller}/{number}"), 10)).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{version:?}, {number} after {took:?}: {answer:?}");
    }
}

#[test]
fn a_download_over_a_narrow_way_arrives_whole_and_starves_no_request_beside_it() {
    const LENGTH: usize = 1 << 20;
    let Some(far) = Far::start(Speaks::H2c, 1, |_, _| ()) else { return };
    let _service = far.net.server.within(0, || Upstream::start_speaking_at(Speaks::H2c, endpoints()[0]));
    if !far.net.narrow() {
        return;
    }
    far.beside(|| async {
        let mut connection = far.connect().await;
        let mut beside = connection.another_stream().expect("another stream");
        let has_ended = Cell::new(false);
        let download = async {
            // What is sent comes back.
            let (answer, took) = timed(&mut connection, request(Method::POST, "/large", LENGTH)).await;
            has_ended.set(true);
            let answer = answer.expect("a whole answer");
            assert_eq!(answer.json()["body"].as_str().map(str::len), Some(LENGTH), "{}", answer.status);
            assert!(took > Duration::from_secs(6), "a megabit a second takes longer than {took:?}");
        };
        let small = async {
            let mut all = Vec::new();
            while !has_ended.get() {
                let (answer, took) = timed(&mut beside, request(Method::GET, "/small", 0)).await;
                assert_eq!(answer.expect("an answer").status, 200);
                all.push(took);
            }
            all
        };
        let ((), all) = tokio::join!(download, small);
        let longest = all.iter().max().expect("at least one");
        println!("{} small requests, the longest took {longest:?}", all.len());
        assert!(all.len() > 3 && *longest < Duration::from_secs(3), "{all:?}");
    });
}

/// What was answered, and with what reason where it was a refusal, after how long.
type Seen = (u16, String, Duration);

#[test]
fn when_the_way_goes_away_requests_fail_in_time_and_when_it_is_back_they_pass() {
    for speaks in [Speaks::Http1, Speaks::H2c] {
        let impatient = |_: &mut Value, listener: &mut Value| listener["routes"][0]["timeout"] = json!("2s");
        let Some(far) = Far::start(speaks, 1, impatient) else { return };
        let _service = far.net.server.within(0, || Upstream::start_speaking_at(speaks, endpoints()[0]));
        // The router says that it knows no way, or nobody says anything.
        goes_away(&far, || far.net.route("link set server down"), || far.net.route("link set server up"));
        goes_away(&far, || far.net.on_the_way(&["drop"]), || far.net.on_the_way(&[]));
        let scene = far.stop();
        let refused = logged(&scene, "outcome").into_iter().filter(|outcome| outcome["status"] != 200);
        assert!(refused.count() >= 8);
    }
}

fn goes_away(far: &Far, cut: impl FnOnce() + Send, heal: impl FnOnce() + Send) {
    far.beside(|| async {
        let (seen, healed) = (RefCell::new(Vec::<Seen>::new()), Cell::new(None::<Instant>));
        let count = |is_good: bool| seen.borrow().iter().filter(|seen| (seen.0 == 200) == is_good).count();
        let asking = async {
            let mut connection = far.connect().await;
            loop {
                let (answer, took) = timed(&mut connection, request(Method::GET, "/", 0)).await;
                let answer = answer.expect("an answer");
                let reason = answer.json()["reason"].as_str().unwrap_or_default().to_owned();
                let is_good = answer.status == 200;
                seen.borrow_mut().push((answer.status.as_u16(), reason, took));
                if let Some(healed) = healed.get().filter(|_| is_good) {
                    return healed.elapsed();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let changing = async {
            until(|| count(true) >= 20).await;
            cut();
            until(|| count(false) >= 4).await;
            heal();
            healed.set(Some(Instant::now()));
        };
        let (back_after, ()) = tokio::join!(asking, changing);
        println!("back after {back_after:?}");
        assert!(back_after < Duration::from_secs(5), "{back_after:?}: {:?}", seen.borrow());
        for (status, reason, took) in seen.borrow().iter() {
            let what = (*status, reason.as_str());
            let in_time = *took < Duration::from_secs(2) + SLACK;
            let expected = [(200, ""), (503, "upstream.connect_failed"), (504, "upstream.timeout")];
            assert!(expected.contains(&what) && in_time, "{what:?} after {took:?}");
        }
    });
}

async fn until(mut ready: impl FnMut() -> bool) {
    let began = Instant::now();
    while !ready() {
        assert!(began.elapsed() < crate::LIMIT, "waited in vain");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
