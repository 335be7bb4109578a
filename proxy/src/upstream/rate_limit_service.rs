//! Asking a rate limit service, over one HTTP/2 connection a worker and endpoint that all questions share. A question
//! holds the values that the route's configuration names, and nothing else of the request: neither its head nor its body.
mod messages;

#[cfg(test)]
pub(crate) use messages::HeaderToAdd;
pub(crate) use messages::{
    DescriptorEntry, DescriptorStatus, OK, OVER_LIMIT, RateLimitDescriptor, RateLimitRequest,
    RateLimitResponse, Span,
};

use super::executor::LocalExecutor;
use super::http2::SILENCE_MAX;
use super::pool::{InForce, Maker, Pool};
use super::probe::{framed, unframed, uri};
use super::secure::Proof;
use super::target::Target;
use crate::http2_guard;
use crate::presence::{PING_INTERVAL, PING_TIMEOUT};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioTimer;
use messages::SHOULD_RATE_LIMIT;
use prost::Message;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// The connection to one endpoint of a service.
#[derive(Debug)]
pub(super) struct ServiceConnection {
    /// When it was used last.
    used: Cell<Instant>,
    made: RefCell<Option<Rc<Made>>>,
    making: RefCell<Option<Making>>,
}

/// Why there is no answer that counts.
pub(crate) type NoAnswer = String;

type Making = Shared<LocalBoxFuture<'static, Result<Rc<Made>, NoAnswer>>>;

/// A connection that was made.
struct Made {
    sender: SendRequest<Full<Bytes>>,
    proof: Option<Rc<Proof>>,
    /// When an answer came by it last, or when it was made.
    heard: Cell<Instant>,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").field("heard", &self.heard).finish_non_exhaustive()
    }
}

/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const AGENT: &str = "postern-rate-limit";

impl Pool {
    /// What a service says of a request. Whoever stops waiting drops the future; the connection stays.
    pub(crate) async fn should_rate_limit(
        &self,
        target: &Target,
        question: &RateLimitRequest,
        may: &dyn Fn(Option<&Proof>) -> bool,
    ) -> Result<RateLimitResponse, NoAnswer> {
        let connection = self.service(target);
        connection.used.set(Instant::now());
        let question = framed(question);
        // The service may close a connection that was kept; only a new one shows that it is not there.
        let mut is_again = false;
        loop {
            let (made, is_new) = match connection.usable(may) {
                Some(made) => (made, false),
                None => (connection.make(self.maker(), target).await?, true),
            };
            let asking = Asking { connection: &connection, made: &made, is_answered: false };
            let request = request(target, question.clone()).map_err(|error| error.to_string())?;
            let sent = made.sender.clone().try_send_request(request).await;
            match sent {
                Ok(response) => return asking.read(response).await,
                Err(mut error) => {
                    asking.failed();
                    if error.take_message().is_none() || is_new || is_again {
                        return Err(error.into_error().to_string());
                    }
                    is_again = true;
                }
            }
        }
    }
}

impl ServiceConnection {
    pub(super) fn new() -> Self {
        Self { used: Cell::new(Instant::now()), made: RefCell::default(), making: RefCell::default() }
    }

    fn usable(&self, may: &dyn Fn(Option<&Proof>) -> bool) -> Option<Rc<Made>> {
        let made = self.made.borrow().clone()?;
        (!made.sender.is_closed() && may(made.proof.as_deref())).then_some(made)
    }

    /// Makes the connection, or waits for it with those who came first. It is finished also when none of them waits for
    /// it any more.
    async fn make(self: &Rc<Self>, maker: Rc<Maker>, target: &Target) -> Result<Rc<Made>, NoAnswer> {
        let making = self.making.borrow().clone();
        let making = making.unwrap_or_else(|| {
            let (connection, target) = (Rc::clone(self), target.clone());
            let making = async move {
                let made = connect(&maker, &target).await;
                if let Ok(made) = &made {
                    connection.made.replace(Some(Rc::clone(made)));
                }
                connection.making.take();
                made
            };
            let making = making.boxed_local().shared();
            self.making.replace(Some(making.clone()));
            drop(tokio::task::spawn_local(making.clone()));
            making
        });
        making.await
    }

    /// Nobody else asks by this connection.
    fn leave(&self, made: &Rc<Made>) {
        self.made.borrow_mut().take_if(|kept| Rc::ptr_eq(kept, made));
    }

    /// Whether there is nothing that is worth keeping.
    pub(super) fn is_idle(&self, idle_timeout: Duration, in_force: &InForce<'_>) -> bool {
        let is_used = self.used.get().elapsed() < idle_timeout;
        let may = |proof: Option<&Proof>| in_force.may_use(proof);
        self.making.borrow().is_none() && (!is_used || self.usable(&may).is_none())
    }
}

async fn connect(maker: &Rc<Maker>, target: &Target) -> Result<Rc<Made>, NoAnswer> {
    let place = target.breaker.connections.take_or_refuse();
    let place = place.ok_or("as many connections are open as there may be")?;
    let (io, proof) = maker.connect(target, place).await.map_err(|refusal| refusal.code().to_owned())?;
    let mut builder = Builder::new(LocalExecutor);
    builder.timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL);
    builder.keep_alive_timeout(PING_TIMEOUT);
    let io = http2_guard::guard_upstream(io).0;
    let (sender, connection) = builder.handshake(io).await.map_err(|error| error.to_string())?;
    drop(tokio::task::spawn_local(connection));
    Ok(Rc::new(Made { sender, proof, heard: Cell::new(Instant::now()) }))
}

fn request(target: &Target, question: Bytes) -> http::Result<Request<Full<Bytes>>> {
    Request::post(uri(target, &target.host(), SHOULD_RATE_LIMIT))
        .header(USER_AGENT, AGENT)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(Full::new(question))
}

/// A question that waits for its answer. Where it is given up and nothing has been heard for long, so is the connection.
struct Asking<'c> {
    connection: &'c Rc<ServiceConnection>,
    made: &'c Rc<Made>,
    is_answered: bool,
}

impl Asking<'_> {
    async fn read(mut self, response: http::Response<Incoming>) -> Result<RateLimitResponse, NoAnswer> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
        self.made.heard.set(Instant::now());
        self.is_answered = true;
        if head.status != StatusCode::OK {
            return Err(format!("status {}", head.status.as_u16()));
        }
        // An answer without a message has its status in its only head (gRPC over HTTP/2, "Responses").
        match grpc_status(body.trailers().unwrap_or(&head.headers)) {
            Some("0") => {}
            Some(status) => return Err(format!("gRPC status {status}")),
            None => return Err("no gRPC status".to_owned()),
        }
        let bytes = body.to_bytes();
        let message = unframed(&bytes).ok_or("no message in the answer")?;
        RateLimitResponse::decode(message).map_err(|error| error.to_string())
    }

    fn failed(mut self) {
        self.is_answered = true;
        self.connection.leave(self.made);
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.is_answered && self.made.heard.get().elapsed() > SILENCE_MAX {
            self.connection.leave(self.made);
        }
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<&str> {
    headers.get("grpc-status")?.to_str().ok()
}
