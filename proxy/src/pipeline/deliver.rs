//! Step 11: the answer on its way down. The outcome is filed when the body has ended, however it ends.
use super::answer::OwnAnswer;
use super::body::discard;
use super::exchange::Exchange;
use super::forward::Answer;
use super::in_progress::{Answering, Entered};
use super::normalise;
use super::refusal::{self, DECISION_ID, Dialect, Refusal, Refused};
use super::trailers;
use crate::config::Explain;
use crate::listener::Protocol;
use crate::upstream::Lease;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use postern_audit::End;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What the caller is sent.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    kind: Kind,
    /// Held to the end of the body, also where the exchange has ended before: what is handed over may not be taken.
    entered: Option<Entered>,
}

#[derive(Debug)]
enum Kind {
    /// Our own words. The exchange ends when they have been sent.
    Own { bytes: Option<Bytes>, exchange: Option<Box<Exchange>> },
    /// The upstream's.
    Upstream(Box<Passing>),
}

/// A response body that is passed through.
#[derive(Debug)]
struct Passing {
    body: Incoming,
    lease: Option<Lease>,
    exchange: Option<Exchange>,
    /// Nothing comes after the trailers that say so.
    is_revoked: bool,
}

/// The upstream ended the body early, or the caller broke what it was still sending; the connection to the caller ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("response body ended early: {}", .0.code())]
pub(crate) struct Broken(Refusal);

impl Exchange {
    /// Sends the upstream's answer down.
    pub(super) fn deliver(mut self, answer: Answer) -> Response<ResponseBody> {
        let Answer { mut response, lease, stream_idle_timeout } = answer;
        self.identify_answer(response.headers_mut());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(asked) = self.asked.take()
        {
            return self.switched((response.map(drop), lease), asked);
        }
        self.answered(response.status());
        let ends_by_trailers =
            self.connection.protocol == Protocol::Http2 && normalise::is_grpc(response.headers());
        let entered = self.look_after(Answering {
            idle_timeout: stream_idle_timeout,
            request_body: self.request_body(),
            ends_by_trailers,
        });
        response.map(|body| {
            let mut passing = Passing { body, lease: Some(lease), exchange: Some(self), is_revoked: false };
            if passing.body.is_end_stream() {
                passing.finish();
            }
            ResponseBody { kind: Kind::Upstream(Box::new(passing)), entered }
        })
    }

    /// Tells the decision's id.
    pub(super) fn identify_answer(&self, headers: &mut HeaderMap) {
        if let Ok(id) = HeaderValue::from_str(self.id()) {
            headers.insert(DECISION_ID, id);
        }
    }

    /// Answers a permitted request by ourselves.
    pub(super) fn answer(mut self, answer: OwnAnswer) -> Response<ResponseBody> {
        self.discard_unread();
        let OwnAnswer { status, mut response } = answer;
        self.identify_answer(response.headers_mut());
        let response = fitting(response, self.is_head());
        self.draft.outcome_mut().status = status.as_u16();
        if response.body().is_empty() {
            // Nobody asks for what is not there.
            self.handed_over(0);
        }
        let idle_timeout = self.connection.listener.limits.idle_timeout;
        let entered = self.look_after(Answering { idle_timeout, ..Answering::default() });
        response.map(|bytes| {
            let kind = Kind::Own { bytes: Some(bytes), exchange: Some(Box::new(self)) };
            ResponseBody { kind, entered }
        })
    }

    fn discard_unread(&mut self) {
        if let Some(unread) = self.take_unread().filter(|body| !body.is_end_stream()) {
            drop(tokio::task::spawn_local(discard(unread)));
        }
    }

    /// Refuses by ourselves.
    pub(super) fn refuse(mut self, refused: Refused) -> Response<ResponseBody> {
        self.discard_unread();
        let status = refused.status();
        let refusal = refused.refusal;
        let mut response = refusal::answer(refused, self.id(), self.dialect(), self.explain());
        if refusal == Refusal::TokenDpopNonce {
            self.give_nonce(response.headers_mut());
        }
        let response = fitting(response, self.is_head());
        self.refused(status, refusal, response.body().len());
        let entered = self.look_after_own();
        response.map(|bytes| {
            let kind = Kind::Own { bytes: Some(bytes), exchange: Some(Box::new(self)) };
            ResponseBody { kind, entered }
        })
    }
}

