//! Three namespaces in a row: a client, a router, a server. What happens on the way between the two is done in the router.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType, recv, socket};
use tempfile::TempDir;

use super::{LIMIT, Namespace};
use crate::peer::{peer, postern, skip};
use crate::process::{Output, Running};
use crate::sidecar::{Scene, Sidecar};

/// A client, a router and a server, joined.
#[derive(Debug)]
pub struct Routed {
    /// Where the caller is.
    pub client: Namespace,
    /// What is between the two.
    pub router: Namespace,
    /// Where the called one is.
    pub server: Namespace,
    /// For the test's files.
    pub folder: TempDir,
    ip: PathBuf,
    nft: PathBuf,
}

impl Routed {
    /// Of the client.
    pub const CLIENT: [IpAddr; 2] = addresses(81, 2);
    /// Of the server.
    pub const SERVER: [IpAddr; 2] = addresses(82, 2);
    /// Of the server as well.
    pub const SERVER_TOO: [IpAddr; 2] = addresses(82, 3);
    /// What the client runs as, and what the server does.
    pub const APPLICATION: u32 = 1000;
    /// What a sidecar runs as.
    pub const SIDECAR: u32 = 1337;

    /// Makes all of them. Without root or the tools, prints why the test is skipped.
    pub fn new() -> Option<Self> {
        let (ip, nft) = (peer("POSTERN_IP")?, peer("POSTERN_NFT")?);
        if !super::can_be_made() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [client, router, server] =
            ["client", "router", "server"].map(|name| Namespace::new(name, folder.path()));
        for place in [&client, &router, &server] {
            // An address is in use at once, instead of a second after nobody has been found to have it.
            place.within(0, || {
                fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").expect("no search");
            });
        }
        for (end, device, near) in [(&client, "client", 81), (&server, "server", 82)] {
            let between = router.holder.id();
            end.ip(&ip, &format!("link add wire type veth peer name {device} netns {between}"));
            end.ip(&ip, "link set lo up");
            end.address(&ip, "wire", &addresses(near, 2));
            router.address(&ip, device, &addresses(near, 1));
            for (family, via) in ["-4", "-6"].iter().zip(addresses(near, 1)) {
                end.ip(&ip, &format!("{family} route add default via {via}"));
            }
        }
        server.address(&ip, "wire", &Self::SERVER_TOO);
        router.ip(&ip, "link set lo up");
        router.within(0, || {
            for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                fs::write(Path::new("/proc/sys/net").join(path), "1").expect("forwarding");
            }
        });
        Some(Self { client, router, server, folder, ip, nft })
    }

    /// Runs `ip` in the router.
    pub fn route(&self, words: &str) {
        self.router.ip(&self.ip, words);
    }

    /// Gives the server all addresses of a network.
    pub fn server_has(&self, network: &str) {
        self.server.ip(&self.ip, &format!("route add local {network} dev lo"));
        self.route(&format!("route add {network} via {}", Self::SERVER[0]));
    }

    /// Puts these rules in force for what the router passes on, instead of any others; a rule a line.
    pub fn on_the_way(&self, rules: &[&str]) {
        let rules = rules.join("\n");
        let text = format!(
            "flush ruleset\ntable inet way {{ chain forward {{ type filter hook forward priority 0;\n{rules}\n}}\n}}"
        );
        self.router.run(&self.nft, &[&text]).expect_code(0);
    }

    /// How many packets those of the rules have met that count.
    pub fn counted(&self) -> u64 {
        let rules = self.router.run(&self.nft, &["list", "ruleset"]).expect_code(0).out;
        let after = rules.split("packets ").skip(1).filter_map(|rest| rest.split(' ').next());
        after.filter_map(|number| number.parse::<u64>().ok()).sum()
    }

    /// Lets no more than a megabit a second pass to the client. Where the kernel cannot, prints why the test is skipped.
    pub fn narrow(&self) -> bool {
        let words = "qdisc add dev client root tbf rate 1mbit burst 16kb latency 200ms";
        let narrowed = self.router.run(Path::new("tc"), &words.split(' ').collect::<Vec<_>>());
        if narrowed.code != Some(0) {
            skip(&format!("this kernel limits no bandwidth: {}", narrowed.err.trim()));
        }
        narrowed.code == Some(0)
    }

    /// Runs the sidecar of `scene` there as a user of its own. A `resolv.conf` in the scene's folder is in the place of the
    /// machine's.
    pub fn start(&self, place: &Namespace, scene: &Scene) -> Sidecar {
        // Where ours is built, nobody else may be allowed to look.
        let program = scene.path("postern");
        if !program.exists() {
            fs::hard_link(postern(), &program)
                .or_else(|_| fs::copy(postern(), &program).map(drop))
                .expect("the program");
        }
        let mut command = self.command(place, Self::SIDECAR, &program);
        let names = scene.path("resolv.conf");
        if names.exists() {
            let run = command;
            command = Command::new("unshare");
            let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
            command
                .args(["--mount", "sh", "-c", script])
                .arg(&names)
                .arg(run.get_program())
                .args(run.get_args());
        }
        command.arg("run").arg("-c").arg(scene.write_config());
        give(scene.folder.path(), &program, Self::SIDECAR).expect("chown");
        let running = Running::start("postern", command, scene.folder.path());
        let mut sidecar = Sidecar { running, listener: scene.listener, status: scene.status };
        place.within(0, || sidecar.wait_until_ready());
        sidecar
    }

    /// `program`, to be run there by that user.
    pub fn command(&self, place: &Namespace, uid: u32, program: &Path) -> Command {
        let mut command = place.command(Path::new("setpriv"));
        let uid = uid.to_string();
        command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups"]).arg(program);
        command
    }

    /// Runs `program` there by that user to its end.
    pub fn run(&self, place: &Namespace, uid: u32, program: &Path, arguments: &[&str]) -> Output {
        let mut command = self.command(place, uid, program);
        command.args(arguments).current_dir("/");
        crate::process::run(command, LIMIT)
    }

    /// Listens to all that passes the router from now on.
    pub fn listen(&self) -> Overheard {
        // `ETH_P_IP` and `ETH_P_IPV6` in the order of the network: what comes in, once by each wire.
        let sockets = [0x0800_u16, 0x86dd].map(|kind| {
            let protocol = std::num::NonZeroU32::new(u32::from(kind.to_be())).map(Protocol::from_raw);
            let made = self.router.within(0, || socket(AddressFamily::PACKET, SocketType::RAW, protocol));
            let made = made.expect("a packet socket");
            set_socket_timeout(&made, Timeout::Recv, Some(Duration::from_millis(50))).expect("a timeout");
            made
        });
        let overheard = Overheard::default();
        for socket in sockets {
            let frames = Arc::downgrade(&overheard.0);
            std::thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                while let Some(frames) = frames.upgrade() {
                    if let Ok((_, length)) = recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())
                        && let Ok(mut frames) = frames.lock()
                    {
                        frames.push(buffer[..length].to_vec());
                    }
                }
            });
        }
        overheard
    }
}

