//! How often a route may be asked, as far as the answer to the caller goes: `traffic/rate_limit.rs` counts.
use super::exchange::Exchange;
use super::refusal::{Denial, Refusal, Refused};
use crate::routing::Route;
use crate::traffic::rate_limit::{Moment, Over, Subject};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue};

/// draft-ietf-httpapi-ratelimit-headers.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

impl Exchange {
    /// Refuses where the route has been asked as often as it may be; `headers` are those that the upstream gets.
    pub(super) fn within_rates(&self, route: &Route, headers: &HeaderMap) -> Result<(), Refused> {
        if route.rate_limits.is_empty() {
            return Ok(());
        }
        let subject = Subject {
            spiffe_id: &self.connection.peer.spiffe_id,
            address: self.connection.source.ip(),
            claims: self.credentials.claims.as_deref(),
            headers,
        };
        let worker = &self.worker;
        let mut moment = Moment {
            now_ns: worker.clock.monotonic_ns(),
            known: &worker.rate_limits,
            random: &mut worker.random.borrow_mut(),
        };
        match route.rate_limits.admit(&subject, &mut moment) {
            Ok(()) => Ok(()),
            Err(over) => Err(refused(&over)),
        }
    }
}

fn refused(over: &Over<'_>) -> Refused {
    let (name, wait_s, (requests, per_s)) = (over.name(), over.wait_s(), over.quota());
    let all = [
        (RETRY_AFTER, wait_s.to_string()),
        (RATE_LIMIT, format!("\"{name}\";r=0;t={wait_s}")),
        (RATE_LIMIT_POLICY, format!("\"{name}\";q={requests};w={per_s}")),
    ];
    let headers = all.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?)));
    let denial = Denial { headers: headers.collect(), ..Denial::default() };
    Refused { refusal: Refusal::LimitRate, denial: Some(Box::new(denial)) }
}
