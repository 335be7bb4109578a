//! One boundary, [`verify`]: a token in, claims or a code out.

mod cookbook;
mod keys;
pub(crate) mod minting;
mod profiles;
mod properties;
mod wycheproof;

use std::sync::Arc;

use minting::Signer;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Ca, NOW_S, at, bundles, domain, now};
use crate::{Principal, Role, verify_chain};

const ISSUER: &str = "https://idp.example.org";

/// An issuer with one key of each kind, and a token that is right.
struct World {
    issuers: Vec<Issuer>,
    signer: Signer,
    header: Value,
    claims: Value,
    keys: Option<Value>,
}

impl World {
    fn new(profile: Profile) -> Self {
        let signer = Signer::es256("k1");
        let issuer = Issuer::new(
            ISSUER.to_owned(),
            vec!["orders".to_owned(), "orders-2".to_owned()],
            Algorithm::ALL.to_vec(),
        );
        let algorithms: Vec<_> = Algorithm::ALL.into_iter().filter(|a| a.is_of_jwt_svid()).collect();
        let spiffe = Issuer::new("spire".to_owned(), vec!["orders".to_owned()], algorithms).unwrap();
        Self {
            issuers: vec![
                spiffe.with_profile(Profile::JwtSvid(domain("example.org"))).unwrap(),
                issuer.unwrap().with_profile(profile).unwrap(),
            ],
            header: json!({"alg": "ES256", "kid": "k1", "typ": "at+jwt"}),
            claims: json!({
                "iss": ISSUER, "aud": "orders", "sub": "alice", "client_id": "shop", "jti": "1",
                "iat": NOW_S - 10, "nbf": NOW_S - 10, "exp": NOW_S + 60,
            }),
            keys: Some(json!({"keys": [signer.jwk]})),
            signer,
        }
    }

    fn access() -> Self {
        Self::new(Profile::AccessToken)
    }

    fn generic() -> Self {
        Self::new(Profile::Generic)
    }

    fn verify_text(&self, token: &str) -> Result<Claims, TokenError> {
        let set =
            self.keys.as_ref().map(|keys| Arc::new(KeySet::parse(keys.to_string().as_bytes()).unwrap()));
        verify(token, &self.issuers, &|_| set.clone(), now())
    }

    fn verify(&self) -> Result<Claims, TokenError> {
        self.verify_text(&self.signer.mint(&self.header.to_string(), &self.claims.to_string()))
    }
}

/// A right token, bent once.
#[track_caller]
fn check(mut world: World, bend: impl FnOnce(&mut World), expected: Result<(), &str>) {
    bend(&mut world);
    let seen = world.verify();
    assert_eq!(seen.as_ref().map(|_| ()).map_err(TokenError::code), expected, "{seen:?}");
}

/// A right token with one claim replaced, or removed by `null`.
#[track_caller]
fn check_claim(name: &str, value: Value, expected: Result<(), &str>) {
    check(
        World::access(),
        |world| {
            let claims = world.claims.as_object_mut().unwrap();
            if value.is_null() {
                claims.remove(name)
            } else {
                claims.insert(name.to_owned(), value)
            };
        },
        expected,
    );
}

#[track_caller]
fn check_header(world: World, name: &str, value: Value, expected: Result<(), &str>) {
    check(
        world,
        |world| {
            let header = world.header.as_object_mut().unwrap();
            if value.is_null() {
                header.remove(name)
            } else {
                header.insert(name.to_owned(), value)
            };
        },
        expected,
    );
}

#[test]
fn a_right_token_gives_its_claims() {
    let world = World::access();
    let token = world.signer.mint(&world.header.to_string(), &world.claims.to_string());
    let claims = world.verify_text(&token).unwrap();
    assert_eq!(claims.issuer, ISSUER);
    assert_eq!(claims.subject.as_deref(), Some("alice"));
    assert_eq!(claims.expires_at, at(NOW_S + 60));
    assert_eq!(claims.key_id.as_deref(), Some("k1"));
    assert_eq!(Value::Object(claims.members.clone()), world.claims);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    assert_eq!(claims.token_sha256.as_slice(), digest.as_ref());
    assert!(claims.is_valid_at(at(NOW_S + 59)) && !claims.is_valid_at(at(NOW_S + 60)));
}