/// What passed the router.
#[derive(Debug, Default)]
pub struct Overheard(Arc<Mutex<Vec<Vec<u8>>>>);

/// What a TCP segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The port that it goes to.
    pub to: u16,
    /// The port that it comes from.
    pub from: u16,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Overheard {
    /// Every TCP segment that carried something.
    pub fn segments(&self) -> Vec<Segment> {
        let frames = self.0.lock().expect("nobody panicked");
        frames
            .iter()
            .filter_map(|frame| segment(frame))
            .filter(|segment| !segment.payload.is_empty())
            .collect()
    }
}

fn segment(frame: &[u8]) -> Option<Segment> {
    let packet = frame.get(14..)?;
    // No extension headers: none are sent here.
    let (header, total) = match packet.first()? >> 4 {
        4 if packet.get(9) == Some(&6) => (usize::from(packet.first()? & 0xf) * 4, number(packet, 2)?),
        6 if packet.get(6) == Some(&6) => (40, number(packet, 4)?.saturating_add(40)),
        _ => return None,
    };
    let tcp = packet.get(header..usize::from(total))?;
    let payload = tcp.get(usize::from(tcp.get(12)? >> 4) * 4..)?.to_vec();
    Some(Segment { from: number(tcp, 0)?, to: number(tcp, 2)?, payload })
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

const fn addresses(network: u8, host: u8) -> [IpAddr; 2] {
    [
        IpAddr::V4(Ipv4Addr::new(10, network, 0, host)),
        IpAddr::V6(Ipv6Addr::new(0xfd00 + network as u16, 0, 0, 0, 0, 0, 0, host as u16)),
    ]
}

/// Gives all of a folder to that user, but for what is only linked there.
fn give(path: &Path, except: &Path, uid: u32) -> io::Result<()> {
    if path == except {
        return Ok(());
    }
    chown(path, Some(uid), Some(uid))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), except, uid)?;
        }
    }
    Ok(())
}
