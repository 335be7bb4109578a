//! iptables: chains of our own, `POSTERN_*`, reached from the first rule of the built-in ones. One text a family of
//! addresses, for `iptables-restore --noflush` and `ip6tables-restore --noflush`.

use super::complement;
use crate::capture::Plan;
use crate::config::{CaptureFrom, CaptureInbound, CaptureOutbound, CaptureOwn, CapturePorts, Captured};

/// What the names of our chains begin with.
pub const PREFIX: &str = "POSTERN_";
/// The tables in which we have chains.
pub const TABLES: [&str; 3] = ["mangle", "filter", "nat"];

const INBOUND: &str = "POSTERN_INBOUND";
const GUARD: &str = "POSTERN_GUARD";
const OUTBOUND: &str = "POSTERN_OUTBOUND";
const OUTBOUND_GUARD: &str = "POSTERN_OUTBOUND_GUARD";

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Family; 2] = [Family::Ipv4, Family::Ipv6];
}

/// One chain of ours.
struct Chain {
    table: &'static str,
    name: &'static str,
    /// The built-in chain that leads to it.
    hook: &'static str,
    rules: Vec<String>,
}

/// The rules for one family. Each table is applied as a whole or not at all; the guards come first.
#[must_use]
pub fn restore(plan: &Plan, family: Family) -> String {
    let chains = chains(plan, family);
    let mut text = String::new();
    for table in TABLES {
        let of_table: Vec<&Chain> = chains.iter().filter(|chain| chain.table == table).collect();
        if of_table.is_empty() {
            continue;
        }
        text.push_str(&format!("*{table}\n"));
        for chain in &of_table {
            text.push_str(&format!(":{} - [0:0]\n", chain.name));
        }
        for chain in &of_table {
            for rule in &chain.rules {
                text.push_str(&format!("-A {} {rule}\n", chain.name));
            }
            text.push_str(&format!("-I {} 1 -j {}\n", chain.hook, chain.name));
        }
        text.push_str("COMMIT\n");
    }
    text
}

/// One text for `iptables-restore --noflush` that takes our chains away, and the jumps to them, as they stand in what
/// `iptables-save -t TABLE` printed for each table, and puts those of `rules` (of [`restore`]) in their place: within one
/// table there is no moment without either. Empty when there is nothing to do.
#[must_use]
pub fn transaction(rules: &str, saved: &[(&str, String)]) -> String {
    let mut text = String::new();
    for table in TABLES {
        let found = saved.iter().find(|(name, _)| *name == table).map_or("", |(_, saved)| saved);
        let body = removal(found) + body(rules, table);
        if !body.is_empty() {
            text.push_str(&format!("*{table}\n{body}COMMIT\n"));
        }
    }
    text
}

/// What stands between `*table` and `COMMIT`.
fn body<'r>(rules: &'r str, table: &str) -> &'r str {
    let begun = rules.split_once(&format!("*{table}\n")).map(|(_, rest)| rest);
    begun.and_then(|rest| rest.split_once("COMMIT\n")).map_or("", |(body, _)| body)
}

fn removal(saved: &str) -> String {
    let mut text = String::new();
    let lines: Vec<&str> = own_lines(saved).collect();
    let jumps = lines.iter().filter_map(|line| line.strip_prefix("-A "));
    for jump in jumps.filter(|rule| !rule.starts_with(PREFIX)) {
        text.push_str(&format!("-D {jump}\n"));
    }
    let names = lines.iter().filter_map(|line| line.strip_prefix(':')?.split(' ').next());
    let names: Vec<&str> = names.collect();
    for flag in ["-F", "-X"] {
        for name in &names {
            text.push_str(&format!("{flag} {name}\n"));
        }
    }
    text
}

/// The lines of `iptables-save` that are ours: our chains, their rules, and the jumps to them.
pub fn own_lines(saved: &str) -> impl Iterator<Item = &str> {
    let jumps = |line: &str| {
        line.split(' ')
            .zip(line.split(' ').skip(1))
            .any(|(flag, target)| matches!(flag, "-j" | "-g") && target.starts_with(PREFIX))
    };
    saved.lines().filter(move |line| {
        let named = line.strip_prefix(':').or_else(|| line.strip_prefix("-A "));
        named.is_some_and(|name| name.starts_with(PREFIX)) || jumps(line)
    })
}

fn chains(plan: &Plan, family: Family) -> Vec<Chain> {
    let mut chains = Vec::new();
    if let Some(config) = &plan.config().inbound {
        inbound(&mut chains, config, family);
    }
    if let Some(config) = &plan.config().outbound {
        outbound(&mut chains, config, family);
    }
    chains
}

