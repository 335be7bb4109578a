//! The same bytes to Postern, Envoy, nginx and HAProxy, each in front of an upstream that keeps what it is sent. What
//! Postern sends on must be what at least one of the others would have sent on too, and what it wrote down as decided.

mod cases;
mod frame_cases;
mod frames;
mod frames_mutated;
mod llhttp;
mod message;
mod mutated;
mod recorder;
mod sides;

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use postern_tests::sidecar::{assert_log_is_whole, records};
use postern_tests::{Scene, Sidecar};
use serde_json::{Value, json};

use frames::Frames;
use frames_mutated::FrameMutations;
use message::Message;
use mutated::Mutations;
use recorder::{Event, Recorder};
use sides::{Reading, Side};

/// How long nothing may come until a proxy is held to wait for more.
const PATIENCE: Duration = Duration::from_millis(100);

/// The same, where a proxy's answer decides whether the test fails.
const LONG_PATIENCE: Duration = Duration::from_secs(3);

const POLICY: &str = "package postern.authz\ndefault decision := true\n";

/// What is sent to every side.
trait Case: Clone + Sync {
    fn read(&self, side: &Side, number: usize, is_patient: bool) -> Reading;
    fn shown(&self) -> String;

    /// Whether Postern may send it on although no other proxy does so.
    fn is_excused(&self) -> bool {
        false
    }

    /// What a proxy may read apart, so that what is wrong with one part ends that part alone.
    fn parts(&self) -> Vec<Self> {
        vec![self.clone()]
    }
}

/// Bytes over HTTP/1.1.
impl Case for Vec<u8> {
    fn read(&self, side: &Side, number: usize, is_patient: bool) -> Reading {
        side.read(number, self, if is_patient { LONG_PATIENCE } else { PATIENCE })
    }

    fn shown(&self) -> String {
        format!("{:?}", String::from_utf8_lossy(self))
    }
}

impl Case for Frames {
    fn read(&self, side: &Side, number: usize, is_patient: bool) -> Reading {
        side.read_frames(number, self, (if is_patient { LONG_PATIENCE } else { PATIENCE }, is_patient))
    }

    fn shown(&self) -> String {
        format!("{self:?}")
    }

    /// Fields behind a body that have no place there are dropped, where the others refuse the request. What the caller
    /// meant by them reaches nobody either way.
    fn is_excused(&self) -> bool {
        self.has_trailers()
    }

    /// Where a request is malformed, a server may end its stream or the connection (RFC 9113 §8.1.1).
    fn parts(&self) -> Vec<Self> {
        self.streams_apart()
    }
}

/// Postern and the others, all running.
struct Field {
    scene: Scene,
    sidecar: Sidecar,
    postern: Side,
    others: Vec<Side>,
}

impl Field {
    fn new() -> Option<Self> {
        let mut scene = Scene::new();
        let others = Side::others(scene.folder.path())?;
        let upstream = Recorder::start();
        scene.config["workers"] = json!(1);
        scene.config["upstreams"]["app"]["endpoints"] = json!([upstream.address.to_string()]);
        scene.config["listeners"]["app"]["limits"] = json!({ "refusals_per_second_max": 1_000_000 });
        scene.write_policy(POLICY);
        let sidecar = scene.start();
        let postern = Side::postern(scene.listener, upstream, scene.caller("/client"));
        Some(Self { scene, sidecar, postern, others })
    }

    fn sides(&self) -> impl Iterator<Item = &Side> {
        std::iter::once(&self.postern).chain(&self.others)
    }

    /// Every side's reading of every case, Postern's first.
    fn readings(&self, cases: &[impl Case]) -> Vec<Vec<Reading>> {
        let read = |side: &Side| -> Vec<Reading> {
            cases.iter().enumerate().map(|(number, case)| case.read(side, number, false)).collect()
        };
        thread::scope(|scope| {
            let all: Vec<_> = self.sides().map(|side| scope.spawn(move || read(side))).collect();
            all.into_iter().map(|side| side.join().expect("it read them all")).collect()
        })
    }

    /// Whether nobody else reads a case as Postern does, asked again with more patience.
    fn is_alone(&self, number: usize, case: &impl Case) -> bool {
        let ours = case.read(&self.postern, number, true);
        let parts = case.parts();
        let apart = |side| parts.iter().flat_map(|part| part.read(side, number, true)).collect::<Vec<_>>();
        !self
            .others
            .iter()
            .any(|side| is_within(&ours, &case.read(side, number, true)) || is_among(&ours, apart(side)))
    }

