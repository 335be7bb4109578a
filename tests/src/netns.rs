//! Network namespaces of a test's own: one alone, two joined by a wire, or two with a router between them. Nothing here
//! touches the machine's own network, and what is made goes with the test.

mod alone;
mod routed;

pub use alone::Netns;
pub use routed::{Overheard, Routed, Segment};

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space, set_thread_res_uid};
use tempfile::TempDir;

use crate::peer::skip;
use crate::process::{Output, Running, run};

const LIMIT: Duration = Duration::from_secs(20);
/// How long an answer may take that is expected, and how long silence is waited for that is not.
const ANSWER: Duration = Duration::from_secs(2);

/// A network namespace, held by a process that ends with it.
#[derive(Debug)]
pub struct Namespace {
    holder: Running,
    path: PathBuf,
}

/// The two, joined.
#[derive(Debug)]
pub struct Wire {
    /// Where the service and its sidecar are.
    pub service: Namespace,
    /// Where everybody else is.
    pub outside: Namespace,
    /// For the test's files.
    pub folder: TempDir,
}

impl Wire {
    /// Of the service.
    pub const SERVICE: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)), IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2))];
    /// Of everybody else.
    pub const OUTSIDE: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1))];
    /// Also of everybody else.
    pub const FURTHER: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::new(10, 78, 0, 1)), IpAddr::V6(Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 1))];

    /// Makes both. Without root or `ip`, prints why the test is skipped.
    pub fn new(ip: &Path) -> Option<Self> {
        if !can_be_made() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let service = Namespace::new("service", folder.path());
        let outside = Namespace::new("outside", folder.path());
        let peer = outside.holder.id().to_string();
        service.ip(ip, &format!("link add wire type veth peer name wire netns {peer}"));
        for (namespace, addresses) in
            [(&service, &Self::SERVICE[..]), (&outside, &[Self::OUTSIDE, Self::FURTHER].concat())]
        {
            namespace.ip(ip, "link set lo up");
            namespace.address(ip, "wire", addresses);
        }
        for (family, via) in [("-4", Self::OUTSIDE[0]), ("-6", Self::OUTSIDE[1])] {
            service.ip(ip, &format!("{family} route add default via {via}"));
        }
        Some(Self { service, outside, folder })
    }
}

