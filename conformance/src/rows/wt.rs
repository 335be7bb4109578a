//! Workload Identity Tokens and the proofs that go with them; both specifications are incubating.

use postern_identity::pop::workload::Workload;
use serde_json::{Value, json};

use crate::kit::proof::{Key, NOW_S, bearer_of_type, sha256};
use crate::kit::workload::{Refused, Request};
use crate::{Row, row};

type Attempt = Result<Workload, Refused>;

/// A right request, bent once.
fn bent(bend: impl Fn(&mut Request) + 'static) -> impl Fn() -> Attempt {
    move || {
        let mut request = Request::new();
        bend(&mut request);
        request.verify()
    }
}

fn right() -> Attempt {
    Request::new().verify()
}

fn header(name: &'static str, value: Value) -> impl Fn() -> Attempt {
    bent(move |request| request.header[name] = value.clone())
}

fn claim(name: &'static str, value: Value) -> impl Fn() -> Attempt {
    bent(move |request| request.claims[name] = value.clone())
}

fn proof_header(name: &'static str, value: Value) -> impl Fn() -> Attempt {
    bent(move |request| request.proof_header[name] = value.clone())
}

fn proof(name: &'static str, value: Value) -> impl Fn() -> Attempt {
    bent(move |request| request.proof[name] = value.clone())
}

fn without(part: fn(&mut Request) -> &mut Value, name: &'static str) -> impl Fn() -> Attempt {
    bent(move |request| drop(part(request).as_object_mut().map(|members| members.remove(name))))
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        identity_header(),
        identity_claims(),
        times_and_ids(),
        keys(),
        never_alone(),
        proofs(),
        row("WT-07", "HTTP message signatures instead", "WIMSE http-signature")
            .open("a proof is a token here; signatures of HTTP messages are not offered"),
    ]
}

fn identity_header() -> Row {
    row("WT-01", "header of an identity token", "WIT-SVID §2")
        .accepts("as it has to be", right)
        .accepts("members that are not known", header("x5c", json!(["AAAA"])))
        .refuses("another type", "`wit+jwt`", header("typ", json!("JWT")))
        .refuses("another case of the type", "`wit+jwt`", header("typ", json!("WIT+JWT")))
        .refuses("no type", "`wit+jwt`", without(|request| &mut request.header, "typ"))
        .refuses("no key id", "`kid`", without(|request| &mut request.header, "kid"))
        .refuses("none", "`none` is not accepted", header("alg", json!("none")))
        .refuses("a shared secret", "`HS256` is not accepted", header("alg", json!("HS256")))
        .refuses("EdDSA", "nine", header("alg", json!("EdDSA")))
        .refuses("critical members", "critical", header("crit", json!(["exp"])))
}

fn identity_claims() -> Row {
    row("WT-02", "claims of an identity token", "WIT-SVID §3")
        .accepts("as they have to be", right)
        .accepts("expired a moment ago", claim("exp", json!(NOW_S - 4)))
        .refuses("no subject", "`sub`", without(|request| &mut request.claims, "sub"))
        .refuses("a subject that is no workload", "`sub`", claim("sub", json!("spiffe://example.org")))
        .refuses("no end", "`exp`", without(|request| &mut request.claims, "exp"))
        .refuses("expired", "token.wit_time", claim("exp", json!(NOW_S - 5)))
        .refuses("not yet valid", "token.wit_time", claim("nbf", json!(NOW_S + 6)))
        .refuses("no key", "`cnf.jwk`", without(|request| &mut request.claims, "cnf"))
        .refuses(
            "a key without algorithm",
            "`alg`",
            bent(|request| {
                request.claims["cnf"]["jwk"] = Key::of_holder().jwk();
            }),
        )
        .refuses(
            "a key for EdDSA",
            "`alg`",
            bent(|request| {
                request.claims["cnf"]["jwk"]["alg"] = json!("EdDSA");
            }),
        )
        .refuses("an audience", "`aud`", claim("aud", json!("orders")))
}

fn times_and_ids() -> Row {
    row("WT-03", "iat and jti of an identity mean nothing", "WIT-SVID §3.3, §3.6")
        .accepts("issued in the future", claim("iat", json!(NOW_S + 5000)))
        .accepts("the same jti for each request", claim("jti", json!("always")))
        .refuses("a beginning in the future", "`nbf`", claim("nbf", json!(NOW_S + 5000)))
}

