//! One boundary, [`verify`]: two tokens in, a workload or a code out.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::{NOW_S, at, domain, now};
use crate::token::tests::minting::{Signer, put};

const ID: &str = "spiffe://example.org/web";

/// An authority, a workload with its key, and a request that is right.
struct World {
    authority: Signer,
    holder: Signer,
    bundle: Value,
    header: Value,
    claims: Value,
    proof_header: Value,
    proof: Value,
    access_token: Option<&'static str>,
    transaction_token: Option<&'static str>,
    /// Whether `wth` is filled in with the digest of the identity token as it is minted.
    seals_identity: bool,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn jwk(signer: &Signer, more: &Value) -> Value {
    let mut jwk = signer.jwk.clone();
    let members = jwk.as_object_mut().unwrap();
    members.retain(|name, _| !matches!(name.as_str(), "kid" | "use"));
    members.extend(more.as_object().unwrap().clone());
    jwk
}

impl World {
    fn new(authority: Signer, holder: Signer) -> Self {
        Self {
            bundle: json!({"keys": [jwk(&authority, &json!({"kid": "a1", "use": "wit-svid"}))]}),
            header: json!({"alg": authority.algorithm, "typ": "wit+jwt", "kid": "a1"}),
            claims: json!({
                "sub": ID, "exp": NOW_S + 600,
                "cnf": {"jwk": jwk(&holder, &json!({"alg": holder.algorithm}))},
            }),
            proof_header: json!({"alg": holder.algorithm, "typ": "wpt+jwt"}),
            proof: json!({"aud": "https://orders.test/things", "exp": NOW_S + 60, "jti": "1"}),
            access_token: None,
            transaction_token: None,
            seals_identity: true,
            authority,
            holder,
        }
    }

    fn es256() -> Self {
        Self::new(Signer::es256("a"), Signer::es256("b"))
    }

    fn identity(&self) -> String {
        self.authority.mint(&self.header.to_string(), &self.claims.to_string())
    }

    fn proof_of(&self, identity: &str) -> String {
        let mut proof = self.proof.clone();
        if self.seals_identity {
            proof["wth"] = json!(encode(sha256(identity)));
        }
        self.holder.mint(&self.proof_header.to_string(), &proof.to_string())
    }

    fn verify(&self) -> Result<Workload, WorkloadError> {
        let identity = self.identity();
        self.verify_text(&identity, &self.proof_of(&identity))
    }