fn inbound(chains: &mut Vec<Chain>, inbound: &CaptureInbound, family: Family) {
    let served = match family {
        Family::Ipv4 => inbound.ipv4,
        Family::Ipv6 => inbound.ipv6,
    };
    let ranges = match &inbound.ports {
        CapturePorts::Only(ports) => ports.iter().map(|port| (*port, *port)).collect(),
        CapturePorts::Except(ports) => complement(ports),
    };
    let each = |action: &str| -> Vec<String> {
        let port = |(first, last): &(u16, u16)| {
            if first == last { first.to_string() } else { format!("{first}:{last}") }
        };
        ranges.iter().map(|range| format!("-p tcp -m tcp --dport {} {action}", port(range))).collect()
    };
    let outside = ["-i lo -j RETURN", "-m addrtype ! --dst-type LOCAL -j RETURN"].map(str::to_owned);
    let lead = match inbound.way {
        Captured::Redirect => format!("-j REDIRECT --to-ports {}", inbound.port),
        Captured::Transparent => format!("-j TPROXY --on-port {}", inbound.port),
    };
    let mut rules = outside.to_vec();
    if served {
        rules.extend(each(&format!("--syn {lead}")));
    }
    let mut guard = vec!["-i lo -j RETURN".to_owned()];
    let table = match inbound.way {
        Captured::Redirect => "nat",
        Captured::Transparent => {
            // TPROXY itself drops what has no such socket.
            rules.extend(each("--syn -j DROP"));
            if served {
                // Where the kernel sends SYN cookies it keeps nothing of a connection until the last packet of its handshake,
                // which has to be led as well. What has a socket stood before, and TPROXY would end it; one that listens at
                // all addresses does not count here.
                rules.push("-p tcp -m socket -j RETURN".to_owned());
                rules.extend(each(&lead));
            }
            // What is left of a connection that has ended is transparent as well, but a first packet that meets with it goes
            // to whoever listens at its port. One that was led has met with the listener, which is at all addresses.
            guard.extend(each("--syn -m socket --transparent -m conntrack --ctstate DNAT -j DROP"));
            guard.push("-p tcp -m socket --transparent --nowildcard -j RETURN".to_owned());
            "mangle"
        }
    };
    guard.extend(each("--syn -j DROP"));
    chains.push(Chain { table: "mangle", name: GUARD, hook: "INPUT", rules: guard });
    chains.push(Chain { table, name: INBOUND, hook: "PREROUTING", rules });
}

fn outbound(chains: &mut Vec<Chain>, outbound: &CaptureOutbound, family: Family) {
    let mut rules = vec![
        match outbound.own {
            CaptureOwn::Uid(uid) => format!("-m owner --uid-owner {uid} -j RETURN"),
            CaptureOwn::Mark(mark) => format!("-m mark --mark {mark:#x} -j RETURN"),
        },
        "-m addrtype --dst-type LOCAL -j RETURN".to_owned(),
        "! -p tcp -j RETURN".to_owned(),
    ];
    rules.extend(outbound.exclude_uids.iter().map(|uid| format!("-m owner --uid-owner {uid} -j RETURN")));
    rules.extend(outbound.exclude_ports.iter().map(|port| format!("-p tcp -m tcp --dport {port} -j RETURN")));
    let networks = outbound.exclude_networks.iter();
    let networks = networks.filter(|network| network.is_ipv6() == (family == Family::Ipv6));
    rules.extend(networks.clone().map(|network| format!("-d {network} -j RETURN")));
    let whose = match &outbound.from {
        CaptureFrom::Everyone => vec![String::new()],
        CaptureFrom::Uids(uids) => uids.iter().map(|uid| format!("-m owner --uid-owner {uid} ")).collect(),
        CaptureFrom::Cgroup(path) => vec![format!("-m cgroup --path {path} ")],
    };
    let port = match family {
        Family::Ipv4 => outbound.port_ipv4,
        Family::Ipv6 => outbound.port_ipv6,
    };
    let each = |action: &str| -> Vec<String> {
        whose.iter().map(|whose| format!("-p tcp -m tcp --syn {whose}{action}")).collect()
    };
    let mut guard = rules.clone();
    // What is excluded by where it was sent, and was then led on by the rules of others. Only from this end: in the other
    // direction, what was sent first is the caller's to choose.
    let as_sent = |what: String| format!("-m conntrack --ctdir ORIGINAL {what} -j RETURN");
    let ports = outbound.exclude_ports.iter();
    guard.extend(ports.map(|port| as_sent(format!("--ctproto tcp --ctorigdstport {port}"))));
    guard.extend(networks.map(|network| as_sent(format!("--ctorigdst {network}"))));
    guard.extend(each("-j REJECT --reject-with tcp-reset"));
    chains.push(Chain { table: "filter", name: OUTBOUND_GUARD, hook: "OUTPUT", rules: guard });
    if let Some(port) = port {
        rules.extend(each(&format!("-j REDIRECT --to-ports {port}")));
        chains.push(Chain { table: "nat", name: OUTBOUND, hook: "OUTPUT", rules });
    }
}
