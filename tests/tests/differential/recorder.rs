//! An upstream that keeps what it was sent, byte for byte, and answers each whole request with an empty 200.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::message::{Message, Read, read};

/// What reached the upstream.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "the texts are for who reads a failure")]
pub enum Event {
    /// A whole request.
    Whole(Message),
    /// The connection ended within a request: its head, if that came, and the bytes.
    Cut(Option<Message>, String),
    /// Bytes that are no request, and why; the connection was closed.
    Unreadable(String, String),
}

/// The running upstream; its threads end with the process.
#[derive(Debug)]
pub struct Recorder {
    pub address: SocketAddr,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Recorder {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let events = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&events);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), events) = (stream, Arc::clone(&shared)) else { return };
                thread::spawn(move || serve(stream, &events));
            }
        });
        Self { address, events }
    }

    /// How much has been kept.
    pub fn mark(&self) -> usize {
        self.events.lock().expect("the recorder lives").len()
    }

    /// What came since.
    pub fn since(&self, mark: usize) -> Vec<Event> {
        self.events.lock().expect("the recorder lives")[mark..].to_vec()
    }
}

fn serve(mut stream: TcpStream, events: &Mutex<Vec<Event>>) {
    let (mut bytes, mut is_told) = (Vec::new(), false);
    let keep = |event| events.lock().expect("the recorder lives").push(event);
    loop {
        let found = read(&bytes);
        match found {
            Ok(Read::Whole(message, taken)) => {
                bytes.drain(..taken);
                is_told = false;
                let closes = message.all("connection").any(|value| value.eq_ignore_ascii_case("close"));
                // Kept before it is answered: who has the answer can look.
                keep(Event::Whole(message));
                if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() || closes {
                    return;
                }
                continue;
            }
            Ok(Read::Part(Some(head))) if head.expects() && !is_told => {
                is_told = true;
                if stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_err() {
                    return;
                }
            }
            Ok(Read::Part(_)) => {}
            Err(why) => return keep(Event::Unreadable(String::from_utf8_lossy(&bytes).into_owned(), why)),
        }
        let mut more = [0; 16 << 10];
        match stream.read(&mut more) {
            Ok(0) | Err(_) => {
                if !bytes.is_empty() {
                    let Ok(Read::Part(head)) = read(&bytes) else { unreachable!("it was a part") };
                    keep(Event::Cut(head, String::from_utf8_lossy(&bytes).into_owned()));
                }
                return;
            }
            Ok(count) => bytes.extend_from_slice(&more[..count]),
        }
    }
}
