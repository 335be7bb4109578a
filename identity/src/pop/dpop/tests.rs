//! One boundary, [`verify`]: a proof in, what it proves or a code out.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::{Ca, NOW_S, at, bundles, now};
use crate::token::tests::minting::{Signer, put};
use crate::token::{Issuer, KeySet};
use crate::{Principal, Role, verify_chain};

const URI: &str = "https://orders.test/things/7";

/// A key that proves, a token that is bound to it, and a proof that is right.
struct World {
    holder: Signer,
    claims: Claims,
    header: Value,
    members: Value,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A verified access token that is confirmed so.
fn token(confirmation: Option<Value>) -> Claims {
    let issuer = Signer::es256("k1");
    let mut claims = json!({
        "iss": "https://idp.example.org", "aud": "orders", "sub": "alice", "client_id": "shop", "jti": "1",
        "iat": NOW_S - 10, "exp": NOW_S + 600,
    });
    if let Some(confirmation) = confirmation {
        claims["cnf"] = confirmation;
    }
    let compact = issuer.mint(r#"{"alg":"ES256","kid":"k1","typ":"at+jwt"}"#, &claims.to_string());
    let keys = Arc::new(KeySet::parse(json!({"keys": [issuer.jwk]}).to_string().as_bytes()).unwrap());
    let terms =
        Issuer::new("https://idp.example.org".to_owned(), vec!["orders".to_owned()], vec![Algorithm::Es256]);
    crate::token::verify(&compact, &[terms.unwrap()], &|_| Some(Arc::clone(&keys)), now()).unwrap()
}

/// The public half without what only key sets say of it.
fn bare(signer: &Signer) -> Value {
    let mut jwk = signer.jwk.clone();
    jwk.as_object_mut().unwrap().retain(|name, _| !matches!(name.as_str(), "kid" | "use"));
    jwk
}

fn thumbprint(jwk: &Value) -> [u8; 32] {
    Key::confirmed(jwk).unwrap().thumbprint
}

impl World {
    fn new(holder: Signer) -> Self {
        let jwk = bare(&holder);
        let claims = token(Some(json!({"jkt": encode(thumbprint(&jwk))})));
        Self {
            header: json!({"alg": holder.algorithm, "typ": "dpop+jwt", "jwk": jwk}),
            members: json!({
                "htm": "POST", "htu": URI, "iat": NOW_S, "jti": "p1", "ath": encode(claims.token_sha256),
            }),
            holder,
            claims,
        }
    }

    fn es256() -> Self {
        Self::new(Signer::es256("ignored"))
    }

    fn mint(&self) -> String {
        self.holder.mint(&self.header.to_string(), &self.members.to_string())
    }

    fn verify_text(&self, proof: &str) -> Result<Proof, DpopError> {
        self.verify_with(proof, Nonce::Any)
    }

    fn verify_with(&self, proof: &str, nonce: Nonce<'_>) -> Result<Proof, DpopError> {
        let spell = |uri: &str| Some(uri.to_ascii_lowercase());
        let request = Request { method: "POST", uri: URI, spell: &spell, nonce };
        verify(proof, &self.claims, &request, now())
    }
}

/// A right proof, bent once.
#[track_caller]
fn check(bend: impl FnOnce(&mut World), expected: Result<(), &str>) {
    let mut world = World::es256();
    bend(&mut world);
    let seen = world.verify_text(&world.mint());
    assert_eq!(seen.as_ref().map(|_| ()).map_err(DpopError::code), expected, "{seen:?}");
}

/// A right proof with one member of its header or claims replaced, or removed by `null`.
#[track_caller]
fn check_member(part: fn(&mut World) -> &mut Value, name: &str, value: Value, expected: Result<(), &str>) {
    check(|world| put(part(world), name, value), expected);
}

fn header(world: &mut World) -> &mut Value {
    &mut world.header
}

fn claim(world: &mut World) -> &mut Value {
    &mut world.members
}

#[test]
fn every_algorithm_proves() {
    for signer in Signer::all() {
        let world = World::new(signer);
        let proof = world.verify_text(&world.mint()).unwrap();
        assert_eq!(proof.usable_until_s(), NOW_S + 60);
    }
}

#[test]
fn the_proof_of_rfc_9449_is_taken_and_names_its_key() {
    // RFC 9449 §7.1, the example request, its access token's digest and the thumbprint of §6.1.
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let mut claims = token(Some(json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})));
    let ath = URL_SAFE_NO_PAD.decode("fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo").unwrap();
    claims.token_sha256 = ath.try_into().unwrap();
    let spell = |uri: &str| Some(uri.to_owned());
    let request = Request {
        method: "GET",
        uri: "https://resource.example.org/protectedresource",
        spell: &spell,
        nonce: Nonce::Any,
    };
    assert!(verify(proof, &claims, &request, at(1_562_262_618)).is_ok());
    let late = verify(proof, &claims, &request, at(1_562_262_679));
    assert_eq!(late, Err(DpopError::Time { at: 1_562_262_618 }));
}