    fn compare(&self, what: &str, cases: &[impl Case]) {
        let readings = self.readings(cases);
        print!("{}", table(what, self.sides().map(|side| side.name), &readings));
        let (ours, others) = readings.split_first().expect("four sides");
        let mut wrong = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            let is_shared = others.iter().any(|side| is_within(&ours[number], &side[number]));
            let text = case.shown();
            if !is_shared && !case.is_excused() && self.is_alone(number, case) {
                let theirs: Vec<_> = others.iter().map(|side| &side[number]).collect();
                wrong.push(format!("{text}\n  postern: {:?}\n  others: {theirs:?}", ours[number]));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} of {} cases are read by Postern alone:\n{}",
            wrong.len(),
            cases.len(),
            wrong.join("\n")
        );
        // A comparison in which nothing passes says nothing.
        assert!(ours.iter().any(|reading| !reading.is_empty()), "Postern sent nothing on");
    }

    /// Stops Postern and holds what its upstream got against what it wrote down.
    fn finish(self) {
        self.sidecar.stop();
        assert_log_is_whole(&self.scene.audit());
        let mut permitted = permitted(&records(&self.scene.audit()));
        for event in self.postern.upstream.since(0) {
            let head = match &event {
                Event::Whole(message) => message,
                // Its body broke off, or was no body.
                Event::Cut(Some(head), _) => head,
                Event::Cut(None, _) | Event::Unreadable(..) => {
                    panic!("these bytes are no request: {event:?}")
                }
            };
            assert!(head.faults().is_empty(), "sent on with {:?}: {head:?}", head.faults());
            let trace = head.all("traceparent").next().and_then(|trace| trace.split('-').nth(1));
            let decided = trace.and_then(|trace| permitted.remove(trace));
            let decided = decided.unwrap_or_else(|| panic!("nobody decided on {head:?}"));
            assert_eq!(decided, Asked::of(head), "{head:?}");
        }
    }
}

/// What a decision is about.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    method: String,
    host: String,
    path: String,
    query_sha256: Option<String>,
}

impl Asked {
    fn of(message: &Message) -> Self {
        let (path, query) = match message.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (message.target.as_str(), None),
        };
        let digest = |query: &str| {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, query.as_bytes());
            digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        Self {
            method: message.method.clone(),
            host: message.all("host").collect(),
            path: path.to_owned(),
            query_sha256: query.map(digest),
        }
    }
}

/// The decisions that let something pass, by trace: an upstream is told of the trace, and of nothing else that is as
/// particular to one exchange.
fn permitted(log: &str) -> BTreeMap<String, Asked> {
    let all = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let permits = all.filter(|record| record["kind"] == "decision" && record["decision"] == "allow");
    let asked = |record: Value| {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let query_sha256 = record["query_sha256"].as_str().map(str::to_owned);
        let asked = Asked { method: text("method"), host: text("host"), path: text("path"), query_sha256 };
        (text("trace_id"), asked)
    };
    permits.map(asked).collect()
}

/// Whether everything that was sent on in `ours` was in `theirs` too, in that order. Who refuses more is stricter; what
/// must not be is a request that the others do not see, or see with another body.
fn is_within(ours: &[Message], theirs: &[Message]) -> bool {
    let mut theirs = theirs.iter();
    ours.iter().all(|ours| theirs.any(|theirs| ours.method == theirs.method && ours.body == theirs.body))
}

/// The same, in whatever order.
fn is_among(ours: &[Message], mut theirs: Vec<Message>) -> bool {
    ours.iter().all(|ours| {
        let same = |theirs: &Message| ours.method == theirs.method && ours.body == theirs.body;
        theirs.iter().position(same).map(|at| theirs.swap_remove(at)).is_some()
    })
}

/// How often each side sent something on, and how often it agreed with Postern.
fn table<'a>(what: &str, names: impl Iterator<Item = &'a str>, readings: &[Vec<Reading>]) -> String {
    let ours = &readings[0];
    let mut text = format!(
        "{what}: {} cases\n  {:<8} {:>8} {:>8} {:>10}\n",
        ours.len(),
        "",
        "sent on",
        "as we do",
        "only they"
    );
    for (name, side) in names.zip(readings) {
        let sent = side.iter().filter(|reading| !reading.is_empty()).count();
        let same = side.iter().zip(ours).filter(|(a, b)| a.len() == b.len() && is_within(a, b)).count();
        let only = side.iter().zip(ours).filter(|(a, b)| !a.is_empty() && b.is_empty()).count();
        text += &format!("  {name:<8} {sent:>8} {same:>8} {only:>10}\n");
    }
    text
}

#[test]
fn what_postern_sends_on_other_proxies_send_on_too() {
    let Some(field) = Field::new() else { return };
    field.compare("known disagreements", &cases::cases());
    let suite = llhttp::cases();
    if suite.is_empty() {
        println!(
            "SKIPPED what_postern_sends_on_other_proxies_send_on_too: POSTERN_DATA holds no cases of llhttp"
        );
    } else {
        field.compare("llhttp", &suite);
    }
    field.compare("damaged requests", &Mutations::new(1).take(2_000).collect::<Vec<_>>());
    field.compare("frames", &frame_cases::cases());
    field.compare("damaged frames", &FrameMutations::new(1).take(400).collect::<Vec<_>>());
    field.finish();
}

#[test]
#[ignore = "long"]
fn what_postern_sends_on_of_many_damaged_requests_other_proxies_send_on_too() {
    let Some(field) = Field::new() else { return };
    field.compare("damaged requests", &Mutations::new(2).take(100_000).collect::<Vec<_>>());
    field.compare("damaged frames", &FrameMutations::new(2).take(20_000).collect::<Vec<_>>());
    field.finish();
}
