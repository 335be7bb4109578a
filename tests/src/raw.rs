//! Raw streams: a service that says everything back, and words that must come back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

/// Starts a service that says everything back.
///
/// # Panics
/// When no port can be bound.
pub fn echo() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in socket.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut copy = stream.try_clone().expect("a copy");
                drop(std::io::copy(&mut stream, &mut copy));
            });
        }
    });
    address
}

/// Sends a word and waits until it has come back.
///
/// # Panics
/// When it does not.
pub fn say(stream: &mut (impl Read + Write), word: &[u8]) {
    stream.write_all(word).expect("the stream takes it");
    let mut heard = vec![0; word.len()];
    stream.read_exact(&mut heard).expect("the stream says it back");
    assert_eq!(heard, word);
}
