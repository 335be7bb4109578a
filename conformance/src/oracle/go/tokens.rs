//! JWT-SVIDs, each with its neighbours: one member changed, or the signature.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use postern_identity::UnixTime;
use postern_identity::token::{Algorithm, Issuer, KeySet, Profile, verify};
use postern_proxy::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::super::{Deviations, Verdict, compare, peer};
use crate::kit::token::{Signer, authority, base64url, put, signer, stranger, terms};

const OTHER_DOMAIN: &str = "other.org";
const AUDIENCE: &str = "orders";
/// Those of JWT-SVID §2.1.
const ALGORITHMS: [&str; 9] =
    ["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

const LISTED: Deviations = Deviations {
    we_take: &[],
    we_refuse: &[
        ("a line feed behind", "a token has one spelling (RFC 7515 §2); Go's base64 passes over line ends"),
        ("claims in Latin-1", "JSON is UTF-8 (RFC 8259 §8.1); Go puts something else in its place"),
        ("jku there", "a header has alg, kid and typ only (JWT-SVID §2); they pass over what is more"),
        ("x5u there", "as above"),
        ("jwk of a stranger", "as above"),
        ("zip there", "as above"),
        ("cty JWT", "as above"),
        ("enc there", "as above"),
        ("x-new there", "as above"),
        ("sub without a path", "JWT-SVID §3.1 wants a workload's ID; they take the trust domain's"),
        (
            "sub of 2049 bytes",
            "our limit is what every implementation takes (SPIFFE-ID §2.3); they have none",
        ),
        ("exp just past", "clocks may be five seconds apart, or what is configured; they allow a minute"),
        ("nbf soon to come", "as above"),
        ("iat soon to come", "as above"),
        ("act a text", "RFC 8693 §4.1 wants an object; they do not look"),
    ],
};

/// A token and what it is about.
struct Case {
    name: String,
    token: String,
}

/// What tokens are made of, at a time: the library judges by its own clock.
struct Mint {
    now_s: u64,
}

impl Mint {
    fn claims(&self) -> Value {
        let subject = "spiffe://example.org/web";
        json!({ "sub": subject, "aud": [AUDIENCE], "exp": self.now_s + 600, "iat": self.now_s - 10 })
    }

    /// Signed with this key, and otherwise as these say.
    fn case(name: &str, by: &Signer, header: &Value, claims: &Value) -> Case {
        Case { name: name.to_owned(), token: by.mint(&header.to_string(), &claims.to_string()) }
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = self.signatures();
        cases.extend(self.texts());
        for algorithm in ALGORITHMS {
            let (by, right) = (signer(algorithm), header(algorithm));
            cases.push(Self::case(&format!("{algorithm}; right"), by, &right, &self.claims()));
            for (name, value, what) in headers() {
                let mut changed = right.clone();
                put(&mut changed, name, value);
                cases.push(Self::case(&format!("{algorithm}; {name} {what}"), by, &changed, &self.claims()));
            }
            for (name, value, what) in self.changed_claims() {
                let mut changed = self.claims();
                put(&mut changed, name, value);
                cases.push(Self::case(&format!("{algorithm}; {name} {what}"), by, &right, &changed));
            }
        }
        cases
    }

    /// Each key beneath the name and the algorithm of each other.
    fn signatures(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for by in ALGORITHMS.into_iter().chain(["EdDSA", "Ed25519"]) {
            for said in ALGORITHMS.into_iter().chain(["EdDSA", "Ed25519", "HS256", "none"]) {
                for kid in [by, said] {
                    let header = json!({ "alg": said, "kid": kid, "typ": "JWT" });
                    let name = format!("{by} said to be {said} of the key {kid}");
                    cases.push(Self::case(&name, signer(by), &header, &self.claims()));
                }
            }
        }
        let theirs = json!({ "alg": "ES256", "kid": "theirs" });
        let mut of_theirs = self.claims();
        put(&mut of_theirs, "sub", json!("spiffe://other.org/web"));
        cases.extend([
            Self::case("another trust domain's, by its key", stranger(), &theirs, &of_theirs),
            Self::case("ours, by another trust domain's key", stranger(), &theirs, &self.claims()),
            Self::case(
                "ours, by another trust domain's key under our name",
                stranger(),
                &header("ES256"),
                &self.claims(),
            ),
            Self::case("another trust domain's, by our key", signer("ES256"), &header("ES256"), &of_theirs),
        ]);
        for (kid, what) in [("sig", "a key for something else"), ("useless", "a key without use")] {
            let header = json!({ "alg": "ES256", "kid": kid });
            cases.push(Self::case(what, stranger(), &header, &self.claims()));
        }
        cases
    }

    /// Other texts than three segments of base64url.
    fn texts(&self) -> Vec<Case> {
        let (by, right, claims) = (signer("ES256"), header("ES256").to_string(), self.claims().to_string());
        let token = by.mint(&right, &claims);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let tail = |part: &str| format!("{signed}.{part}");
        let twice = |member: &str| claims.replacen('{', &format!("{{{member},"), 1);
        let flattened = {
            let (protected, payload) = signed.split_once('.').unwrap();
            json!({ "protected": protected, "payload": payload, "signature": signature }).to_string()
        };
        let cases = [
            ("no signature", tail("")),
            ("two segments", signed.to_owned()),
            ("four segments", format!("{token}.")),
            ("a signature that is cut", tail(&signature[..signature.len() - 4])),
            ("a signature with more behind", tail(&format!("{signature}AAAA"))),
            ("a signature of zeros", tail(&base64url([0; 64]))),
            ("padding", format!("{token}==")),
            ("a space before", format!(" {token}")),
            ("a line feed behind", format!("{token}\n")),
            ("its scheme before it", format!("Bearer {token}")),
            ("JSON, flattened", flattened),
            ("nothing", String::new()),
            ("claims that are a list", by.mint(&right, "[]")),
            ("claims that are no JSON", by.mint(&right, "{")),
            ("claims with more behind", by.mint(&right, &format!("{claims}{{}}"))),
            ("a claim twice", by.mint(&right, &twice(r#""sub":"spiffe://example.org/admin""#))),
            ("an unknown claim twice", by.mint(&right, &twice(r#""x":1,"x":2"#))),
            ("a claim in another case", by.mint(&right, &twice(r#""SUB":"spiffe://example.org/admin""#))),
            ("a header member twice", by.mint(&right.replacen('{', r#"{"alg":"ES256","#, 1), &claims)),
            ("claims in Latin-1", {
                let text = claims.replacen('{', "{\"x\":\"\u{e9}\",", 1);
                let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
                let signed = format!("{}.{}", base64url(&right), base64url(latin));
                format!("{signed}.{}", base64url(by.sign(&signed)))
            }),
        ];
        cases.into_iter().map(|(name, token)| Case { name: name.to_owned(), token }).collect()
    }

    fn changed_claims(&self) -> Vec<(&'static str, Value, &'static str)> {
        let now = self.now_s;
        let long = format!("spiffe://example.org/{}", "a".repeat(2028));
        vec![
            ("sub", Value::Null, "missing"),
            ("sub", json!(""), "empty"),
            ("sub", json!("alice"), "no ID"),
            ("sub", json!(7), "a number"),
            ("sub", json!("spiffe://example.org"), "without a path"),
            ("sub", json!("spiffe://example.org/"), "with an empty path"),
            ("sub", json!("spiffe://example.org/a/"), "with a slash at the end"),
            ("sub", json!("spiffe://example.org/a//b"), "with an empty segment"),
            ("sub", json!("spiffe://example.org/a/../b"), "with dots"),
            ("sub", json!("spiffe://example.org/a%62"), "with an escape"),
            ("sub", json!("spiffe://example.org:8443/a"), "with a port"),
            ("sub", json!("spiffe://Example.org/a"), "with an upper-case domain"),
            ("sub", json!("SPIFFE://example.org/a"), "with an upper-case scheme"),
            ("sub", json!("spiffe://example.org/a?b"), "with a query"),
            ("sub", json!("spiffe://example.org/a#b"), "with a fragment"),
            ("sub", json!("https://example.org/a"), "of another scheme"),
            ("sub", json!("spiffe://third.org/web"), "of a domain that nobody knows"),
            ("sub", json!("spiffe://example.org.evil.org/web"), "of a longer domain"),
            ("sub", json!(long), "of 2049 bytes"),
            ("aud", Value::Null, "missing"),
            ("aud", json!([]), "empty"),
            ("aud", json!(""), "the empty text"),
            ("aud", json!(AUDIENCE), "as text"),
            ("aud", json!(["x", AUDIENCE]), "of two"),
            ("aud", json!(["x"]), "wrong"),
            ("aud", json!(["Orders"]), "in another case"),
            ("aud", json!(["orders "]), "with a space"),
            ("aud", json!([AUDIENCE, 7]), "with a number"),
            ("aud", json!({ AUDIENCE: 1 }), "an object"),
            ("exp", Value::Null, "missing"),
            ("exp", json!(now - 600), "past"),
            ("exp", json!(now - 30), "just past"),
            ("exp", json!(0), "zero"),
            ("exp", json!(-1), "negative"),
            ("exp", json!(now + 86_400 * 365 * 10), "in ten years"),
            ("exp", json!(now as f64 + 600.5), "with a fraction"),
            ("exp", json!((now + 600).to_string()), "as text"),
            ("exp", json!(1e300), "beyond all time"),
            ("exp", json!(true), "a truth"),
            ("nbf", json!(now - 10), "past"),
            ("nbf", json!(now + 600), "to come"),
            ("nbf", json!(now + 30), "soon to come"),
            ("nbf", json!("0"), "as text"),
            ("iat", Value::Null, "missing"),
            ("iat", json!(now + 600), "to come"),
            ("iat", json!(now + 30), "soon to come"),
            ("iat", json!("0"), "as text"),
            ("iss", json!("https://elsewhere.example"), "of somebody"),
            ("iss", json!("spiffe://other.org"), "of another trust domain"),
            ("iss", json!(7), "a number"),
            ("jti", json!("1"), "there"),
            ("jti", json!(1), "a number"),
            ("cnf", json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }), "of a key"),
            ("act", json!("x"), "a text"),
            ("scope", json!("read"), "there"),
        ]
    }
}

fn header(algorithm: &str) -> Value {
    json!({ "alg": algorithm, "kid": algorithm, "typ": "JWT" })
}

fn headers() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("kid", Value::Null, "missing"),
        ("kid", json!(""), "empty"),
        ("kid", json!("nobody"), "unknown"),
        ("kid", json!("theirs"), "of another trust domain"),
        ("kid", json!(7), "a number"),
        ("kid", json!("a".repeat(300)), "long"),
        ("typ", Value::Null, "missing"),
        ("typ", json!("JOSE"), "JOSE"),
        ("typ", json!("jwt"), "in lower case"),
        ("typ", json!("JOSE+JSON"), "JOSE+JSON"),
        ("typ", json!("application/jwt"), "a media type"),
        ("typ", json!("at+jwt"), "of an access token"),
        ("typ", json!("wit+jwt"), "of a WIT"),
        ("typ", json!(""), "empty"),
        ("typ", json!(["JWT"]), "a list"),
        ("alg", Value::Null, "missing"),
        ("alg", json!("es256"), "in lower case"),
        ("alg", json!(7), "a number"),
        ("jku", json!("https://attacker.example/keys"), "there"),
        ("x5u", json!("https://attacker.example/c"), "there"),
        ("jwk", stranger().jwk.clone(), "of a stranger"),
        ("x5c", json!(["AA"]), "damaged"),
        ("crit", json!(["exp"]), "of a claim"),
        ("b64", json!(false), "false"),
        ("zip", json!("DEF"), "there"),
        ("cty", json!("JWT"), "JWT"),
        ("enc", json!("A256GCM"), "there"),
        ("x-new", json!(1), "there"),
    ]
}

/// The bundle documents, by trust domain.
fn documents() -> [(&'static str, Value); 2] {
    let mut keys: Vec<_> = ALGORITHMS.iter().map(|name| authority(signer(name), name)).collect();
    keys.extend(["EdDSA", "Ed25519"].map(|name| authority(signer(name), name)));
    let mut sig = authority(stranger(), "sig");
    sig["use"] = json!("sig");
    keys.extend([sig, stranger().named("useless")]);
    let theirs = json!({ "keys": [authority(stranger(), "theirs")] });
    [(crate::kit::certificates::DOMAIN, json!({ "keys": keys })), (OTHER_DOMAIN, theirs)]
}

/// Our judgement: a trust domain each, on terms that differ in nothing else.
struct Ours {
    issuers: Vec<Issuer>,
    keys: Vec<Arc<KeySet>>,
    now: UnixTime,
}

impl Ours {
    fn new(now_s: u64) -> Self {
        let algorithms = ALGORITHMS.map(|name| name.parse::<Algorithm>().unwrap());
        let documents = documents();
        let issuer = |name: &str| terms(Profile::JwtSvid(name.parse().unwrap()), &algorithms);
        let set = |document: &Value| KeySet::parse_spiffe_bundle(document.to_string().as_bytes()).unwrap();
        Self {
            issuers: documents.iter().map(|(name, _)| issuer(name)).collect(),
            keys: documents.iter().map(|(_, document)| Arc::new(set(document))).collect(),
            now: UnixTime::since_unix_epoch(Duration::from_secs(now_s)),
        }
    }

    fn judge(&self, token: &str) -> Verdict {
        let keys = |place: usize| self.keys.get(place).cloned();
        verify(token, &self.issuers, &keys, self.now).map(drop).map_err(|error| error.to_string())
    }
}

#[test]
fn the_judge_of_go_gives_the_same_verdicts_about_tokens_but_for_the_listed_ones() {
    let Some(program) = postern_tests::peer("POSTERN_GO_SPIFFE") else { return };
    let mint = Mint { now_s: SystemClock::new().unix_time().as_secs() };
    let (ours, cases) = (Ours::new(mint.now_s), mint.cases());
    let told: serde_json::Map<_, _> =
        documents().into_iter().map(|(name, document)| (name.to_owned(), document)).collect();
    let first = json!({ "documents": told, "audiences": [AUDIENCE], "now": mint.now_s });
    let theirs = peer::ask(Command::new(program), &first, cases.iter().map(|case| json!(case.token)));
    let verdicts = cases.iter().zip(theirs);
    let verdicts = verdicts.map(|(case, theirs)| (case.name.clone(), ours.judge(&case.token), theirs));
    let [refused, taken] = compare(verdicts, &LISTED);
    assert!(refused > 500 && taken > 100, "{refused} {taken}");
}