impl ResponseBody {
    /// No body, and nobody who waits for its end.
    pub(super) fn nothing() -> Self {
        Self { kind: Kind::Own { bytes: None, exchange: None }, entered: None }
    }
}

/// An answer without an exchange: the log has no place for one, so nothing was looked at.
pub(super) fn unrecorded(refusal: Refusal, request: Request<Incoming>) -> Response<ResponseBody> {
    let answer = refusal::answer(refusal.into(), "", Dialect::of(request.headers()), Explain::Code);
    let answer = fitting(answer, *request.method() == Method::HEAD);
    if !request.body().is_end_stream() {
        drop(tokio::task::spawn_local(discard(request.into_body())));
    }
    answer.map(|bytes| ResponseBody { kind: Kind::Own { bytes: Some(bytes), exchange: None }, entered: None })
}

/// Takes the body off where none may be (RFC 9110 §9.3.2 and §15.4.5): hyper does so on HTTP/1.1 alone.
fn fitting(mut response: Response<Bytes>, is_head: bool) -> Response<Bytes> {
    let status = response.status();
    // There is none, and no length is told (RFC 9110 §8.6).
    if status == StatusCode::NO_CONTENT {
        *response.body_mut() = Bytes::new();
    } else if is_head || status == StatusCode::NOT_MODIFIED {
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        *response.body_mut() = Bytes::new();
    }
    response
}

impl Passing {
    /// The body is whole: the connection may serve again, and the outcome is filed.
    fn finish(&mut self) {
        let lease = self.lease.take();
        // A connection that still carries an upload serves nobody else; it is closed, and the upload let go.
        let is_free = self.exchange.as_ref().is_none_or(Exchange::has_sent_all);
        if let (Some(lease), true) = (lease, is_free) {
            lease.give_back();
        }
        self.end(End::Done, None);
    }

    fn end(&mut self, end: End, refusal: Option<Refusal>) {
        if let Some(exchange) = self.exchange.take() {
            exchange.end(end, refusal);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(self.fail()))),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(exchange) = &mut self.exchange {
                    exchange.sent(frame.data_ref().map_or(0, Bytes::len));
                }
                // Nobody asks again after trailers.
                if frame.is_trailers() || self.body.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(trailers::guard(frame))))
            }
        }
    }

    /// It may go on no longer, which the caller is told where a body of its kind can say so.
    fn revoke(&mut self, (end, refusal): (End, Refusal)) -> Frame<Bytes> {
        self.is_revoked = true;
        self.lease = None;
        self.end(end, Some(refusal));
        Frame::trailers(refusal::grpc_trailers(refusal))
    }

    /// The body ended early: by the upstream, unless the caller broke what it was still sending.
    fn fail(&mut self) -> Broken {
        self.lease = None;
        let by_caller = self.exchange.as_ref().and_then(Exchange::broken_by_caller);
        let (end, refusal) = match by_caller {
            Some(refusal) => (End::Refused, refusal),
            None => (End::UpstreamError, Refusal::UpstreamProtocol),
        };
        self.end(end, Some(refusal));
        Broken(refusal)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let told = self.entered.as_ref().and_then(Entered::to_tell);
        let frame = match &mut self.kind {
            Kind::Upstream(passing) if passing.is_revoked => Poll::Ready(None),
            Kind::Upstream(passing) => match told {
                Some(cause) => Poll::Ready(Some(Ok(passing.revoke(cause)))),
                None => passing.poll(cx),
            },
            Kind::Own { bytes, exchange } => {
                let data = bytes.take().filter(|bytes| !bytes.is_empty());
                if let (Some(exchange), Some(data)) = (exchange, &data) {
                    exchange.handed_over(data.len());
                }
                Poll::Ready(data.map(|data| Ok(Frame::data(data))))
            }
        };
        match (&self.entered, &frame) {
            (Some(entered), Poll::Pending) => entered.asked_for_more(cx),
            (Some(entered), Poll::Ready(_)) => entered.handed_over(),
            (None, _) => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own { bytes, .. } => bytes.as_ref().is_none_or(Bytes::is_empty),
            Kind::Upstream(passing) => passing.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own { bytes, .. } => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Kind::Upstream(passing) => passing.body.size_hint(),
        }
    }
}