fn keys() -> Row {
    let other = |purpose: &'static str, kid: &'static str| {
        bent(move |request| {
            let mut other = Key::of_holder().jwk();
            (other["kid"], other["use"]) = (json!(kid), json!(purpose));
            request.bundle["keys"].as_array_mut().unwrap().push(other);
        })
    };
    let purpose =
        |purpose: &'static str| bent(move |request| request.bundle["keys"][0]["use"] = json!(purpose));
    row("WT-04", "keys of the subject's trust domain", "WIT-SVID §6")
        .accepts("a key for these tokens", right)
        .accepts("another key with another id", other("wit-svid", "a2"))
        .refuses("a key for JWT-SVIDs", "token.wit_key_unknown", purpose("jwt-svid"))
        .refuses("a key for anything", "token.wit_key_unknown", purpose("sig"))
        .refuses("an id that two keys have", "token.wit_key_unknown", other("wit-svid", "a1"))
        .refuses("an id that a key for something else has", "token.wit_key_unknown", other("jwt-svid", "a1"))
        .refuses("another trust domain", "`other.org`", claim("sub", json!("spiffe://other.org/web")))
        .refuses("an id that no key has", "`a9`", header("kid", json!("a9")))
}

fn never_alone() -> Row {
    row("WT-05", "no identity token without its proof", "WIT-SVID §5, §7.1, §7.3")
        .accepts("with its proof", right)
        .refuses("without", "token.wpt_malformed", || {
            let request = Request::new();
            request.verify_with(&request.identity(), "")
        })
        .refuses("as its own proof", "token.wpt_malformed", || {
            let request = Request::new();
            request.verify_with(&request.identity(), &request.identity())
        })
        .refuses("in Authorization", "token.type", || bearer_of_type("wit+jwt"))
}

fn proofs() -> Row {
    let covered = |name: &'static str, value: Value, put: fn(&mut Request)| {
        bent(move |request| {
            put(request);
            request.proof[name] = value.clone();
        })
    };
    let hash = json!(sha256("token"));
    let row = row("WT-06", "proof tokens", "draft-ietf-wimse-wpt")
        .accepts("as it has to be", right)
        .accepts(
            "with the access token that it covers",
            covered("ath", hash.clone(), |request| {
                request.access_token = Some("token");
            }),
        )
        .accepts(
            "with the transaction token that it covers",
            covered("tth", hash.clone(), |request| {
                request.transaction_token = Some("token");
            }),
        )
        .refuses("another type", "`wpt+jwt`", proof_header("typ", json!("JWT")))
        .refuses("another algorithm than the key's", "`alg`", proof_header("alg", json!("ES384")))
        .refuses("another key", "token.wpt_signature", bent(|request| request.signer = Key::of_issuer()))
        .refuses("another host", "token.wpt_audience", proof("aud", json!("https://other.test/things")))
        .refuses("another path", "token.wpt_audience", proof("aud", json!("https://orders.test/other")))
        .refuses("a query", "token.wpt_audience", proof("aud", json!("https://orders.test/things?a=b")))
        .refuses("no target", "`aud`", without(|request| &mut request.proof, "aud"));
    row.refuses("no end", "`exp`", without(|request| &mut request.proof, "exp"))
        .refuses("expired", "token.wpt_time", proof("exp", json!(NOW_S - 5)))
        .refuses("an end that is far", "token.wpt_time", proof("exp", json!(NOW_S + 306)))
        .refuses("no id", "`jti`", without(|request| &mut request.proof, "jti"))
        .refuses("another identity token", "`wth`", proof("wth", json!(sha256("x"))))
        .refuses(
            "an access token that is not covered",
            "`ath`",
            bent(|request| {
                request.access_token = Some("token");
            }),
        )
        .refuses(
            "another access token",
            "`ath`",
            covered("ath", json!(sha256("x")), |request| {
                request.access_token = Some("token");
            }),
        )
        .refuses("an access token that is not there", "`ath`", proof("ath", hash.clone()))
        .refuses(
            "a transaction token that is not covered",
            "`tth`",
            bent(|request| {
                request.transaction_token = Some("token");
            }),
        )
        .refuses("a kind of token that is not known", "`oth`", proof("oth", json!({"x": hash})))
}