#[test]
fn every_algorithm_is_verified() {
    for signer in Signer::all() {
        check(
            World::access(),
            |world| {
                world.header = json!({"alg": signer.algorithm, "kid": signer.jwk["kid"], "typ": "at+jwt"});
                world.keys = Some(json!({"keys": [signer.jwk]}));
                world.signer = signer;
            },
            Ok(()),
        );
    }
}

#[test]
fn none_and_shared_secrets_are_no_algorithms() {
    for name in [
        "none", "None", "nOnE", "NONE", "", "HS256", "HS512", "RS1", "es256", "ES256 ", "ES256K", "RSA-OAEP",
        "dir",
    ] {
        check_header(World::access(), "alg", json!(name), Err("token.algorithm"));
    }
    check_header(World::access(), "alg", Value::Null, Err("token.malformed"));
    check_header(World::access(), "alg", json!(["ES256"]), Err("token.malformed"));
    // The public key as an HMAC secret, and a signature left out.
    let world = World::access();
    let token = world.signer.mint(r#"{"alg":"HS256","kid":"k1","typ":"at+jwt"}"#, &world.claims.to_string());
    assert_eq!(world.verify_text(&token).unwrap_err().code(), "token.algorithm");
    let right = world.signer.mint(&world.header.to_string(), &world.claims.to_string());
    let unsigned = format!("{}.", right.rsplit_once('.').unwrap().0);
    assert_eq!(world.verify_text(&unsigned).unwrap_err(), TokenError::Signature);
}

#[test]
fn an_algorithm_has_to_be_allowed_and_to_fit_the_key() {
    let only = |algorithm| {
        move |world: &mut World| {
            world.issuers[1] =
                Issuer::new(ISSUER.to_owned(), vec!["orders".to_owned()], vec![algorithm]).unwrap();
        }
    };
    check(World::access(), only(Algorithm::Es256), Ok(()));
    check(World::access(), only(Algorithm::Rs256), Err("token.algorithm"));
    // ES384 in the header, a P-256 key under that kid.
    check_header(World::access(), "alg", json!("ES384"), Err("token.algorithm"));
    // An RSA key that says RS256 is not one for PS256.
    let rsa = Signer::rsa("k1", "PS256");
    check(
        World::access(),
        |world| {
            let mut jwk = rsa.jwk.clone();
            jwk["alg"] = json!("RS256");
            world.keys = Some(json!({"keys": [jwk]}));
            world.header["alg"] = json!("PS256");
            world.signer = rsa;
        },
        Err("token.algorithm"),
    );
}

#[test]
fn what_is_critical_is_not_understood_and_what_points_to_keys_is_not_followed() {
    for value in [json!(["exp"]), json!(["b64"]), json!([]), json!("x"), json!(["http://x"])] {
        check_header(World::access(), "crit", value, Err("token.crit"));
    }
    check_header(World::access(), "b64", json!(false), Err("token.crit"));
    for name in ["enc", "zip", "cty"] {
        check_header(World::access(), name, json!("x"), Err("token.malformed"));
    }
    for name in ["jku", "x5u", "jwk", "x5c", "x5t", "anything"] {
        check_header(World::access(), name, json!("https://attacker.example/keys"), Ok(()));
    }
}

#[test]
fn the_type_keeps_kinds_of_token_apart() {
    for (typ, access, generic) in [
        (json!("at+jwt"), true, true),
        (json!("AT+JWT"), true, true),
        (json!("application/at+jwt"), true, true),
        (json!("JWT"), false, true),
        (Value::Null, false, true),
        (json!("application/application/at+jwt"), false, false),
        (json!("dpop+jwt"), false, false),
        (json!("wit+jwt"), false, false),
        (json!("logout+jwt"), false, false),
        (json!(""), false, false),
    ] {
        let verdict = |fits| if fits { Ok(()) } else { Err("token.type") };
        check_header(World::access(), "typ", typ.clone(), verdict(access));
        check_header(World::generic(), "typ", typ, verdict(generic));
    }
    check_header(World::access(), "typ", json!(1), Err("token.malformed"));
}

#[test]
fn a_token_has_one_spelling() {
    let world = World::access();
    let right = world.signer.mint(&world.header.to_string(), &world.claims.to_string());
    let segments: Vec<&str> = right.split('.').collect();
    let [header, claims, signature] = segments.as_slice() else { panic!() };
    for bent in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b".to_owned(),
        format!("{right}."),
        format!(".{right}"),
        format!("{right}\n"),
        format!(" {right}"),
        format!("{header}=.{claims}.{signature}"),
        format!("{right}="),
        format!("{right}.x.y"),
        format!("{header}.{claims}"),
        format!("{header} .{claims}.{signature}"),
    ] {
        let error = world.verify_text(&bent).unwrap_err();
        assert_eq!(error.code(), "token.malformed", "{bent}: {error}");
    }
    // The last character of 64 bytes carries four unused bits; only one of sixteen spellings is canonical.
    let (body, last) = right.split_at(right.len() - 1);
    let aliases = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars();
    for alias in aliases.filter(|c| !last.starts_with(*c)) {
        assert!(world.verify_text(&format!("{body}{alias}")).is_err(), "{alias}");
    }
}

