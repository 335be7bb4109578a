//! Tokens, and the keys that they are verified by: whole ones to begin with, so that what is made of them gets as far as
//! signatures, and a key to sign again what was changed, so that it gets as far as claims.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_identity::token::{self, Algorithm, Claims, Issuer, KeySet, Profile, TokenError};

use crate::{domain, now};

/// Those that verify at [`now`], one or two of each profile, and some that cannot be read.
pub(crate) const SEEDS: &[&[u8]] = &[
    ACCESS.as_bytes(),
    GENERIC.as_bytes(),
    BOUND.as_bytes(),
    SVID.as_bytes(),
    TRANSACTION.as_bytes(),
    KUBERNETES.as_bytes(),
    b"eyJhbGciOiJub25lIn0.e30.",
    b"a.b.c.d.e",
];

/// Every token that verifies as it is. The private halves of the first two keys are nobody's, so there are no others of
/// ES256 and RS256.
const VERIFIED: &[&str] = &[ACCESS, GENERIC, BOUND, SVID, TRANSACTION, KUBERNETES];

/// ES256, `at+jwt`.
const ACCESS: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUiLCJ0eXAiOiJhdCtqd3QifQ.eyJpc3MiOiJpIiwiYXVkIjoiYSIsInN1YiI6InMiLCJleHAiOjQwMDAwMDAwMDAsImlhdCI6MTk5OTk5OTk5MCwianRpIjoiMSIsImNsaWVudF9pZCI6ImMifQ.uf6vjrWHYyX7MwrQ9jynLQk8xJco_I0NFyEK86MgmiwbDo5bmT8av2CTBEinX6vNzq5nl_ktEd7EYpuQG26mXQ";
/// RS256, with two audiences and two actors.
const GENERIC: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InIiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJpIiwiYXVkIjpbImIiLCJhIl0sImV4cCI6NDAwMDAwMDAwMCwibmJmIjoxLjUsImFjdCI6eyJzdWIiOiJ4IiwiYWN0Ijp7InN1YiI6InkifX19.is8R17hy3HPFXy9wH5QPMuuVYtq1Ri0ovdyDBB4U0_9sfeIjKW7yGt1nS05N6xGNCgXRQ8FUUj-JRy9S12-WTsMNPsYzQ_LxQ_58yD3I8AryLhkIrr-a3J9l9i7PAoLnlYvsbytLWH6GXdeJ3mHrm-PGOGyG5PbkPposXJJoxh1Y1R1JdKBSMI341iCpuWq9FRITaIPfo_q_7DZzc_S_awxKoPTLEhqLqDB6gauRKJHfPO-N_585-xfAXWXkhvVvwQkDjmYX1Bz-iH1FP3p3jFbgtILJwJyvNr4Fnwh1gTIfc1KamVWDqzDy7bPjbCIk1KL-Gv5gMiXYDEiwasbzfA";
/// EdDSA, bound to a key.
const BOUND: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImQifQ.eyJpc3MiOiJpIiwiYXVkIjoiYSIsImV4cCI6NDAwMDAwMDAwMCwic3ViIjoicyIsImNuZiI6eyJqa3QiOiIwWmNPQ09SWk5ZeS1EV3BxcTMwalp5SkdIVE4wZDJIZ2xCVjN1aWd1QTRJIn19.icwxKs_VFL76C2-k5b0zc67mIjgHEPQ0N1BfEdqfBWEnGVfmhKTWUyLu5dPo-T2Nj8rGH7Y7GZUSemwyrJIqAg";
/// ES256, of `spiffe://example.org/web`.
const SVID: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUifQ.eyJzdWIiOiJzcGlmZmU6Ly9leGFtcGxlLm9yZy93ZWIiLCJhdWQiOlsiYSJdLCJleHAiOjQwMDAwMDAwMDB9.jv2TtRjXH8s-VrfWVcZrYyhAVzXJFfsE-PCQMOOk3c46kCsnjx3thjtOaDn79Lx8JdTvhGjMSypx9u2G7reQvA";
/// EdDSA, a transaction token.
const TRANSACTION: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImQiLCJ0eXAiOiJ0eG50b2tlbitqd3QifQ.eyJpc3MiOiJ0IiwiYXVkIjoiYSIsImV4cCI6MjAwMDAwMDA2MCwiaWF0IjoxOTk5OTk5OTkwLCJ0eG4iOiIxIiwic3ViIjoicyIsInNjb3BlIjoieCIsInJlcV93bCI6InciLCJ0Y3R4Ijp7fSwicmN0eCI6e319.FrKBXAPqMQnHg2AOpkRMDRQ7OSwe9GzYRgxmSYOE5hFDymKV-Xw30OH0GMfmzkGRuDDAHrGAOVDuQr-s4Lh4DQ";
/// EdDSA, a service account's.
const KUBERNETES: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImQiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJrIiwiYXVkIjpbImEiXSwic3ViIjoic3lzdGVtOnNlcnZpY2VhY2NvdW50OnNob3A6Y2FydCIsImp0aSI6IjEiLCJpYXQiOjE5OTk5OTk5OTAsIm5iZiI6MTk5OTk5OTk5MCwiZXhwIjoyMDAwMDAzNjAwLCJrdWJlcm5ldGVzLmlvIjp7Im5hbWVzcGFjZSI6InNob3AiLCJ3YXJuYWZ0ZXIiOjIwMDAwMDE4MDAsInNlcnZpY2VhY2NvdW50Ijp7Im5hbWUiOiJjYXJ0IiwidWlkIjoiNmQ1YiJ9LCJwb2QiOnsibmFtZSI6ImNhcnQtMSIsInVpZCI6Ijc3YWEifX19.vtj9HJYZUEIVjL6gW1FRWeltJBAp_MDbWDSHSwfRGCzLEPSfY9Pzj_eQy7q7J39rqNqScM_W1Yp-ihaqDRd9Bw";
/// `e`, `r` and `d`, the last of them with [`SECRET`].
const KEYS: &[u8] = br#"{"keys":[{"kty":"EC","crv":"P-256","kid":"e","x":"KQgwUU395W2JkReLwt5nHzInxFZpV5Nxp5kIkNzs4DU","y":"D9ut-ZuP6BvaimLhXHBWZlaDXBI3AhNCcuU-EIcsBqY"},{"kty":"RSA","kid":"r","n":"uQ3ypavM2_DcN7sef7fMCPQ3QOuk0OmRlf9m-6K-KhcnncYRb085ln34L_1Jv3irfUvsppob_lwnuAhOv_eoiBrofTzjceyryhYfX7jOlBQ3uXYGurhuM63Clt5AHTzBdhnd2KYB97WFb-16uFg5n2NIShEBOC5A1VFv5bEQ-S_P41IlpSpgqOyqrPDvdsaskYovEJYcB8mg5nnIpv-WVE9ObCtiiMFvISI1KaP-0TY2abwKr6hAAxkeq33vTBPHcnKJVgrzyHDaNXS4lrjzj0HlvTlE_ldlg-bnhWWA9CYy0rnQQZkPiNdQS_Zabci9ZzHzCwThTOLyS8CM7beD3w","e":"AQAB"},{"kty":"OKP","crv":"Ed25519","kid":"d","x":"6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw"}]}"#;
const SECRET: [u8; 32] = [7; 32];

