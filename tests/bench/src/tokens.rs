//! What a token costs: when it is verified, and when it is remembered.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_identity::token::{Algorithm, Issuer, KeySet, Profile, verify};
use postern_proxy::clock::{Clock, SystemClock};
use postern_proxy::demo::ca::Ca;
use postern_proxy::pipeline::TokenCache;
use postern_proxy::state::Tokens;
use serde_json::{Value, json};

/// Calls that are timed as one, so that reading the clock costs nothing in comparison.
const BATCH: u32 = 1_000;
const BATCHES: usize = 21;

/// Nanoseconds for one JWT-SVID signed with ES256; of many batches the middle one.
pub(crate) fn measure() -> Result<Value, String> {
    let now = SystemClock::new().unix_time();
    let domain = "example.org".parse().map_err(text)?;
    let ca = Ca::new(domain, now).map_err(text)?;
    let id = "spiffe://example.org/client".parse().map_err(text)?;
    let audiences = vec!["orders".to_owned()];
    let token = ca.issue_jwt(&id, &audiences, Duration::from_secs(300), now).map_err(text)?;
    let issuer = Issuer::new("example.org".to_owned(), audiences, vec![Algorithm::Es256])
        .and_then(|issuer| issuer.with_profile(Profile::JwtSvid(ca.trust_domain().clone())))
        .map_err(text)?;
    let keys = KeySet::parse(ca.jwt_bundle().as_bytes()).map_err(text)?;
    let tokens = Tokens { issuers: vec![issuer], keys: vec![Some(Arc::new(keys))], generation: 1 };
    let check = || verify(&token, &tokens.issuers, &|issuer| tokens.keys.get(issuer).cloned().flatten(), now);

    let claims = Arc::new(check().map_err(text)?);
    let mut cache = TokenCache::default();
    cache.insert(&tokens, claims, now.as_secs());
    let mut remembered = || cache.get(&token, &tokens, now.as_secs());
    remembered().ok_or("the token is not remembered")?;
    Ok(json!({
        "token_bytes": token.len(),
        "verified_ns": nanoseconds(|| drop(black_box(check()))),
        "remembered_ns": nanoseconds(|| drop(black_box(remembered()))),
    }))
}

fn nanoseconds(mut call: impl FnMut()) -> f64 {
    let mut batches = [0.0; BATCHES];
    for batch in &mut batches {
        let began = Instant::now();
        for _ in 0..BATCH {
            call();
        }
        *batch = began.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH);
    }
    batches.sort_by(f64::total_cmp);
    batches.get(BATCHES / 2).copied().unwrap_or(f64::NAN)
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
