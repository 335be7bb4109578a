//! The proxies, each in front of an upstream of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use postern_tests::caller::BlockingStream;
use postern_tests::envoy::{Envoy, address, cluster};
use postern_tests::{Caller, Running, Version, peer, port};

use crate::frames::{Frames, NUMBER};
use crate::message::Message;
use crate::recorder::{Event, Recorder};

/// Longest time until a proxy listens.
const START_LIMIT: Duration = Duration::from_secs(75);

/// A proxy that runs.
#[derive(Debug)]
pub struct Side {
    pub name: &'static str,
    pub at: SocketAddr,
    /// Where it takes HTTP/2.
    pub at_http2: SocketAddr,
    pub upstream: Recorder,
    /// Who calls it, where it wants to know.
    pub caller: Option<Caller>,
    _running: Option<Running>,
}

/// What a proxy made of some bytes: the requests that it sent on, whole.
pub type Reading = Vec<Message>;

impl Side {
    /// Postern, which its scene runs.
    pub fn postern(at: SocketAddr, upstream: Recorder, caller: Caller) -> Self {
        Self { name: "postern", at, at_http2: at, upstream, caller: Some(caller), _running: None }
    }

    /// The others; `None` when one of them is missing, and then this test is counted as skipped.
    pub fn others(folder: &Path) -> Option<Vec<Self>> {
        Some(vec![envoy(folder)?, nginx(folder)?, haproxy(folder)?])
    }

    /// Sends the bytes of a case and a last request behind them, and takes what comes until the end of the connection.
    /// When nothing comes for so long as `patience` says, the proxy waits for more, and is told that there is no more.
    pub fn read(&self, number: usize, case: &[u8], patience: Duration) -> Reading {
        let mark = self.upstream.mark();
        let end = format!("/end/{number}");
        let last = format!("GET {end} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        let bytes = [case, last.as_bytes()].concat();
        match &self.caller {
            None => {
                let stream = TcpStream::connect(self.at).expect("it listens");
                let socket = stream.try_clone().expect("a second handle");
                exchange(stream, &socket, &bytes, patience, |_| ());
            }
            Some(caller) => {
                let stream = caller
                    .open(self.at, Version::Http1)
                    .unwrap_or_else(|failure| panic!("case {number}: {failure}"));
                let socket = stream.sock.try_clone().expect("a second handle");
                exchange(stream, &socket, &bytes, patience, |stream: &mut BlockingStream| {
                    stream.conn.send_close_notify();
                    drop(stream.flush());
                });
            }
        }
        let whole = self.upstream.since(mark).into_iter().filter_map(|event| match event {
            Event::Whole(message) if message.target != end => Some(message),
            _ => None,
        });
        whole.collect()
    }

    /// Sends the frames of a case, and takes what comes until every stream has ended; with `listens_on`, until nothing
    /// has come for so long as `patience` says.
    pub fn read_frames(
        &self,
        number: usize,
        case: &Frames,
        (patience, listens_on): (Duration, bool),
    ) -> Reading {
        let mark = self.upstream.mark();
        match &self.caller {
            None => {
                let stream = TcpStream::connect(self.at_http2).expect("it listens");
                let socket = stream.try_clone().expect("a second handle");
                case.exchange((stream, &socket), number, (patience, listens_on));
            }
            Some(caller) => {
                let stream = caller
                    .open(self.at_http2, Version::Http2)
                    .unwrap_or_else(|failure| panic!("case {number}: {failure}"));
                let socket = stream.sock.try_clone().expect("a second handle");
                case.exchange((stream, &socket), number, (patience, listens_on));
            }
        }
        // A server may end a stream before what it sent on has arrived: then it comes within the next case.
        let is_ours = |message: &Message| message.all(NUMBER).any(|value| value == number.to_string());
        let whole = self.upstream.since(mark).into_iter().filter_map(|event| match event {
            Event::Whole(message) if is_ours(&message) => Some(message),
            _ => None,
        });
        whole.collect()
    }
}

fn exchange<S: Read + Write>(
    mut stream: S,
    socket: &TcpStream,
    bytes: &[u8],
    patience: Duration,
    goodbye: impl Fn(&mut S),
) {
    drop(socket.set_nodelay(true));
    socket.set_read_timeout(Some(patience)).expect("a time limit");
    // A proxy that has refused may have closed already: what reached the upstream is what counts.
    drop(stream.write_all(bytes).and_then(|()| stream.flush()));
    let (mut part, mut answer, mut is_ended) = ([0; 4096], Vec::new(), false);
    // Some leave the connection open for a while after the answer that they call the last.
    while !String::from_utf8_lossy(&answer).to_ascii_lowercase().contains("\r\nconnection: close\r\n") {
        match stream.read(&mut part) {
            Ok(0) => return,
            Ok(count) => answer.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && !is_ended => {
                is_ended = true;
                goodbye(&mut stream);
                drop(socket.shutdown(Shutdown::Write));
            }
            Err(_) => return,
        }
    }
}

fn envoy(folder: &Path) -> Option<Side> {
    let (at, upstream) = (port::free(), Recorder::start());
    let onward = cluster("onward", &address(upstream.address), false, None);
    let running = Envoy { at, secured: None, onward, more: vec![], filters: vec![] }.start(folder)?;
    Some(Side { name: "envoy", at, at_http2: at, upstream, caller: None, _running: Some(running) })
}

fn nginx(folder: &Path) -> Option<Side> {
    let program = peer("POSTERN_NGINX")?;
    let (at, at_http2, upstream) = (port::free(), port::free(), Recorder::start());
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String =
        kinds.iter().map(|kind| format!("{kind}_temp_path {}/nginx-{kind};\n", folder.display())).collect();
    let text = format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off;\n{temporary}\
         upstream app {{ server {upstream}; keepalive 4; }}\n\
         server {{ listen {at}; listen {at_http2} http2; location / {{ proxy_pass http://app; proxy_http_version 1.1;\n\
         proxy_set_header Host $http_host; proxy_set_header Connection \"\"; }} }} }}\n",
        folder = folder.display(),
        upstream = upstream.address,
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, text).expect("nginx's configuration");
    let mut command = Command::new(program);
    command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(path);
    Some(started("nginx", (command, folder), (at, at_http2), upstream))
}

fn haproxy(folder: &Path) -> Option<Side> {
    let program = peer("POSTERN_HAPROXY")?;
    let (at, upstream) = (port::free(), Recorder::start());
    let text = format!(
        "global\n nbthread 1\n maxconn 256\ndefaults\n mode http\n timeout connect 2s\n timeout client 10s\n \
         timeout server 10s\n timeout http-request 10s\nfrontend in\n bind {at}\n default_backend app\n\
         backend app\n http-reuse always\n server app {upstream}\n",
        upstream = upstream.address,
    );
    let path = folder.join("haproxy.cfg");
    fs::write(&path, text).expect("HAProxy's configuration");
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(path);
    Some(started("haproxy", (command, folder), (at, at), upstream))
}

fn started(
    name: &'static str,
    (command, folder): (Command, &Path),
    (at, at_http2): (SocketAddr, SocketAddr),
    upstream: Recorder,
) -> Side {
    let mut running = Running::start(name, command, folder);
    running.wait_for_port(at, START_LIMIT);
    running.wait_for_port(at_http2, START_LIMIT);
    Side { name, at, at_http2, upstream, caller: None, _running: Some(running) }
}