    fn verify_text(&self, identity: &str, proof: &str) -> Result<Workload, WorkloadError> {
        let presented = Presented {
            identity,
            proof,
            access_token: self.access_token,
            transaction_token: self.transaction_token,
        };
        let authorities = ["https://orders.test".to_owned(), "https://orders-2.test:8443".to_owned()];
        let spell = |uri: &str| (!uri.contains('?')).then(|| uri.to_ascii_lowercase());
        let target = Target { authorities: &authorities, path: "/things", spell: &spell };
        let keys = Arc::new(KeySet::parse_wit_bundle(self.bundle.to_string().as_bytes()).unwrap());
        let of = |domain: &TrustDomain| (domain.as_str() == "example.org").then(|| Arc::clone(&keys));
        verify(&presented, &target, &of, now())
    }
}

#[track_caller]
fn check(bend: impl FnOnce(&mut World), expected: Result<(), &str>) {
    let mut world = World::es256();
    bend(&mut world);
    let seen = world.verify();
    assert_eq!(seen.as_ref().map(|_| ()).map_err(WorkloadError::code), expected, "{seen:?}");
}

/// One member replaced, or removed by `null`.
#[track_caller]
fn check_member(part: fn(&mut World) -> &mut Value, name: &str, value: Value, expected: Result<(), &str>) {
    check(|world| put(part(world), name, value), expected);
}

fn header(world: &mut World) -> &mut Value {
    &mut world.header
}

fn claim(world: &mut World) -> &mut Value {
    &mut world.claims
}

fn proof_header(world: &mut World) -> &mut Value {
    &mut world.proof_header
}

fn proof_claim(world: &mut World) -> &mut Value {
    &mut world.proof
}

#[test]
fn a_workload_is_known_by_what_its_trust_domain_says() {
    let mut world = World::es256();
    world.claims["team"] = json!("orders");
    let workload = world.verify().unwrap();
    assert_eq!(workload.spiffe_id.as_str(), ID);
    assert_eq!(workload.spiffe_id.trust_domain(), &domain("example.org"));
    assert_eq!((workload.expires_at, workload.key_id.as_str()), (at(NOW_S + 600), "a1"));
    assert_eq!(workload.members["team"], "orders");
    assert_eq!(workload.usable_until_s(), NOW_S + 65);
}

#[test]
fn the_nine_algorithms_are_taken_for_both_tokens_and_no_other() {
    for signer in Signer::all() {
        let expected = if signer.algorithm.starts_with("Ed") { Err("token.wit_malformed") } else { Ok(()) };
        let seen = |world: World| world.verify().map(|_| ()).map_err(|error| error.code());
        let name = signer.algorithm;
        assert_eq!(seen(World::new(signer, Signer::es256("b"))), expected, "{name} for identities");
    }
    for signer in Signer::all() {
        let name = signer.algorithm;
        let expected = if name.starts_with("Ed") { Err("token.wit_malformed") } else { Ok(()) };
        let seen = World::new(Signer::es256("a"), signer).verify();
        assert_eq!(seen.map(|_| ()).map_err(|error| error.code()), expected, "{name} for proofs");
    }
    for name in ["none", "HS256", "ES384", ""] {
        check_member(header, "alg", json!(name), Err("token.wit_malformed"));
        check_member(proof_header, "alg", json!(name), Err("token.wpt_malformed"));
    }
}

#[test]
fn an_identity_is_no_other_kind_of_token() {
    for typ in [json!("JWT"), json!("at+jwt"), json!("wpt+jwt"), json!("WIT+JWT"), json!(1), Value::Null] {
        check_member(header, "typ", typ, Err("token.wit_malformed"));
    }
    for kid in [json!(""), json!(7), Value::Null] {
        check_member(header, "kid", kid, Err("token.wit_malformed"));
    }
    for (name, value) in [("crit", json!(["exp"])), ("crit", json!([])), ("b64", json!(false))] {
        check_member(header, name, value, Err("token.wit_malformed"));
    }
    for name in ["jku", "x5c", "anything"] {
        check_member(header, name, json!("x"), Ok(()));
    }
}

#[test]
fn an_identity_has_its_claims_and_is_addressed_to_nobody() {
    for (name, value, expected) in [
        ("sub", json!("spiffe://example.org"), Err("token.wit_malformed")),
        ("sub", json!("https://example.org/web"), Err("token.wit_malformed")),
        ("sub", json!(7), Err("token.wit_malformed")),
        ("sub", Value::Null, Err("token.wit_malformed")),
        ("exp", json!(NOW_S - 4), Ok(())),
        ("exp", json!(NOW_S - 5), Err("token.wit_time")),
        ("exp", json!("x"), Err("token.wit_malformed")),
        ("exp", Value::Null, Err("token.wit_malformed")),
        ("nbf", json!(NOW_S + 5), Ok(())),
        ("nbf", json!(NOW_S + 6), Err("token.wit_time")),
        ("nbf", json!("x"), Err("token.wit_malformed")),
        ("iat", json!(NOW_S + 5000), Ok(())),
        ("iat", json!("x"), Ok(())),
        ("jti", json!("the same in every request"), Ok(())),
        ("aud", json!("orders"), Err("token.wit_malformed")),
        ("aud", json!([]), Err("token.wit_malformed")),
        ("cnf", Value::Null, Err("token.wit_malformed")),
        ("cnf", json!("x"), Err("token.wit_malformed")),
        ("cnf", json!({}), Err("token.wit_malformed")),
        ("cnf", json!({"jwk": {}}), Err("token.wit_malformed")),
        ("cnf", json!({"jkt": "x"}), Err("token.wit_malformed")),
    ] {
        check_member(claim, name, value, expected);
    }
    let bent = |name: &'static str, value: Value| {
        check(|world| world.claims["cnf"]["jwk"][name] = value, Err("token.wit_malformed"));
    };
    bent("alg", Value::Null);
    bent("alg", json!("EdDSA"));
    bent("alg", json!("HS256"));
    bent("alg", json!("ES384"));
    bent("d", json!("AAAA"));
    bent("use", json!("enc"));
}

#[test]
fn an_identity_is_signed_by_an_authority_of_its_own_trust_domain() {
    check_member(claim, "sub", json!("spiffe://other.org/web"), Err("token.wit_key_unknown"));
    check_member(header, "kid", json!("a2"), Err("token.wit_key_unknown"));
    check(|world| world.authority = Signer::es256("x"), Err("token.wit_signature"));
    for purpose in [json!("jwt-svid"), json!("x509-svid"), json!("sig"), json!("WIT-SVID"), Value::Null] {
        check(|world| world.bundle["keys"][0]["use"] = purpose, Err("token.wit_key_unknown"));
    }
    check(|world| world.bundle = json!({"keys": []}), Err("token.wit_key_unknown"));
    check(|world| world.bundle["keys"][0]["alg"] = json!("ES256"), Ok(()));
    // CVE-2022-21449: r = s = 0.
    let world = World::es256();
    let identity = format!("{}.{}", world.identity().rsplit_once('.').unwrap().0, "A".repeat(86));
    let seen = world.verify_text(&identity, &world.proof_of(&identity));
    assert_eq!(seen.unwrap_err(), WorkloadError::IdentitySignature);
}

