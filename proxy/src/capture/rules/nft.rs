//! nftables: one table of our own, for both families of addresses.

use crate::capture::Plan;
use crate::config::{
    CaptureFrom, CaptureInbound, CaptureOutbound, CaptureOwn, CapturePorts, Captured, IpRange,
};

/// The table's name, in the family `inet`.
pub const TABLE: &str = "postern";

/// A connection's first packet.
const SYN: &str = "tcp flags & (fin | syn | rst | ack) == syn";

/// The table. What comes before it in the same transaction says what becomes of one that is already there.
#[must_use]
pub fn table(plan: &Plan) -> String {
    let mut text = Text(format!("table inet {TABLE} {{\n"));
    let config = plan.config();
    if let Some(inbound) = &config.inbound {
        match inbound.way {
            Captured::Redirect => redirected(&mut text, inbound),
            Captured::Transparent => transparent(&mut text, inbound),
        }
    }
    if let Some(config) = &config.outbound {
        outbound(&mut text, config);
    }
    text.0.push_str("}\n");
    text.0
}

/// Makes the table; fails as a whole where there is one of its name.
#[must_use]
pub fn create(table: &str) -> String {
    format!("create table inet {TABLE}\n{table}")
}

/// Makes the table in the place of the one of its name, if there is one, without a moment between.
#[must_use]
pub fn replace(table: &str) -> String {
    format!("add table inet {TABLE}\ndelete table inet {TABLE}\n{table}")
}

struct Text(String);

impl Text {
    /// A chain that the kernel walks. Ours come shortly before others at the same place: the first translation counts.
    fn chain(&mut self, name: &str, hook: &str, lines: &[String]) {
        self.0.push_str(&format!("\tchain {name} {{\n\t\ttype {hook}; policy accept;\n"));
        for line in lines {
            self.0.push_str(&format!("\t\t{line}\n"));
        }
        self.0.push_str("\t}\n");
    }
}

fn from_outside() -> [String; 2] {
    ["iifname \"lo\" return".to_owned(), "fib daddr type != local return".to_owned()]
}

fn captured(ports: &CapturePorts) -> String {
    match ports {
        CapturePorts::Only(ports) => format!("tcp dport {{ {} }}", join(ports)),
        CapturePorts::Except(ports) => format!("tcp dport != {{ {} }}", join(ports)),
    }
}

fn family(inbound: &CaptureInbound) -> &'static str {
    match (inbound.ipv4, inbound.ipv6) {
        (true, false) => "meta nfproto ipv4 ",
        (false, true) => "meta nfproto ipv6 ",
        (true, true) | (false, false) => "",
    }
}

fn redirected(text: &mut Text, inbound: &CaptureInbound) {
    let captured = captured(&inbound.ports);
    let mut lines = from_outside().to_vec();
    lines.push(format!("{}{captured} {SYN} redirect to :{}", family(inbound), inbound.port));
    text.chain("inbound", "nat hook prerouting priority -105", &lines);
    let guard = ["iifname \"lo\" return".to_owned(), format!("{captured} {SYN} drop")];
    text.chain("inbound_guard", "filter hook input priority -155", &guard);
}

fn transparent(text: &mut Text, inbound: &CaptureInbound) {
    let captured = captured(&inbound.ports);
    let mut lines = from_outside().to_vec();
    // Not the first packet alone: where the kernel sends SYN cookies it keeps nothing of a connection until the last packet
    // of its handshake, which has no socket yet either. What has one that is not transparent stood before, and goes on.
    lines.push(format!("{}{captured} tproxy to :{} accept", family(inbound), inbound.port));
    // Where there is no such socket, the rule above ends without a verdict.
    lines.push(format!("{captured} {SYN} drop"));
    text.chain("inbound", "filter hook prerouting priority -155", &lines);
    let guard = [
        "iifname \"lo\" return".to_owned(),
        // What is left of a connection that has ended is transparent as well, but has nothing to do with all addresses or one:
        // a first packet that meets with it goes to whoever listens at its port.
        "socket transparent 1 socket wildcard { 0, 1 } return".to_owned(),
        format!("{captured} {SYN} drop"),
    ];
    text.chain("inbound_guard", "filter hook input priority -155", &guard);
}

fn outbound(text: &mut Text, outbound: &CaptureOutbound) {
    let mut passes = vec![
        match outbound.own {
            CaptureOwn::Uid(uid) => format!("meta skuid {uid} return"),
            CaptureOwn::Mark(mark) => format!("meta mark {mark:#010x} return"),
        },
        "fib daddr type local return".to_owned(),
        "meta l4proto != tcp return".to_owned(),
    ];
    let (ipv6, ipv4): (Vec<IpRange>, Vec<IpRange>) =
        outbound.exclude_networks.iter().partition(|network| network.is_ipv6());
    let excluded = [
        ("meta skuid", join(&outbound.exclude_uids)),
        ("tcp dport", join(&outbound.exclude_ports)),
        ("ip daddr", join(&ipv4)),
        ("ip6 daddr", join(&ipv6)),
    ];
    for (what, list) in excluded.iter().filter(|(_, list)| !list.is_empty()) {
        passes.push(format!("{what} {{ {list} }} return"));
    }
    let from = match &outbound.from {
        CaptureFrom::Everyone => String::new(),
        CaptureFrom::Uids(uids) => format!("meta skuid {{ {} }} ", join(uids)),
        CaptureFrom::Cgroup(path) => {
            format!("socket cgroupv2 level {} \"{path}\" ", path.split('/').count())
        }
    };
    let families = [("ipv4", outbound.port_ipv4), ("ipv6", outbound.port_ipv6)];
    let mut lines = passes.clone();
    let redirect = |(family, port): (&str, Option<u16>)| {
        port.map(|port| format!("meta nfproto {family} {from}{SYN} redirect to :{port}"))
    };
    lines.extend(families.into_iter().filter_map(redirect));
    text.chain("outbound", "nat hook output priority -105", &lines);
    let mut guard = passes;
    guard.extend(excluded_as_sent(outbound, &ipv4, &ipv6));
    guard.push(format!("{from}{SYN} reject with tcp reset"));
    text.chain("outbound_guard", "filter hook output priority -5", &guard);
}

/// What is excluded by where it was sent, and was then led on by the rules of others. Only from this end: in the other
/// direction, what was sent first is the caller's to choose.
fn excluded_as_sent(outbound: &CaptureOutbound, ipv4: &[IpRange], ipv6: &[IpRange]) -> Vec<String> {
    let ports = outbound.exclude_ports.iter();
    let ports = ports.map(|port| format!("meta l4proto tcp ct original proto-dst {port}"));
    let networks = [("ip", ipv4), ("ip6", ipv6)].into_iter().filter(|(_, list)| !list.is_empty());
    let networks = networks.map(|(family, list)| format!("ct original {family} daddr {{ {} }}", join(list)));
    ports.chain(networks).map(|excluded| format!("ct direction original {excluded} return")).collect()
}

fn join<T: ToString>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
