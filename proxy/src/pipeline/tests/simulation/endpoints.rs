//! The simulated endpoints: what they do with a request, and what they keep of it.
use super::{draw, now};
use crate::worker::Random;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

/// One attempt as an endpoint knows it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The id of its request.
    pub(super) id: String,
    pub(super) endpoint: u64,
    /// When it came.
    pub(super) at: Duration,
    /// When it was answered, or was nobody's any more.
    pub(super) until: Duration,
    /// It was told that nobody looks at it, and nobody did.
    pub(super) is_refused: bool,
}

/// The attempts that the endpoints have seen, in the order in which they saw them.
pub(super) type AllSeen = Rc<RefCell<Vec<Seen>>>;

/// What an endpoint does with what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// Well, and takes its time.
    Slow,
    Busy,
    /// The same, and wants to be asked again in a second.
    BusyForASecond,
    /// As a gRPC server says it.
    Unavailable,
    /// Reads the request and closes the connection.
    BreaksOff,
    /// Reads the request and says nothing.
    Silent,
    /// Says that it has not looked at the stream, and does not.
    Refuses,
    /// Ends the stream without an answer.
    Resets,
    /// Takes the request and no further ones on this connection, in the orderly way.
    Leaves,
    /// The same, and at once.
    GoesAway,
}

/// One endpoint.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) number: u64,
    pub(super) is_http2: bool,
    pub(super) mood: Rc<Cell<Mood>>,
    pub(super) dice: Rc<RefCell<Random>>,
    pub(super) seen: AllSeen,
}

/// An attempt's place among those that were seen; it ends when this is dropped.
struct Noted(AllSeen, usize);

impl Drop for Noted {
    fn drop(&mut self) {
        // A host that crashes drops what it has without a time of its own.
        if let Some(now) = turmoil::sim_elapsed() {
            self.0.borrow_mut()[self.1].until = now;
        }
    }
}

impl Endpoint {
    /// Serves, until it crashes.
    pub(super) async fn serve(self) -> turmoil::Result {
        let listener = TcpListener::bind("0.0.0.0:80").await?;
        loop {
            let (stream, _) = listener.accept().await?;
            let it = self.clone();
            drop(tokio::task::spawn_local(async move {
                if it.is_http2 { it.answer_streams(stream).await } else { it.answer(stream).await }
            }));
        }
    }

    fn note(&self, path: &str) -> Noted {
        let id = path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut seen = self.seen.borrow_mut();
        seen.push(Seen { id, endpoint: self.number, at: now(), until: now(), is_refused: false });
        Noted(Rc::clone(&self.seen), seen.len() - 1)
    }

    async fn take_time(&self) {
        let longest_ms = if self.mood.get() == Mood::Slow { 400 } else { 40 };
        let time = draw(&self.dice, longest_ms);
        tokio::time::sleep(Duration::from_millis(time)).await;
    }

    async fn answer(&self, mut stream: TcpStream) {
        while let Some(_noted) = self.hear(&mut stream).await {
            self.take_time().await;
            let part = match self.mood.get() {
                Mood::Well | Mood::Slow => "200 OK\r\nContent-Length: 2\r\n\r\nok",
                Mood::Busy => "503 Busy\r\nContent-Length: 4\r\n\r\nbusy",
                Mood::BusyForASecond => "503 Busy\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy",
                Mood::Unavailable => "200 OK\r\ngrpc-status: 14\r\nContent-Length: 0\r\n\r\n",
                Mood::Silent => {
                    // Until the other side has had enough.
                    while stream.read(&mut [0; 64]).await.unwrap_or(0) > 0 {}
                    return;
                }
                Mood::BreaksOff | Mood::Refuses | Mood::Resets | Mood::Leaves | Mood::GoesAway => return,
            };
            if stream.write_all(format!("HTTP/1.1 {part}").as_bytes()).await.is_err() {
                return;
            }
        }
    }

    /// Reads one request whole, and notes it as soon as its first line is there.
    async fn hear(&self, stream: &mut TcpStream) -> Option<Noted> {
        let (mut heard, mut noted) = (Vec::new(), None);
        loop {
            let text = String::from_utf8_lossy(&heard).into_owned();
            if let (None, Some((line, _))) = (&noted, text.split_once("\r\n")) {
                noted = Some(self.note(line.split(' ').nth(1).unwrap_or_default()));
            }
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    return noted;
                }
            }
            if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn answer_streams(&self, stream: TcpStream) {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let noted = self.note(request.uri().path());
            match self.mood.get() {
                Mood::Refuses => {
                    self.seen.borrow_mut()[noted.1].is_refused = true;
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                    continue;
                }
                Mood::Resets => {
                    respond.send_reset(h2::Reason::INTERNAL_ERROR);
                    continue;
                }
                Mood::BreaksOff => return,
                Mood::Leaves => connection.graceful_shutdown(),
                Mood::GoesAway => connection.abrupt_shutdown(h2::Reason::NO_ERROR),
                Mood::Well
                | Mood::Slow
                | Mood::Busy
                | Mood::BusyForASecond
                | Mood::Unavailable
                | Mood::Silent => {}
            }
            let it = self.clone();
            drop(tokio::task::spawn_local(async move { it.answer_one(request, respond, noted).await }));
        }
    }

    async fn answer_one(
        &self,
        request: http::Request<h2::RecvStream>,
        mut respond: h2::server::SendResponse<Bytes>,
        _noted: Noted,
    ) {
        let mut body = request.into_body();
        while let Some(Ok(part)) = body.data().await {
            drop(body.flow_control().release_capacity(part.len()));
        }
        self.take_time().await;
        let status = match self.mood.get() {
            Mood::Silent => {
                drop(std::future::poll_fn(|cx| respond.poll_reset(cx)).await);
                return;
            }
            Mood::Busy | Mood::BusyForASecond => 503,
            Mood::Well
            | Mood::Slow
            | Mood::Unavailable
            | Mood::BreaksOff
            | Mood::Refuses
            | Mood::Resets
            | Mood::Leaves
            | Mood::GoesAway => 200,
        };
        let answer = http::Response::builder().status(status).body(()).unwrap();
        drop(respond.send_response(answer, true));
    }
}