#[test]
fn a_name_that_two_keys_of_the_bundle_have_is_the_name_of_none() {
    let with = |purpose: &str, kid: &str, expected| {
        let other = jwk(&Signer::es256("x"), &json!({"kid": kid, "use": purpose}));
        check(|world| world.bundle["keys"].as_array_mut().unwrap().push(other), expected);
    };
    with("wit-svid", "a2", Ok(()));
    with("wit-svid", "a1", Err("token.wit_key_unknown"));
    with("jwt-svid", "a1", Err("token.wit_key_unknown"));
}

#[test]
fn a_proof_is_no_other_kind_of_token_and_by_the_key_of_the_identity() {
    for typ in [json!("JWT"), json!("wit+jwt"), json!("dpop+jwt"), json!(1), Value::Null] {
        check_member(proof_header, "typ", typ, Err("token.wpt_malformed"));
    }
    check_member(proof_header, "crit", json!(["exp"]), Err("token.wpt_malformed"));
    check(|world| world.holder = Signer::es256("x"), Err("token.wpt_signature"));
    // An RSA key could sign by six algorithms; the identity names the one.
    let mut world = World::new(Signer::es256("a"), Signer::rsa("b", "PS256"));
    world.claims["cnf"]["jwk"]["alg"] = json!("PS384");
    assert_eq!(world.verify().unwrap_err().code(), "token.wpt_malformed");
    // A key in the proof's own header is nobody's.
    let stranger = Signer::es256("x");
    check(
        |world| {
            world.proof_header["jwk"] = jwk(&stranger, &json!({}));
            world.holder = stranger;
        },
        Err("token.wpt_signature"),
    );
}

#[test]
fn a_proof_is_short_lived_and_has_an_id() {
    for (name, value, expected) in [
        ("exp", json!(NOW_S - 4), Ok(())),
        ("exp", json!(NOW_S - 5), Err("token.wpt_time")),
        ("exp", json!(NOW_S + 305), Ok(())),
        ("exp", json!(NOW_S + 306), Err("token.wpt_time")),
        ("exp", json!("x"), Err("token.wpt_malformed")),
        ("exp", Value::Null, Err("token.wpt_malformed")),
        ("jti", json!("x".repeat(256)), Ok(())),
        ("jti", json!("x".repeat(257)), Err("token.wpt_malformed")),
        ("jti", json!(""), Err("token.wpt_malformed")),
        ("jti", json!(1), Err("token.wpt_malformed")),
        ("jti", Value::Null, Err("token.wpt_malformed")),
    ] {
        check_member(proof_claim, name, value, expected);
    }
}

#[test]
fn a_proof_is_for_a_target_at_one_of_our_own_names() {
    for (value, expected) in [
        (json!("HTTPS://Orders.test/things"), Ok(())),
        (json!("https://orders-2.test:8443/things"), Ok(())),
        (json!("https://orders.test/things?q=1"), Err("token.wpt_audience")),
        (json!("https://orders.test/things/7"), Err("token.wpt_audience")),
        (json!("https://orders.test/"), Err("token.wpt_audience")),
        (json!("https://orders.test"), Err("token.wpt_audience")),
        (json!("https://orders.test.evil/things"), Err("token.wpt_audience")),
        (json!("https://orders.test:8443/things"), Err("token.wpt_audience")),
        (json!("http://orders.test/things"), Err("token.wpt_audience")),
        (json!("/things"), Err("token.wpt_audience")),
        (json!(""), Err("token.wpt_audience")),
        (json!(["https://orders.test/things"]), Err("token.wpt_malformed")),
        (Value::Null, Err("token.wpt_malformed")),
    ] {
        check_member(proof_claim, "aud", value, expected);
    }
}

#[test]
fn a_proof_covers_all_tokens_of_the_request_and_no_others() {
    check(|world| world.seals_identity = false, Err("token.wpt_tokens"));
    check(
        |world| {
            world.seals_identity = false;
            world.proof["wth"] = json!(encode([0; 32]));
        },
        Err("token.wpt_tokens"),
    );
    let hash = json!(encode(sha256("token")));
    for (name, put) in [
        ("ath", (|world: &mut World| world.access_token = Some("token")) as fn(&mut World)),
        ("tth", |world: &mut World| world.transaction_token = Some("token")),
    ] {
        let with = |is_there: bool, value: Value, expected| {
            check(
                |world| {
                    if is_there {
                        put(world);
                    }
                    if !value.is_null() {
                        world.proof[name] = value;
                    }
                },
                expected,
            );
        };
        with(true, hash.clone(), Ok(()));
        with(true, Value::Null, Err("token.wpt_tokens"));
        with(true, json!(encode(sha256("other"))), Err("token.wpt_tokens"));
        with(true, json!([hash]), Err("token.wpt_tokens"));
        with(false, hash.clone(), Err("token.wpt_tokens"));
        with(false, json!(7), Err("token.wpt_tokens"));
    }
    check_member(proof_claim, "oth", json!({}), Ok(()));
    check_member(proof_claim, "oth", json!({"other": hash}), Err("token.wpt_tokens"));
    check_member(proof_claim, "oth", json!("x"), Err("token.wpt_tokens"));
}

