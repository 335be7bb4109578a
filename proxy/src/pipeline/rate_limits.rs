//! How often a route may be asked. `traffic/rate_limit.rs` counts for this sidecar, and a service that the route may name
//! for many; here is what that comes to for the request, and what the caller is told.
use super::exchange::Exchange;
use super::normalise::{guard_response, is_protected};
use super::refusal::{Denial, Refusal, Refused};
use crate::routing::{Rates, Upstream};
use crate::telemetry::metrics::{RateLimitCheck, UpstreamResult};
use crate::traffic::endpoint::Load;
use crate::traffic::global_rate_limit::{GlobalRateLimit, Otherwise, Said, said};
use crate::traffic::outlier::{self, Outcome};
use crate::traffic::rate_limit::{Admitted, Moment, Over, RateLimits, Subject};
use crate::upstream::{NoAnswer, Proof, RateLimitResponse};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue};

/// draft-ietf-httpapi-ratelimit-headers.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

impl Exchange {
    /// Refuses where the route has been asked as often as it may be; `headers` are those that the upstream gets.
    pub(super) async fn within_rates(&self, rates: &Rates, headers: &HeaderMap) -> Result<(), Refused> {
        let subject = Subject {
            spiffe_id: self.connection.peer().map(|peer| &peer.spiffe_id),
            address: self.connection.source.ip(),
            claims: self.credentials.claims.as_deref(),
            headers,
        };
        let admitted = self.admit(&rates.local, &subject)?;
        let Some(global) = &rates.global else { return Ok(()) };
        // In a place of its own: every exchange would carry the room for a question that few of them put.
        let asked = Box::pin(self.within_global(global, &subject)).await;
        if asked.is_err() {
            self.at(|moment| rates.local.give_back(&admitted, moment));
        }
        asked
    }

    fn admit(&self, limits: &RateLimits, subject: &Subject<'_>) -> Result<Admitted, Refused> {
        self.at(|moment| limits.admit(subject, moment).map_err(|over| refused(told(&over))))
    }

    fn at<T>(&self, ask: impl FnOnce(&mut Moment<'_>) -> T) -> T {
        let worker = &self.worker;
        ask(&mut Moment {
            now_ns: worker.clock.monotonic_ns(),
            known: &worker.rate_limits,
            random: &mut worker.random.borrow_mut(),
        })
    }

    async fn within_global(&self, global: &GlobalRateLimit, subject: &Subject<'_>) -> Result<(), Refused> {
        let answer = self.ask(global, subject).await.and_then(|answer| said(&answer, is_guarded));
        let (check, result) = match answer {
            Ok(Said::Ok) => (RateLimitCheck::Ok, Ok(())),
            Ok(Said::OverLimit(headers)) => (RateLimitCheck::OverLimit, Err(refused(headers))),
            Err(cause) => {
                global.tell(&cause, self.worker.clock.monotonic_ns());
                let result = match &global.otherwise {
                    Otherwise::Allow => Ok(()),
                    Otherwise::Deny => Err(Refusal::LimitRateUnavailable.into()),
                    Otherwise::Local(limits) => self.admit(limits, subject).map(drop),
                };
                (RateLimitCheck::Failed, result)
            }
        };
        global.metrics.checked(check);
        result
    }

    async fn ask(
        &self,
        global: &GlobalRateLimit,
        subject: &Subject<'_>,
    ) -> Result<RateLimitResponse, NoAnswer> {
        let (worker, service) = (&self.worker, &global.service);
        let _place =
            service.breaker.requests.take_or_refuse().ok_or("it has as many questions in hand as it may")?;
        let began_ns = worker.clock.monotonic_ns();
        let (target, mut chosen) = worker.choose(service, None, &[]).ok_or("it has no endpoint")?;
        let question = global.question(subject);
        let may = |proof: Option<&Proof>| worker.may_use(proof);
        let asking = worker.upstreams.should_rate_limit(target, &question, &may);
        let answer = match tokio::time::timeout(global.timeout, asking).await {
            Ok(answer) => answer,
            Err(_) => Err("no answer in time".to_owned()),
        };
        let took_ns = worker.clock.monotonic_ns().saturating_sub(began_ns);
        self.note_service(service, &mut chosen.load, (answer.is_ok(), took_ns));
        answer
    }

    fn note_service(&self, service: &Upstream, load: &mut Load, (is_answered, took_ns): (bool, u64)) {
        let (result, outcome) = match is_answered {
            true => (UpstreamResult::Success, Outcome::Success),
            false => (UpstreamResult::NoResponse, Outcome::Failure),
        };
        service.metrics.attempt(result, took_ns);
        // With one endpoint there is nothing to choose.
        if service.targets.len() > 1 {
            let now_ns = self.worker.clock.monotonic_ns();
            let mut random = self.worker.random.borrow_mut();
            service.note(load, (outcome, took_ns), outlier::Moment { now_ns, random: &mut random });
        }
    }
}

fn refused(headers: HeaderMap) -> Refused {
    let denial = Denial { headers, ..Denial::default() };
    Refused { refusal: Refusal::LimitRate, denial: Some(Box::new(denial)) }
}

/// How the caller is told of a limit of this sidecar.
fn told(over: &Over<'_>) -> HeaderMap {
    let (name, wait_s, (requests, per_s)) = (over.name(), over.wait_s(), over.quota());
    let all = [
        (RETRY_AFTER, wait_s.to_string()),
        (RATE_LIMIT, format!("\"{name}\";r=0;t={wait_s}")),
        (RATE_LIMIT_POLICY, format!("\"{name}\";q={requests};w={per_s}")),
    ];
    all.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?))).collect()
}

/// What a service wants said is held to what an upstream may say, and our own words stay ours.
fn is_guarded(headers: &mut HeaderMap) -> bool {
    let is_ours = |name: &HeaderName| {
        let text = name.as_str();
        is_protected(text) || text.starts_with("grpc-") || name == CONTENT_TYPE || name == CONTENT_ENCODING
    };
    let guarded = guard_response(headers);
    let ours: Vec<HeaderName> = headers.keys().filter(|name| is_ours(name)).cloned().collect();
    ours.iter().for_each(|name| drop(headers.remove(name)));
    guarded.is_ok()
}