impl Namespace {
    fn new(name: &str, folder: &Path) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "600"]);
        let mut holder = Running::start(name, command, folder);
        let path = PathBuf::from(format!("/proc/{}/ns/net", holder.id()));
        let ours = inode(Path::new("/proc/self/ns/net"));
        assert!(ours.is_some(), "our own namespace can be told");
        let is_made = |_: &str| inode(&path).filter(|inside| Some(*inside) != ours);
        holder.wait_for("a namespace of its own", LIMIT, is_made);
        let namespace = Self { holder, path };
        namespace.assert_not_the_machines();
        namespace
    }

    /// Rules that a test applies must never reach the machine's own network: neither that of process 1, where we may look
    /// at it, nor the one in which this test runs.
    fn assert_not_the_machines(&self) {
        let inside = inode(&self.path).expect("a namespace");
        for machine in ["/proc/1/ns/net", "/proc/self/ns/net"] {
            assert_ne!(Some(inside), inode(Path::new(machine)), "this is the network of {machine}");
        }
    }

    /// `program`, to be run here.
    pub fn command(&self, program: &Path) -> Command {
        self.assert_not_the_machines();
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path.display())).arg(program);
        command
    }

    /// Runs `program` here to its end.
    pub fn run(&self, program: &Path, arguments: &[&str]) -> Output {
        let mut command = self.command(program);
        command.args(arguments);
        run(command, LIMIT)
    }

    fn ip(&self, ip: &Path, words: &str) {
        self.run(ip, &words.split(' ').collect::<Vec<_>>()).expect_code(0);
    }

    /// Gives a device these addresses, and takes it into use.
    fn address(&self, ip: &Path, device: &str, addresses: &[IpAddr]) {
        self.ip(ip, &format!("link set {device} up"));
        for address in addresses {
            let (bits, rest) = if address.is_ipv6() { (64, " nodad") } else { (24, "") };
            self.ip(ip, &format!("addr add {address}/{bits} dev {device}{rest}"));
        }
    }

    /// Does something here as that user, on a thread of its own; sockets that it makes stay here and stay that user's.
    pub fn within<T: Send>(&self, uid: u32, work: impl FnOnce() -> T + Send) -> T {
        // What is said of a test goes by its thread's name.
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        std::thread::scope(|scope| {
            let inside = || {
                let file = std::fs::File::open(&self.path).expect("the namespace");
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("entering");
                let uid = rustix::process::Uid::from_raw(uid);
                set_thread_res_uid(uid, uid, uid).expect("becoming another user");
                work()
            };
            let thread = std::thread::Builder::new().name(name).spawn_scoped(scope, inside);
            thread.expect("a thread").join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Listens on `[::]:port`, or on one address, and says `name`, who called, and where to before everything else.
    pub fn serve(&self, name: &'static str, address: SocketAddr) {
        let listener = self.within(0, || TcpListener::bind(address).expect("a free port"));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(name, stream));
            }
        });
    }

    /// What is said by whoever is reached at `address` by that user; the error's kind where nobody is.
    pub fn ask(&self, uid: u32, address: SocketAddr) -> String {
        match self.within(uid, || TcpStream::connect_timeout(&address, ANSWER)) {
            Ok(stream) => Conversation::new(stream).read(),
            Err(error) => format!("{:?}", error.kind()),
        }
    }

    /// A connection of that user that stays.
    pub fn connect(&self, uid: u32, address: SocketAddr) -> Conversation {
        let stream = self.within(uid, || TcpStream::connect_timeout(&address, ANSWER));
        Conversation::new(stream.expect("a connection"))
    }

    /// A UDP socket here.
    pub fn udp(&self, uid: u32, address: SocketAddr) -> UdpSocket {
        let socket = self.within(uid, || UdpSocket::bind(address).expect("a free port"));
        socket.set_read_timeout(Some(ANSWER)).expect("a timeout");
        socket
    }
}

/// A connection, line by line.
#[derive(Debug)]
pub struct Conversation(BufReader<TcpStream>);

impl Conversation {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(ANSWER)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    /// The next line; the error's kind where there is none.
    pub fn read(&mut self) -> String {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(_) => line.trim_end().to_owned(),
            Err(error) => format!("{:?}", error.kind()),
        }
    }

    /// Says a line, which comes back.
    pub fn echo(&mut self, line: &str) -> String {
        if let Err(error) = writeln!(self.0.get_mut(), "{line}") {
            return format!("{:?}", error.kind());
        }
        self.read()
    }
}

/// Whether there can be namespaces here; without root or the kernel's help, prints why the test is skipped.
fn can_be_made() -> bool {
    if !rustix::process::geteuid().is_root() {
        skip("a network namespace can be made by root alone");
        return false;
    }
    let mut attempt = Command::new("unshare");
    attempt.args(["--net", "true"]);
    let attempt = run(attempt, LIMIT);
    if attempt.code != Some(0) {
        skip(&format!("no network namespace can be made here: {}", attempt.err.trim()));
    }
    attempt.code == Some(0)
}

fn serve(name: &str, mut stream: TcpStream) {
    let v4 = rustix::net::sockopt::ip_original_dst(&stream).map(SocketAddr::V4);
    let v6 = || rustix::net::sockopt::ipv6_original_dst(&stream).map(SocketAddr::V6);
    // A connection that was never translated has an original destination all the same, or none.
    let local = stream.local_addr().map(canonical);
    let original = v4.or_else(|_| v6()).or_else(|_| stream.local_addr()).map(canonical);
    let (Ok(local), Ok(original)) = (local, original) else { return };
    let led = if local == original { String::new() } else { format!(" for {original}") };
    drop(writeln!(stream, "{name}{led}"));
    let Ok(reader) = stream.try_clone() else { return };
    for line in BufReader::new(reader).lines().map_while(Result::ok) {
        drop(writeln!(stream, "{line}"));
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.ino())
}
