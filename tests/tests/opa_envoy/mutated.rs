//! Bodies and queries that nobody chose: what the sidecar takes means what it means behind Envoy, or it is refused.

use base64::Engine as _;
use bytes::Bytes;
use http::Request;
use postern_tests::{Answer, Version};

use crate::sides::Sides;

/// Inputs of each kind.
const ROUNDS: u32 = 150;

const FORM_TYPE: &str = "multipart/form-data; boundary=b";
const PARTS: &str = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--b\r\n\
                     Content-Disposition: form-data; name=c; filename=\"f\"\r\nContent-Type: application/json\r\n\r\n\
                     {\"x\": [1, 2.5e3]}\r\n--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\ntwo\r\n--b--\r\n";

/// xorshift64*: any fixed sequence will do.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).expect("31 bits") % bound.max(1)
    }

    /// Removes, repeats and inserts a few pieces.
    fn mutate(&mut self, seed: &str, pieces: &[&str]) -> String {
        let mut text = seed.to_owned();
        for _ in 0..=self.below(2) {
            let at = self.below(text.len());
            match self.below(4) {
                0 => drop(text.remove(at)),
                1 => {
                    let end = (at + self.below(24)).min(text.len());
                    let piece = text[at..end].to_owned();
                    text.insert_str(at, &piece);
                }
                2 => text.truncate(at.max(1)),
                _ => text.insert_str(at, pieces[self.below(pieces.len())]),
            }
        }
        text
    }
}

/// What has been parsed, or that nothing has.
fn said(answer: &Answer) -> String {
    let parsed = base64::prelude::BASE64_STANDARD.decode(answer.header("x-parsed")).unwrap_or_default();
    format!("{} {}", answer.status, String::from_utf8_lossy(&parsed))
}

/// Tries inputs of one kind on both ways.
fn try_all(
    sides: &Sides,
    kind: &str,
    seed: &str,
    pieces: &[&str],
    ask: impl Fn(&str) -> Option<Request<Bytes>>,
) {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut same, mut refused, mut wrong) = (0, 0, Vec::new());
    for _ in 0..ROUNDS {
        let text = random.mutate(seed, pieces);
        let Some(ask) = ask(&text) else { continue };
        let (theirs, ours) = sides.ask(Version::Http1, &ask);
        if ours.answer.status == 400 {
            refused += 1;
            continue;
        }
        if said(&ours.answer) == said(&theirs.answer) {
            same += 1;
        } else {
            let (theirs, ours) = (said(&theirs.answer), said(&ours.answer));
            wrong.push(format!("{kind}: {text:?}: {theirs} there, {ours} here"));
        }
    }
    println!("{kind}: {same} taken and the same, {refused} refused");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What refuses everything shows nothing.
    assert!(same >= ROUNDS / 20, "{kind}: only {same} were taken");
}

#[test]
fn what_is_taken_means_what_it_means_behind_envoy() {
    let Some(sides) = Sides::start(include_str!("policies/echo.rego")) else { return };
    let body = |kind: &'static str| {
        move |text: &str| {
            let request = Request::builder().method("POST").uri("/x").header("content-type", kind);
            request.body(Bytes::from(text.to_owned())).ok()
        }
    };
    let marks = ["\r\n", "\n", "--b", "--", ":", ";", "\"", " ", "\\", "\t", "name=", "\r\n\r\n", "é", "="];
    try_all(&sides, "multipart", PARTS, &marks, body(FORM_TYPE));
    let marks = ["&", "=", "%", "+", ";", "%41", "%e9", "é", " ", "#", "?"];
    let form = "a=1&b=two+words&a=%c3%a9&c&=x&d=1%2B1";
    try_all(&sides, "form", form, &marks, body("application/x-www-form-urlencoded"));
    try_all(&sides, "query", form, &marks, |text| {
        Request::builder().uri(format!("/x?{text}")).body(Bytes::new()).ok()
    });
    let marks = [
        "1", "e", ".", "-", "\"", "\\", "\\u0041", "[", "]", "{", "}", ",", ":", "null", "true", " ", "é",
        "0",
    ];
    let json =
        r#"{"a": [1, 2.50, -3e2, "x\u00e9\n", null, true], "b": {"c": "d", "e": 12345678901234567890}}"#;
    try_all(&sides, "json", json, &marks, body("application/json"));
}
