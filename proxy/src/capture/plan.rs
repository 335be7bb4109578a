//! What is to be captured, and what is not.

use crate::config::{CaptureConfig, CaptureFrom, CaptureOwn, CapturePorts, Captured};

/// What is to be captured. Captures something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan(CaptureConfig);

impl Plan {
    /// `None` when the configuration captures nothing.
    #[must_use]
    pub fn of(config: &CaptureConfig) -> Option<Self> {
        let captures = config.inbound.is_some() || config.outbound.is_some();
        captures.then(|| Self(config.clone()))
    }

    /// What it is made of.
    #[must_use]
    pub fn config(&self) -> &CaptureConfig {
        &self.0
    }

    /// What passes by the sidecar all the same, each in a sentence. Whoever relies on capture has to know.
    #[must_use]
    pub fn not_covered(&self) -> Vec<String> {
        let mut list = vec![
            "everything but TCP: UDP (with it DNS and QUIC), ICMP, SCTP and raw sockets".to_owned(),
            "connections that stood before the rules did: restart the service".to_owned(),
            "processes in other network namespaces, such as containers with a network of their own or with the host's"
                .to_owned(),
            "root, and whoever has CAP_NET_ADMIN: they can take the rules away".to_owned(),
            "connections within this machine, over loopback or to one of its own addresses".to_owned(),
        ];
        if let Some(inbound) = &self.0.inbound {
            match &inbound.ports {
                CapturePorts::Only(ports) => {
                    list.push(format!("connections from outside to other ports than {}", join(ports)));
                }
                CapturePorts::Except(ports) => {
                    list.push(format!("connections from outside to the ports {}", join(ports)));
                }
            }
            if inbound.way == Captured::Transparent {
                list.push(
                    "connections from outside while the kernel sends SYN cookies for the service itself: those that other \
                     rules lead to its port, and with iptables all, if it is bound to the very address that they go to"
                        .to_owned(),
                );
            }
        }
        if let Some(outbound) = &self.0.outbound {
            list.push(match outbound.own {
                CaptureOwn::Uid(uid) => format!("connections of user id {uid}, which is the sidecar's"),
                CaptureOwn::Mark(mark) => format!(
                    "connections with the mark {mark}, which is the sidecar's: whoever has CAP_NET_ADMIN or CAP_NET_RAW can put it on theirs"
                ),
            });
            match &outbound.from {
                CaptureFrom::Everyone => {}
                CaptureFrom::Uids(uids) => {
                    list.push(format!("connections of other user ids than {}", join(uids)));
                    list.push("processes that can become another user".to_owned());
                }
                CaptureFrom::Cgroup(path) => {
                    list.push(format!("processes outside of the cgroup `{path}`"));
                    list.push(format!(
                        "processes in a cgroup `{path}` that was made after the rules, as a restart of a service does: \
                         capture again with `--replace`"
                    ));
                }
            }
            let excluded = [
                ("to the ports", join(&outbound.exclude_ports)),
                ("to", join(&outbound.exclude_networks)),
                ("of the user ids", join(&outbound.exclude_uids)),
            ];
            for (which, what) in excluded.iter().filter(|(_, what)| !what.is_empty()) {
                list.push(format!("connections {which} {what}, which are excluded"));
            }
        }
        list
    }

    /// What does not get through any more, each in a sentence.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        let mut list = Vec::new();
        if let Some(inbound) = &self.0.inbound {
            list.push("connections from outside that other rules lead to a captured port".to_owned());
            for (family, served) in [("IPv4", inbound.ipv4), ("IPv6", inbound.ipv6)] {
                if !served {
                    list.push(format!("captured connections from outside over {family}: the inbound listener does not take them"));
                }
            }
            if inbound.way == Captured::Transparent {
                list.push(
                    "captured connections from outside while the listener is not there, without an answer"
                        .to_owned(),
                );
            }
        }
        if let Some(outbound) = &self.0.outbound {
            list.push(
                "captured connections to others that cannot be redirected, because other rules leave them untracked or led \
                 them there"
                    .to_owned(),
            );
            for (family, port) in [("IPv4", outbound.port_ipv4), ("IPv6", outbound.port_ipv6)] {
                if port.is_none() {
                    list.push(format!(
                        "captured connections to others over {family}: no outbound listener takes them"
                    ));
                }
            }
        }
        list
    }
}

fn join<T: ToString>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
