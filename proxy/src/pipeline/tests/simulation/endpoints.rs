//! The simulated endpoints: what they do with a request, and what they keep of it.
use super::draw;
use crate::worker::Random;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

/// The ids of the requests that the endpoints have seen, in the order in which they saw them.
pub(super) type Seen = Rc<RefCell<Vec<String>>>;

/// What an endpoint does with what it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mood {
    Well,
    Busy,
    /// Reads the request and closes the connection.
    BreaksOff,
    /// Reads the request and says nothing.
    Silent,
}

impl Mood {
    pub(super) fn drawn(number: u64) -> Self {
        match number % 4 {
            0 => Self::Well,
            1 => Self::Busy,
            2 => Self::BreaksOff,
            _ => Self::Silent,
        }
    }
}

/// One endpoint, until it crashes.
pub(super) async fn serve(seen: Seen, mood: Rc<Cell<Mood>>, dice: Rc<RefCell<Random>>) -> turmoil::Result {
    let listener = TcpListener::bind("0.0.0.0:80").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let answering = answer(stream, Rc::clone(&seen), Rc::clone(&mood), Rc::clone(&dice));
        drop(tokio::task::spawn_local(answering));
    }
}

async fn answer(mut stream: TcpStream, seen: Seen, mood: Rc<Cell<Mood>>, dice: Rc<RefCell<Random>>) {
    while hear(&mut stream, &seen).await {
        tokio::time::sleep(Duration::from_millis(draw(&dice, 40))).await;
        let part = match mood.get() {
            Mood::Well => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            Mood::Busy => "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy",
            Mood::BreaksOff => return,
            Mood::Silent => {
                // Until the other side has had enough.
                while stream.read(&mut [0; 64]).await.unwrap_or(0) > 0 {}
                return;
            }
        };
        if stream.write_all(part.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads one request whole, and notes it as soon as its first line is there.
async fn hear(stream: &mut TcpStream, seen: &Seen) -> bool {
    let (mut heard, mut is_noted) = (Vec::new(), false);
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let (false, Some((line, _))) = (is_noted, text.split_once("\r\n")) {
            let path = line.split(' ').nth(1).unwrap_or_default();
            seen.borrow_mut().push(path.trim_start_matches("/api/").to_owned());
            is_noted = true;
        }
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return true;
            }
        }
        if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
            return false;
        }
    }
}
