//! A service that takes requests and answers none of them before it is told to.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// The service; its threads end with the connections.
#[derive(Debug)]
pub struct Held {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    is_released: bool,
}

impl Held {
    /// Starts it on a loopback port of the kernel's choice.
    ///
    /// # Panics
    /// When no port can be bound.
    pub fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let held = Self { address: socket.local_addr().expect("an address"), state: Arc::default() };
        let state = Arc::clone(&held.state);
        std::thread::spawn(move || {
            for stream in socket.incoming().map_while(Result::ok) {
                let state = Arc::clone(&state);
                std::thread::spawn(move || answer(stream, &state));
            }
        });
        held
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests it has taken.
    pub fn taken(&self) -> usize {
        lock(&self.state.0).taken
    }

    /// Answers everything, from now on at once.
    pub fn release(&self) {
        lock(&self.state.0).is_released = true;
        self.state.1.notify_all();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nobody panics with it")
}

fn answer(stream: TcpStream, (state, released): &(Mutex<State>, Condvar)) {
    let Ok(mut writing) = stream.try_clone() else { return };
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(_first)) = lines.next() {
        for line in lines.by_ref().map_while(Result::ok) {
            if line.is_empty() {
                break;
            }
        }
        let mut held = lock(state);
        held.taken += 1;
        drop(released.wait_while(held, |state| !state.is_released).expect("nobody panics with it"));
        if writing.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").is_err() {
            return;
        }
    }
}