#[test]
fn members_that_occur_twice_are_refused() {
    let world = World::access();
    let claims = world.claims.to_string();
    let twice = claims.replace(r#""sub":"alice""#, r#""sub":"alice","sub":"admin""#);
    assert_ne!(twice, claims);
    let in_claims = world.signer.mint(&world.header.to_string(), &twice);
    assert_eq!(world.verify_text(&in_claims).unwrap_err().code(), "token.malformed");
    let in_header = world.signer.mint(r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","kid":"k2"}"#, &claims);
    assert_eq!(world.verify_text(&in_header).unwrap_err().code(), "token.malformed");
    for (header, claims) in
        [("[]", claims.as_str()), ("1", &claims), (r#"{"alg":"ES256"}"#, "[]"), (r#"{"alg":"ES256"}"#, "{")]
    {
        assert_eq!(
            world.verify_text(&world.signer.mint(header, claims)).unwrap_err().code(),
            "token.malformed"
        );
    }
}

#[test]
fn sizes_are_limited() {
    let with_pad = |pad: usize| {
        let mut world = World::access();
        world.claims["pad"] = json!("x".repeat(pad));
        world.verify().map(|_| ()).map_err(|error| error.code())
    };
    assert_eq!(with_pad(5000), Ok(()));
    assert_eq!(with_pad(7000), Err("token.too_large"));
    assert_eq!(with_pad(100_000), Err("token.too_large"));
    check_claim("deep", (0..20).fold(json!(1), |inner, _| json!([inner])), Err("token.malformed"));
    check(
        World::access(),
        |world| (0..60).for_each(|n| world.claims[format!("c{n}")] = json!(n)),
        Err("token.malformed"),
    );
    check_header(World::access(), "kid", json!("k".repeat(257)), Err("token.malformed"));
}

#[test]
fn the_issuer_is_compared_exactly() {
    for value in
        [json!("https://idp.example.org/"), json!("HTTPS://idp.example.org"), json!("spire"), json!("")]
    {
        check_claim("iss", value, Err("token.issuer"));
    }
    check_claim("iss", Value::Null, Err("token.claims"));
    for value in [json!([ISSUER]), json!(1), json!({"a": ISSUER})] {
        check_claim("iss", value, Err("token.claims"));
    }
}

#[test]
fn the_audience_is_ours() {
    for (value, expected) in [
        (json!("orders"), Ok(())),
        (json!("orders-2"), Ok(())),
        (json!(["x", "orders"]), Ok(())),
        (json!("order"), Err("token.audience")),
        (json!("Orders"), Err("token.audience")),
        (json!([]), Err("token.audience")),
        (json!(["x"]), Err("token.audience")),
        (json!(["orders", 5]), Err("token.claims")),
        (json!(5), Err("token.claims")),
        (json!({"orders": true}), Err("token.claims")),
        (Value::Null, Err("token.claims")),
    ] {
        check_claim("aud", value, expected);
    }
}

#[test]
fn times_are_checked_with_five_seconds_of_leeway() {
    for (name, value, expected) in [
        ("exp", json!(NOW_S - 4), Ok(())),
        ("exp", json!(NOW_S - 5), Err("token.expired")),
        ("exp", json!((NOW_S - 4) as f64 + 0.9), Ok(())),
        ("exp", json!(0), Err("token.expired")),
        ("nbf", json!(NOW_S + 5), Ok(())),
        ("nbf", json!(NOW_S + 6), Err("token.not_yet_valid")),
        ("nbf", json!((NOW_S + 5) as f64 + 0.5), Err("token.not_yet_valid")),
        ("nbf", Value::Null, Ok(())),
        ("iat", json!(NOW_S + 5), Ok(())),
        ("iat", json!(NOW_S + 6), Err("token.not_yet_valid")),
    ] {
        check_claim(name, value, expected);
    }
}

#[test]
fn times_have_the_right_type() {
    for name in ["exp", "nbf", "iat"] {
        for value in [
            json!("99999999999"),
            json!("never"),
            json!([]),
            json!({}),
            json!(true),
            json!(-1),
            json!(1u64 << 63),
        ] {
            check_claim(name, value, Err("token.claims"));
        }
        for text in ["1e400", "-1e400", "null", "253402300800"] {
            let world = World::access();
            let mut claims = world.claims.as_object().unwrap().clone();
            claims.remove(name);
            let claims = serde_json::to_string(&claims).unwrap();
            let bent = format!(r#"{{"{name}":{text},{}"#, claims.strip_prefix('{').unwrap());
            let token = world.signer.mint(&world.header.to_string(), &bent);
            assert_eq!(world.verify_text(&token).unwrap_err().code(), "token.claims", "{name} {text}");
        }
    }
    check_claim("exp", Value::Null, Err("token.claims"));
}

#[test]
fn a_lifetime_can_be_capped() {
    let capped = |max| {
        move |world: &mut World| {
            let issuer = world.issuers.pop().unwrap();
            world.issuers.push(issuer.with_lifetime_s_max(max));
        }
    };
    check(World::generic(), capped(70), Ok(()));
    check(World::generic(), capped(69), Err("token.lifetime"));
    check(
        World::generic(),
        |world| {
            capped(70)(world);
            world.claims.as_object_mut().unwrap().remove("iat");
        },
        Err("token.claims"),
    );
}

#[test]
fn an_access_token_has_the_claims_of_rfc_9068() {
    for name in ["sub", "client_id", "iat", "jti"] {
        check_claim(name, Value::Null, Err("token.claims"));
        check(
            World::generic(),
            |world| {
                world.claims.as_object_mut().unwrap().remove(name);
            },
            Ok(()),
        );
    }
    for name in ["sub", "client_id", "jti"] {
        check_claim(name, json!(7), Err("token.claims"));
    }
}

#[test]
fn signatures_are_checked_over_what_was_sent() {
    let world = World::access();
    let right = world.signer.mint(&world.header.to_string(), &world.claims.to_string());
    let other = World::access().signer.mint(&world.header.to_string(), &world.claims.to_string());
    let spliced = format!("{}.{}", right.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    assert_eq!(world.verify_text(&spliced).unwrap_err(), TokenError::Signature);
    // CVE-2022-21449: r = s = 0.
    let zero = format!("{}.{}", right.rsplit_once('.').unwrap().0, "A".repeat(86));
    assert_eq!(world.verify_text(&zero).unwrap_err(), TokenError::Signature);
    let mut world = World::access();
    world.claims["sub"] = json!("admin");
    let claims = world.signer.mint(&world.header.to_string(), &world.claims.to_string());
    let mixed = format!("{}.{}", claims.rsplit_once('.').unwrap().0, right.rsplit_once('.').unwrap().1);
    assert_eq!(world.verify_text(&mixed).unwrap_err(), TokenError::Signature);
}

#[test]
fn an_unknown_key_names_the_issuer_to_ask_again() {
    let mut world = World::access();
    world.header["kid"] = json!("../../dev/null");
    let error = world.verify().unwrap_err();
    assert_eq!((error.code(), error.unknown_key()), ("token.key_unknown", Some(1)));
    world.keys = None;
    let error = world.verify().unwrap_err();
    assert_eq!((error.code(), error.unknown_key()), ("keys.unavailable", Some(1)));
    assert_eq!(TokenError::Signature.unknown_key(), None);
}

#[test]
fn a_key_of_one_issuer_verifies_nothing_for_another() {
    let world = World::access();
    let other =
        Issuer::new("https://other.example".to_owned(), vec!["orders".to_owned()], vec![Algorithm::Es256])
            .unwrap();
    let issuers = [world.issuers[1].clone(), other];
    let sets = [Signer::es256("k1").jwk, world.signer.jwk.clone()]
        .map(|jwk| Arc::new(KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap()));
    let token = world.signer.mint(&world.header.to_string(), &world.claims.to_string());
    let keys = |issuer: usize| sets.get(issuer).cloned();
    assert_eq!(verify(&token, &issuers, &keys, now()).unwrap_err(), TokenError::Signature);
    let swapped = |issuer: usize| sets.get(1 - issuer).cloned();
    assert!(verify(&token, &issuers, &swapped, now()).is_ok());
}

#[test]
fn a_token_without_key_id_is_tried_with_few_keys() {
    let with_keys = |count: usize| {
        let mut world = World::generic();
        world.header.as_object_mut().unwrap().remove("kid");
        let mut keys: Vec<Value> = (1..count).map(|n| Signer::es256(&format!("x{n}")).jwk).collect();
        keys.push(world.signer.jwk.clone());
        world.keys = Some(json!({ "keys": keys }));
        world.verify().map(|_| ()).map_err(|error| error.code())
    };
    assert_eq!(with_keys(1), Ok(()));
    assert_eq!(with_keys(8), Ok(()));
    assert_eq!(with_keys(9), Err("token.malformed"));
}

fn jwt_svid() -> World {
    let mut world = World::access();
    world.header = json!({"alg": "ES256", "kid": "k1", "typ": "JWT"});
    world.claims = json!({"sub": "spiffe://example.org/web", "aud": ["orders"], "exp": NOW_S + 60});
    world
}

#[test]
fn a_jwt_svid_is_taken_by_its_own_rules() {
    let claims = jwt_svid().verify().unwrap();
    assert_eq!(
        (claims.issuer.as_str(), claims.subject.as_deref()),
        ("spire", Some("spiffe://example.org/web"))
    );
    for typ in [json!("JOSE"), Value::Null] {
        check_header(jwt_svid(), "typ", typ, Ok(()));
    }
    for typ in ["jwt", "at+jwt", "application/jwt"] {
        check_header(jwt_svid(), "typ", json!(typ), Err("token.type"));
    }
    check_header(jwt_svid(), "jku", json!("x"), Err("token.malformed"));
    check_header(jwt_svid(), "kid", Value::Null, Err("token.malformed"));
    check_header(jwt_svid(), "alg", json!("EdDSA"), Err("token.algorithm"));
    check(jwt_svid(), |world| world.claims["sub"] = json!("spiffe://other.org/web"), Err("token.claims"));
    check(jwt_svid(), |world| world.claims["sub"] = json!("spiffe://example.org"), Err("token.claims"));
    check(jwt_svid(), |world| world.claims["aud"] = json!([]), Err("token.audience"));
    check(jwt_svid(), |world| world.claims["aud"] = json!("orders"), Ok(()));
    check(
        jwt_svid(),
        |world| {
            world.claims.as_object_mut().unwrap().remove("exp");
        },
        Err("token.claims"),
    );
}

#[test]
fn a_bound_token_is_used_only_with_its_certificate() {
    use base64::Engine as _;
    let ca = Ca::root("root");
    let leaf = ca.leaf("spiffe://example.org/web");
    let trusted = bundles([ca.bundle("example.org")]);
    let peer = Arc::new(verify_chain(&[leaf.der], &trusted, Role::Client, now()).unwrap());
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let principal = |cnf: Value| {
        let mut world = World::access();
        world.claims["cnf"] = cnf;
        let claims = world.verify().map_err(|error| error.code())?;
        Principal::new(Arc::clone(&peer), Some(Arc::new(claims))).map(|_| ()).map_err(|error| error.code())
    };
    assert_eq!(principal(json!({"x5t#S256": encode(&peer.fingerprint_sha256)})), Ok(()));
    assert_eq!(principal(json!({"x5t#S256": encode(&[7; 32])})), Err("token.binding"));
    // Bound to a key as well, and nothing proves the key.
    let key = encode(&[8; 32]);
    assert_eq!(principal(json!({"jkt": key})), Err("token.dpop_missing"));
    let both = json!({"x5t#S256": encode(&peer.fingerprint_sha256), "jkt": key});
    assert_eq!(principal(both), Err("token.dpop_missing"));
    assert_eq!(principal(json!({"x5t#S256": encode(&[7; 32]), "jkt": key})), Err("token.binding"));
    assert_eq!(principal(json!({"jwk": {}})), Err("token.binding"));
    for value in
        [json!({}), json!("x"), json!({"x5t#S256": 1}), json!({"x5t#S256": "AAAA"}), json!({"jkt": "x"})]
    {
        assert_eq!(principal(value), Err("token.claims"));
    }
    assert!(Principal::new(peer, None).is_ok());
}

#[test]
fn an_issuer_may_want_its_tokens_bound() {
    let key = "A".repeat(43);
    let (certificate, proof) = (json!({"x5t#S256": key}), json!({"jkt": key}));
    let both = json!({"x5t#S256": key, "jkt": key});
    for (constraint, unbound, to_certificate, to_key) in [
        (SenderConstraint::None, true, true, true),
        (SenderConstraint::Mtls, false, true, false),
        (SenderConstraint::Dpop, false, false, true),
        (SenderConstraint::Any, false, true, true),
    ] {
        let verdict = |fits: bool| if fits { Ok(()) } else { Err("token.binding") };
        let with = |cnf: Option<&Value>, expected| {
            let bend = |world: &mut World| {
                let issuer = world.issuers.pop().unwrap();
                world.issuers.push(issuer.with_sender_constraint(constraint));
                if let Some(cnf) = cnf {
                    world.claims["cnf"] = cnf.clone();
                }
            };
            check(World::access(), bend, expected);
        };
        with(None, verdict(unbound));
        with(Some(&certificate), verdict(to_certificate));
        with(Some(&proof), verdict(to_key));
        with(Some(&both), Ok(()));
    }
}

#[test]
fn an_issuer_without_terms_is_refused() {
    let new = |issuer: &str, audience: &[&str], algorithms: &[Algorithm]| {
        Issuer::new(
            issuer.to_owned(),
            audience.iter().map(|a| (*a).to_owned()).collect(),
            algorithms.to_vec(),
        )
    };
    let es = &[Algorithm::Es256];
    assert_eq!(new("", &["a"], es), Err(IssuerError::IssuerEmpty));
    assert_eq!(new("i", &[], es), Err(IssuerError::NoAudience("i".to_owned())));
    assert_eq!(new("i", &[""], es), Err(IssuerError::NoAudience("i".to_owned())));
    assert_eq!(new("i", &["a"], &[]), Err(IssuerError::NoAlgorithm("i".to_owned())));
    let issuer = || new("i", &["a"], &[Algorithm::EdDsa]).unwrap();
    assert_eq!(issuer().with_leeway_s(121), Err(IssuerError::Leeway(121)));
    assert!(issuer().with_leeway_s(120).is_ok());
    assert_eq!(issuer().with_token_bytes_max(0), Err(IssuerError::TokenBytes(0)));
    assert_eq!(issuer().with_token_bytes_max(16_385), Err(IssuerError::TokenBytes(16_385)));
    assert!(issuer().with_profile(Profile::JwtSvid(domain("example.org"))).is_err());
}