#[test]
fn a_proof_is_no_other_kind_of_token() {
    for typ in [json!("JWT"), json!("at+jwt"), json!("wpt+jwt"), json!("DPOP+JWT"), json!(1), Value::Null] {
        check_member(header, "typ", typ, Err("token.dpop_malformed"));
    }
    for (name, value) in [("crit", json!(["x"])), ("b64", json!(false)), ("enc", json!("x"))] {
        check_member(header, name, value, Err("token.dpop_malformed"));
    }
}

#[test]
fn only_asymmetric_algorithms_prove_and_only_with_their_own_key() {
    for alg in ["none", "HS256", "ES384", "RS256", "EdDSA", "es256", ""] {
        check_member(header, "alg", json!(alg), Err("token.dpop_malformed"));
    }
    check_member(header, "jwk", bare(&Signer::es256("x")), Err("token.dpop_signature"));
    let of_another_kind = bare(&Signer::ed25519("x", "EdDSA"));
    check_member(header, "jwk", of_another_kind, Err("token.dpop_malformed"));
    for jwk in [Value::Null, json!("x"), json!({}), json!({"kty": "oct", "k": "AAAA"}), json!([])] {
        check_member(header, "jwk", jwk, Err("token.dpop_malformed"));
    }
    for (name, value) in [("use", json!("enc")), ("key_ops", json!(["sign"])), ("alg", json!("ES384"))] {
        check(|world| world.header["jwk"][name] = value, Err("token.dpop_malformed"));
    }
    check(|world| world.header["jwk"]["kid"] = json!("any"), Ok(()));
}

#[test]
fn a_key_that_shows_its_private_half_proves_nothing() {
    check(
        |world| world.header["jwk"]["d"] = json!(world.holder.secret_scalar().unwrap()),
        Err("token.dpop_malformed"),
    );
    for name in ["p", "q", "dp", "dq", "qi", "oth", "k"] {
        check(|world| world.header["jwk"][name] = json!("AAAA"), Err("token.dpop_malformed"));
    }
}

#[test]
fn a_proof_is_for_one_method_and_target() {
    for (name, value, expected) in [
        ("htm", json!("POST"), Ok(())),
        ("htm", json!("GET"), Err("token.dpop_request")),
        ("htm", json!("post"), Err("token.dpop_request")),
        ("htm", json!(1), Err("token.dpop_malformed")),
        ("htm", Value::Null, Err("token.dpop_malformed")),
        ("htu", json!(format!("{URI}?a=b")), Ok(())),
        ("htu", json!(format!("{URI}#a")), Ok(())),
        ("htu", json!(format!("{URI}#a?b")), Ok(())),
        ("htu", json!("HTTPS://Orders.test/things/7"), Ok(())),
        ("htu", json!("https://orders.test/things/8"), Err("token.dpop_request")),
        ("htu", json!("https://orders.test/things"), Err("token.dpop_request")),
        ("htu", json!("https://other.test/things/7"), Err("token.dpop_request")),
        ("htu", json!("http://orders.test/things/7"), Err("token.dpop_request")),
        ("htu", json!("/things/7"), Err("token.dpop_request")),
        ("htu", json!(""), Err("token.dpop_request")),
        ("htu", json!("?"), Err("token.dpop_request")),
        ("htu", json!([URI]), Err("token.dpop_malformed")),
        ("htu", Value::Null, Err("token.dpop_malformed")),
    ] {
        check_member(claim, name, value, expected);
    }
}

