//! One attempt after the other, until one is answered, or until no other may be made.
use super::enforce::{Again, Attempt};
use super::exchange::Exchange;
use super::refusal::Refusal;
use super::under_way::UnderWay;
use crate::routing::{Route, Upstream};
use crate::traffic::endpoint::Load;
use crate::traffic::grpc_deadline::{self, GRPC_TIMEOUT};
use crate::traffic::retry::{self, Asked, Failure};
use crate::traffic::retry_budget::Paid;
use crate::traffic::{ring, timeout};
use crate::upstream::{Lease, SendError, Target};
use http::{Method, Response};
use hyper::body::Incoming;
use postern_audit::{EndpointAddress, Tried, TriedResult};
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

pub(super) type Answered = (Response<Incoming>, Lease);

/// What came of an attempt that brought nothing to deliver.
struct Failed {
    failure: Failure,
    refusal: Refusal,
    /// The attempt, where not a byte of it left.
    unsent: Option<Box<Attempt>>,
}

/// What it was to be: an answer to deliver, or an attempt to make.
enum Next {
    Deliver((Answered, Load)),
    Refuse(Refusal, Option<Box<Attempt>>),
    Try { attempt: Attempt, wait: Duration, _paid: Paid },
}

/// Sends a permitted request.
pub(super) async fn send(
    exchange: &mut Exchange,
    (route, upstream): (&Route, &Upstream),
    mut attempt: Attempt,
) -> Result<Answered, Refusal> {
    let worker = Rc::clone(&exchange.worker);
    let method = attempt.request().method().clone();
    let again = retry::keeps(&route.retry, &method).map(|bytes_max| attempt.keep(bytes_max));
    let key = upstream
        .hash_key
        .as_ref()
        .and_then(|key| ring::place(key, exchange.connection.spiffe_id(), attempt.request().headers()));
    let (mut number, mut tried) = (0, Vec::new());
    // Given back when the attempt that it paid for has ended.
    let mut _paid: Option<Paid> = None;
    loop {
        let aimed = worker.aim(upstream, (key, &tried), &exchange.connection);
        let (target, chosen) = aimed.ok_or(Refusal::UpstreamNoEndpoint)?;
        exchange.note_attempt(target.endpoint.clone());
        let began_ns = worker.clock.monotonic_ns();
        let outcome = one(exchange, (route, upstream), (&target, chosen.load), attempt).await;
        let made = Made { endpoint: target.endpoint.clone(), began_ns };
        number += 1;
        let again = again.as_ref();
        match (Retrying { exchange, route, upstream, method: &method, again, number, made }).next(outcome) {
            Next::Deliver((answered, load)) => {
                exchange.hold(load);
                if let Some(proof) = answered.1.proof() {
                    exchange.draft.note_server(proof.server());
                }
                return Ok(answered);
            }
            Next::Refuse(refusal, unsent) => {
                exchange.keep_unread(unsent.and_then(|attempt| attempt.into_unread()));
                return Err(refusal);
            }
            Next::Try { attempt: next, wait, _paid: paid } => {
                (attempt, _paid) = (next, Some(paid));
                upstream.metrics.retried();
                exchange.rests_on(None);
                tried.push(chosen.index);
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

async fn one(
    exchange: &Exchange,
    (route, upstream): (&Route, &Upstream),
    (target, mut load): (&Target, Load),
    mut attempt: Attempt,
) -> Result<(Answered, Load), Failed> {
    if let Some(deadline) = exchange.deadline
        && attempt.request().headers().contains_key(GRPC_TIMEOUT)
    {
        let left = deadline.saturating_duration_since(Instant::now());
        attempt.set_grpc_timeout(grpc_deadline::spell(left));
    }
    let body = attempt.request().body().watch();
    let patience = route.retry.per_try_timeout.map_or(route.timeout, |per_try| per_try.min(route.timeout));
    let under_way = UnderWay::begin(exchange, (upstream, patience), (&body, &mut load));
    let sending = exchange.worker.upstreams.send(target, attempt, &under_way);
    let sent = timeout::one_try(route.retry.per_try_timeout, &body, sending).await;
    under_way.end(sent.as_ref());
    let failed = |failure, refusal, unsent| Err(Failed { failure, refusal, unsent });
    match sent {
        Some(Ok(answered)) => Ok((answered, load)),
        Some(Err(SendError::Unsent(unsent, refusal))) => failed(Failure::Unsent, refusal, Some(unsent)),
        Some(Err(SendError::Refused(refusal))) => failed(Failure::Refused, refusal, None),
        Some(Err(SendError::Sent(refusal))) => failed(Failure::Reset, refusal, None),
        None => failed(Failure::Timeout, Refusal::UpstreamTimeout, None),
    }
}

/// By what it is judged whether another attempt is made.
struct Retrying<'a> {
    exchange: &'a mut Exchange,
    route: &'a Route,
    upstream: &'a Upstream,
    method: &'a Method,
    again: Option<&'a Again>,
    /// How many attempts were made.
    number: u32,
    made: Made,
}

/// The attempt that was made last.
struct Made {
    endpoint: EndpointAddress,
    began_ns: u64,
}

impl Retrying<'_> {
    fn next(mut self, outcome: Result<(Answered, Load), Failed>) -> Next {
        match outcome {
            Ok(answered) => self.after_answer(answered),
            Err(failed) => self.after_failure(failed),
        }
    }

    fn after_answer(&mut self, ((response, lease), load): (Answered, Load)) -> Next {
        let (status, headers) = (response.status(), response.headers());
        if !self.may_try() || !retry::after_answer(&self.route.retry, self.method, (status, headers)) {
            return Next::Deliver(((response, lease), load));
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_nanos(self.exchange.worker.clock.unix_ns());
        let wait = match retry::asked(headers, now) {
            Asked::Never => return Next::Deliver(((response, lease), load)),
            Asked::After(wait) => wait,
            Asked::Nothing => self.backoff(),
        };
        // The answer in hand is worth more than one that comes too late.
        let is_in_time = wait < self.route.timeout;
        let next = self.again.filter(|_| is_in_time).and_then(Again::attempt);
        let result = TriedResult::Status(status.as_u16());
        match next.and_then(|attempt| Some((attempt, self.pay(result)?))) {
            Some((attempt, paid)) => {
                lease.give_back_after(response.into_body());
                Next::Try { attempt, wait, _paid: paid }
            }
            None => Next::Deliver(((response, lease), load)),
        }
    }

    fn after_failure(&mut self, failed: Failed) -> Next {
        let Failed { failure, refusal, unsent } = failed;
        // What is full is not tried again: that is what its bounds are for.
        let is_full = refusal == Refusal::UpstreamOverflow;
        if is_full || !self.may_try() || !retry::after_failure(&self.route.retry, self.method, failure) {
            return Next::Refuse(refusal, unsent);
        }
        let attempt = match unsent {
            Some(unsent) => unsent,
            None => match self.again.and_then(Again::attempt) {
                Some(attempt) => Box::new(attempt),
                None => return Next::Refuse(refusal, None),
            },
        };
        let Some(paid) = self.pay(TriedResult::Reason(refusal.code())) else {
            return Next::Refuse(refusal, Some(attempt));
        };
        let has_another = self.upstream.targets.len() > 1;
        let wait = match failure {
            Failure::Unsent if has_another => Duration::ZERO,
            Failure::Unsent | Failure::Refused | Failure::Reset | Failure::Timeout => self.backoff(),
        };
        Next::Try { attempt: *attempt, wait, _paid: paid }
    }

    fn may_try(&self) -> bool {
        self.number < self.route.retry.attempts_max
    }

    fn backoff(&self) -> Duration {
        retry::backoff(&self.route.retry, self.number, &mut self.exchange.worker.random.borrow_mut())
    }

    /// What another attempt takes: a part of the upstream's budget, and a place in the log for what came of this one.
    fn pay(&mut self, result: TriedResult) -> Option<Paid> {
        let upstream = self.upstream;
        let now_ns = self.exchange.worker.clock.monotonic_ns();
        let paid = upstream.retry_budget.pay(&upstream.breaker.requests, now_ns)?;
        let Made { endpoint, began_ns } = &self.made;
        let duration_ns = now_ns.saturating_sub(*began_ns);
        let tried = Tried { endpoint: endpoint.clone(), result, duration_ns };
        self.exchange.draft.note_tried(tried).ok()?;
        Some(paid)
    }
}