#[test]
fn a_proof_is_told_from_others_by_its_key_and_id() {
    let mut world = World::es256();
    let first = *world.verify().unwrap().replay_key();
    world.claims["jti"] = json!("another identity token of the same key");
    assert_eq!(*world.verify().unwrap().replay_key(), first);
    world.proof["jti"] = json!("2");
    assert_ne!(*world.verify().unwrap().replay_key(), first);
    assert_ne!(*World::es256().verify().unwrap().replay_key(), first);
}

#[test]
fn neither_token_passes_for_the_other() {
    let world = World::es256();
    let identity = world.identity();
    let proof = world.proof_of(&identity);
    assert_eq!(world.verify_text(&proof, &identity).unwrap_err().code(), "token.wit_malformed");
    assert_eq!(world.verify_text(&identity, &identity).unwrap_err().code(), "token.wpt_malformed");
    for (identity, proof) in
        [("", proof.as_str()), (&identity, ""), (&format!("{identity},{identity}"), &proof)]
    {
        assert!(world.verify_text(identity, proof).is_err());
    }
}

#[test]
fn an_error_never_shows_a_token() {
    let world = World::es256();
    let identity = world.identity();
    let proof = world.proof_of(&identity);
    let presented =
        Presented { identity: &identity, proof: &proof, access_token: None, transaction_token: None };
    let mut shown = format!("{presented:?}");
    for (identity, proof) in
        [(format!("{identity}x"), proof.clone()), (identity.clone(), format!("{proof}x"))]
    {
        let error = world.verify_text(&identity, &proof).unwrap_err();
        shown.push_str(&format!("{error} {error:?}"));
    }
    assert!(!identity.split('.').chain(proof.split('.')).any(|part| shown.contains(part)), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x717),
        ..ProptestConfig::with_cases(512)
    })]

    #[test]
    fn any_flipped_bit_of_either_token_is_refused(
        place in any::<prop::sample::Index>(), bit in 0u8..8, in_proof in any::<bool>()
    ) {
        let world = World::es256();
        let identity = world.identity();
        let mut tokens = [identity.clone(), world.proof_of(&identity)].map(String::into_bytes);
        let bent = &mut tokens[usize::from(in_proof)];
        let place = place.index(bent.len());
        bent[place] ^= 1 << bit;
        // What is not text is no header value to begin with.
        if let [Ok(identity), Ok(proof)] = tokens.map(String::from_utf8) {
            prop_assert!(world.verify_text(&identity, &proof).is_err());
        }
    }

    #[test]
    fn what_is_signed_and_makes_no_sense_never_panics(header in any::<String>(), claims in any::<String>()) {
        let world = World::es256();
        let identity = world.identity();
        prop_assert!(world.verify_text(&identity, &world.holder.mint(&header, &claims)).is_err());
        let bent = world.authority.mint(&header, &claims);
        prop_assert!(world.verify_text(&bent, &world.proof_of(&bent)).is_err());
    }

    #[test]
    fn random_claims_under_a_right_header_are_refused(
        claims in r#"\{("(sub|exp|cnf|nbf|aud|jti|wth|ath|oth)":("spiffe://a/b"|"x"|2000000000|\{\}|\{"jwk":\{\}\}|1|null|\[\]),?){0,6}\}"#
    ) {
        let world = World::es256();
        let identity = world.identity();
        let proof = world.holder.mint(&world.proof_header.to_string(), &claims);
        prop_assert!(world.verify_text(&identity, &proof).is_err());
        let bent = world.authority.mint(&world.header.to_string(), &claims);
        prop_assert!(world.verify_text(&bent, &world.proof_of(&bent)).is_err());
    }

    #[test]
    fn random_bundles_are_refused_or_verify_nothing(
        document in r#"\{"keys":\[(\{("(kty|use|alg|crv|x|y|kid)":("(EC|RSA|P-256|wit-svid|a1|AAAA)"|1|null|\[\]),?){0,6}\},?){0,3}\]\}"#
    ) {
        let set = KeySet::parse_wit_bundle(document.as_bytes());
        prop_assert!(set.is_err() || set.is_ok_and(|set| set.is_empty()));
    }
}