struct Ground {
    issuers: Vec<Issuer>,
    keys: Arc<KeySet>,
    signer: Ed25519KeyPair,
}

static GROUND: LazyLock<Ground> = LazyLock::new(|| {
    let allowed = |algorithm: &Algorithm| *algorithm != Algorithm::EdDsa || !postern_identity::tls::IS_FIPS;
    let issuer = |name: &str, profile: Profile| {
        let of_svids = matches!(profile, Profile::JwtSvid(_));
        let algorithms = Algorithm::ALL.into_iter().filter(allowed);
        let algorithms = algorithms.filter(|algorithm| !of_svids || *algorithm != Algorithm::EdDsa).collect();
        let issuer = Issuer::new(name.to_owned(), vec!["a".to_owned()], algorithms).expect("an issuer");
        issuer.with_profile(profile).expect("an issuer of this profile")
    };
    Ground {
        issuers: vec![
            issuer("i", Profile::Generic),
            issuer("svid", Profile::JwtSvid(domain().expect("a trust domain"))),
            issuer("t", Profile::TransactionToken),
            issuer("k", Profile::KubernetesServiceAccount),
        ],
        keys: Arc::new(KeySet::parse(KEYS).expect("keys")),
        signer: Ed25519KeyPair::from_seed_unchecked(&SECRET).expect("a key"),
    }
});

/// What verifies was signed with one of the keys, and is for us and now.
pub(crate) fn compact_jws(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(claims) = verified(text) {
        assert!(VERIFIED.contains(&text), "nobody signed {text}");
        hold(&claims);
    }
    if let Some(claims) = signed_again(text).as_deref().and_then(verified) {
        hold(&claims);
    }
}

/// The claims of a token that is taken, as a caller's or as a statement about the call.
#[must_use]
pub fn verified(text: &str) -> Option<Claims> {
    let Ground { issuers, keys, .. } = &*GROUND;
    let of = |_| Some(Arc::clone(keys));
    let both: [Result<Claims, TokenError>; 2] =
        [token::verify(text, issuers, &of, now()), token::verify_transaction(text, issuers, &of, now())];
    both.into_iter().find_map(Result::ok)
}

/// The same header and claims with a true signature of the key `d`.
#[must_use]
pub fn signed_again(text: &str) -> Option<String> {
    let (signed, _) = text.rsplit_once('.')?;
    let signature = GROUND.signer.sign(signed.as_bytes());
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn hold(claims: &Claims) {
    let audience = &claims.members["aud"];
    let ours = |text: Option<&str>| text == Some("a");
    assert!(
        ours(audience.as_str())
            || audience.as_array().is_some_and(|all| all.iter().any(|one| ours(one.as_str())))
    );
    assert!(claims.expires_at.as_secs() + token::LEEWAY_S_DEFAULT > now().as_secs());
    assert!(claims.key_id.as_deref().is_none_or(|id| ["e", "r", "d"].contains(&id)));
    if let Some(domain) = &claims.trust_domain {
        let subject = claims.subject.as_deref().unwrap_or_default();
        assert!(subject.starts_with(&format!("spiffe://{domain}/")));
    }
}