#[test]
fn a_proof_is_for_a_minute_before_and_after() {
    for (value, expected) in [
        (json!(NOW_S - 60), Ok(())),
        (json!(NOW_S - 61), Err("token.dpop_time")),
        (json!(NOW_S + 60), Ok(())),
        (json!(NOW_S + 61), Err("token.dpop_time")),
        (json!(NOW_S as f64 + 60.9), Ok(())),
        (json!(0), Err("token.dpop_time")),
        (json!(-1), Err("token.dpop_malformed")),
        (json!(1u64 << 63), Err("token.dpop_malformed")),
        (json!("2000000000"), Err("token.dpop_malformed")),
        (Value::Null, Err("token.dpop_malformed")),
    ] {
        check_member(claim, "iat", value, expected);
    }
}

#[test]
fn a_proof_has_an_id_of_some_length() {
    check_member(claim, "jti", json!("x".repeat(256)), Ok(()));
    for value in [json!("x".repeat(257)), json!(""), json!(7), Value::Null] {
        check_member(claim, "jti", value, Err("token.dpop_malformed"));
    }
}

#[test]
fn a_proof_is_for_one_access_token() {
    for (value, expected) in [
        (json!(encode([0; 32])), Err("token.dpop_token")),
        (json!(""), Err("token.dpop_token")),
        (json!(5), Err("token.dpop_malformed")),
        (Value::Null, Err("token.dpop_malformed")),
    ] {
        check_member(claim, "ath", value, expected);
    }
    // Of the right bytes in another spelling.
    check(
        |world| world.members["ath"] = json!(format!("{}=", world.members["ath"].as_str().unwrap())),
        Err("token.dpop_token"),
    );
}

#[test]
fn the_key_is_the_one_that_the_token_is_bound_to() {
    check(
        |world| {
            world.claims = token(Some(json!({"jkt": encode([7; 32])})));
            world.members["ath"] = json!(encode(world.claims.token_sha256));
        },
        Err("token.dpop_key"),
    );
    check(|world| world.claims = token(None), Err("token.binding"));
    check(|world| world.claims = token(Some(json!({"x5t#S256": encode([7; 32])}))), Err("token.binding"));
}

#[test]
fn a_nonce_is_asked_for_where_one_was_given_out() {
    let nonce = |value: Value, given: &[&str]| {
        let mut world = World::es256();
        if !value.is_null() {
            world.members["nonce"] = value;
        }
        let given: Vec<String> = given.iter().map(|nonce| (*nonce).to_owned()).collect();
        world.verify_with(&world.mint(), Nonce::OneOf(&given)).map(|_| ()).map_err(|error| error.code())
    };
    assert_eq!(nonce(json!("b"), &["a", "b"]), Ok(()));
    for value in [json!("c"), json!(""), json!(1), Value::Null] {
        assert_eq!(nonce(value, &["a", "b"]), Err("token.dpop_nonce"));
    }
    assert_eq!(nonce(json!("a"), &[]), Err("token.dpop_nonce"));
    // A nonce that nobody asked for does no harm.
    check_member(claim, "nonce", json!("x"), Ok(()));
}

#[test]
fn a_proof_is_told_from_others_by_its_key_and_id() {
    let world = World::es256();
    let key_of = |world: &World| *world.verify_text(&world.mint()).unwrap().replay_key();
    let mut later = World { members: world.members.clone(), header: world.header.clone(), ..World::es256() };
    (later.holder, later.claims) = (world.holder, world.claims);
    let first = key_of(&later);
    later.members["iat"] = json!(NOW_S + 1);
    assert_eq!(key_of(&later), first, "the same id at another time is the same proof");
    later.members["jti"] = json!("p2");
    assert_ne!(key_of(&later), first);
    assert_ne!(key_of(&World::es256()), first, "ids of other keys are other ids");
}

#[test]
fn a_proof_makes_a_principal_of_its_own_token_only() {
    let ca = Ca::root("root");
    let leaf = ca.leaf("spiffe://example.org/web");
    let trusted = bundles([ca.bundle("example.org")]);
    let peer = Arc::new(verify_chain(&[leaf.der], &trusted, Role::Client, now()).unwrap());
    let world = World::es256();
    let proof = world.verify_text(&world.mint()).unwrap();
    let proven = |claims: &Claims| {
        let made = Principal::proven(Arc::clone(&peer), Arc::new(claims.clone()), &proof);
        made.map(|_| ()).map_err(|error| error.code())
    };
    assert_eq!(proven(&world.claims), Ok(()));
    assert_eq!(proven(&World::es256().claims), Err("token.binding"));
    assert_eq!(proven(&token(None)), Err("token.binding"));
    let key = world.claims.members["cnf"]["jkt"].clone();
    let both = token(Some(json!({"jkt": key, "x5t#S256": encode([9; 32])})));
    assert_eq!(proven(&both), Err("token.binding"), "the certificate counts as well");
    let alone = Principal::new(peer, Some(Arc::new(world.claims)));
    assert_eq!(alone.unwrap_err().code(), "token.dpop_missing");
}

#[test]
fn a_proof_has_one_spelling_and_a_limit() {
    let world = World::es256();
    let right = world.mint();
    for bent in [
        String::new(),
        "..".to_owned(),
        format!("{right},{right}"),
        format!("{right}, {right}"),
        format!(" {right}"),
        format!("{right} "),
        format!("{right}="),
        format!("{right}.x"),
        format!("\"{right}\""),
    ] {
        assert_eq!(world.verify_text(&bent).unwrap_err().code(), "token.dpop_malformed", "{bent}");
    }
    check(|world| world.members["pad"] = json!("x".repeat(8000)), Err("token.dpop_malformed"));
    let twice = world.members.to_string().replacen('{', r#"{"jti":"p0","#, 1);
    let twice = world.holder.mint(&world.header.to_string(), &twice);
    assert_eq!(world.verify_text(&twice).unwrap_err().code(), "token.dpop_malformed");
}

#[test]
fn an_error_never_shows_the_proof() {
    let world = World::es256();
    let proof = world.mint();
    let signature = proof.rsplit_once('.').unwrap().1;
    for bent in [proof.replace('.', "!."), format!("{proof}x"), proof.replace(signature, &"A".repeat(86))] {
        let error = world.verify_text(&bent).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!proof.split('.').any(|part| shown.contains(part)), "{shown}");
    }
}

#[test]
fn the_digest_of_parts_depends_on_where_they_end() {
    assert_ne!(digest_of(&[b"ab", b"c"]), digest_of(&[b"a", b"bc"]));
    assert_ne!(digest_of(&[b"ab"]).as_slice(), digest(&SHA256, b"ab").as_ref());
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x9449),
        ..ProptestConfig::with_cases(512)
    })]

    #[test]
    fn any_flipped_bit_breaks_a_proof(place in any::<prop::sample::Index>(), bit in 0u8..8) {
        let world = World::es256();
        let mut proof = world.mint().into_bytes();
        let place = place.index(proof.len());
        proof[place] ^= 1 << bit;
        // What is not text is no header value to begin with.
        if let Ok(proof) = String::from_utf8(proof) {
            prop_assert!(world.verify_text(&proof).is_err());
        }
    }

    #[test]
    fn random_text_is_no_proof(text in "[A-Za-z0-9_.=-]{0,200}") {
        prop_assert!(World::es256().verify_text(&text).is_err());
    }

    #[test]
    fn what_is_signed_and_makes_no_sense_never_panics(header in any::<String>(), claims in any::<String>()) {
        let world = World::es256();
        prop_assert!(world.verify_text(&world.holder.mint(&header, &claims)).is_err());
    }

    #[test]
    fn random_members_under_a_right_header_are_refused_or_right(
        claims in r#"\{("(htm|htu|iat|jti|ath|nonce)":("POST"|"https://orders.test/things/7"|2000000000|"x"|1|null|\[\]),?){0,6}\}"#
    ) {
        let world = World::es256();
        prop_assert!(world.verify_text(&world.holder.mint(&world.header.to_string(), &claims)).is_err());
    }
}
