//! `capture:`, which stands on the listeners and the status port as they are written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::captured;
use super::context::{Context, Reported};
use crate::config::file::{
    CaptureFromFile, CaptureInboundFile, CaptureOutboundFile, CaptureOwnFile, CapturePortsFile, CapturedFile,
    ConfigFile, ListenerFile,
};
use crate::config::findings::one_of;
use crate::config::ip_range::IpRange;
use crate::config::places::{entry, member};
use crate::config::settings::{
    CaptureConfig, CaptureFrom, CaptureInbound, CaptureOutbound, CaptureOwn, CapturePorts,
};

/// Longest path of a cgroup, in bytes, that the kernel's own match takes.
const CGROUP_BYTES_MAX: usize = 511;
/// What the kernel takes for nobody.
const UID_NOBODY: u32 = u32::MAX;

pub(super) fn capture(context: &mut Context<'_>, file: &ConfigFile) -> Result<CaptureConfig, Reported> {
    let Some(written) = &file.capture else { return Ok(CaptureConfig::default()) };
    if written.inbound.is_none() && written.outbound.is_none() {
        let what = "nothing is captured here";
        return Err(context.error("capture", what, "write `inbound` or `outbound`, or leave `capture` out"));
    }
    let inbound = written.inbound.as_ref().map(|written| inbound(context, written, file)).transpose();
    let outbound = written.outbound.as_ref().map(|written| outbound(context, written, file)).transpose();
    Ok(CaptureConfig { inbound: inbound?, outbound: outbound? })
}

/// An address that cannot be read is a finding of its own.
fn address(listener: &ListenerFile) -> Option<SocketAddr> {
    let inbound = listener.inbound.as_ref().map(|door| &door.address);
    inbound.or(listener.outbound.as_ref().and_then(|door| door.address.as_ref()))?.parse().ok()
}

/// Every port that the sidecar itself listens on.
fn own_ports(file: &ConfigFile) -> Vec<u16> {
    let status = file.status.as_ref().and_then(|status| status.address.parse::<SocketAddr>().ok());
    let addresses = file.listeners.values().filter_map(address).chain(status);
    sorted(addresses.map(|address| address.port()).collect())
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}

/// The listener of that name, which leads the way that is asked for.
fn listener<'a>(
    context: &mut Context<'_>,
    key: &str,
    name: &str,
    file: &'a ConfigFile,
    is_inbound: bool,
) -> Result<&'a ListenerFile, Reported> {
    let direction = if is_inbound { "inbound" } else { "outbound" };
    let leads = |listener: &ListenerFile| {
        if is_inbound { listener.inbound.is_some() } else { listener.outbound.is_some() }
    };
    let candidates = file.listeners.iter().filter(|(_, listener)| leads(listener));
    let candidates: Vec<&str> = candidates.map(|(name, _)| name.as_str()).collect();
    let mend = match candidates.as_slice() {
        [] => format!("add an {direction} listener"),
        some => format!("write {}", one_of(some.iter().copied())),
    };
    match file.listeners.get(name) {
        None => Err(context.error(key, format!("there is no listener `{name}`"), mend)),
        Some(listener) if !leads(listener) => {
            Err(context.error(key, format!("the listener `{name}` is not {direction}"), mend))
        }
        Some(listener) => Ok(listener),
    }
}

fn inbound(
    context: &mut Context<'_>,
    written: &CaptureInboundFile,
    file: &ConfigFile,
) -> Result<CaptureInbound, Reported> {
    const LISTENER: &str = "capture.inbound.listener";
    let ports = inbound_ports(context, &written.ports, &own_ports(file));
    let listener = listener(context, LISTENER, &written.listener, file, true)?;
    let Some(way) = captured::way(listener) else {
        let what =
            format!("the listener `{}` does not ask where its connections were going", written.listener);
        let mend = "write `captured: redirect` or `captured: transparent` beside its `address`";
        return Err(context.error(LISTENER, what, mend));
    };
    // One that cannot be read is reported where it stands.
    let address = address(listener).unwrap_or(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 1)));
    if !address.ip().is_unspecified() {
        let what = format!(
            "the listener `{}` is bound to `{}`, and what is captured arrives at any address of the machine",
            written.listener,
            address.ip()
        );
        let mend = format!("bind it to `[::]:{0}`, or to `0.0.0.0:{0}` for IPv4 alone", address.port());
        return Err(context.error(LISTENER, what, mend));
    }
    // `[::]` takes IPv4 as well, unless the system says otherwise.
    let (ipv6, way) = (address.is_ipv6(), captured::meant(way));
    Ok(CaptureInbound { port: address.port(), ipv4: true, ipv6, ports: ports?, way })
}

fn inbound_ports(
    context: &mut Context<'_>,
    written: &CapturePortsFile,
    own: &[u16],
) -> Result<CapturePorts, Reported> {
    const KEY: &str = "capture.inbound.ports";
    match written {
        CapturePortsFile::All => {
            let what = "every port is captured, and with them that of a remote shell";
            context.warn(KEY, what, "leave such ports as they are with `except: [22]`");
            Ok(CapturePorts::Except(own.to_vec()))
        }
        CapturePortsFile::Only(list) => {
            let key = member(KEY, "only");
            context.some(&key, list.len(), "port")?;
            let captured = ports(context, &key, list)?;
            for (index, port) in captured.iter().enumerate().filter(|(_, port)| own.contains(port)) {
                let what = format!("`{port}` is a port of the sidecar itself, which is never captured");
                context.error(&entry(&key, index), what, "name the service's own port");
            }
            Ok(CapturePorts::Only(sorted(captured)))
        }
        CapturePortsFile::Except(list) => {
            let key = member(KEY, "except");
            context.some(&key, list.len(), "port")?;
            let mut except = ports(context, &key, list)?;
            for (index, port) in except.iter().enumerate().filter(|(_, port)| own.contains(port)) {
                let what = format!("`{port}` is a port of the sidecar itself, which is never captured");
                context.warn(&entry(&key, index), what, "leave it out");
            }
            except.extend_from_slice(own);
            Ok(CapturePorts::Except(sorted(except)))
        }
    }
}

fn ports(context: &mut Context<'_>, key: &str, list: &[u64]) -> Result<Vec<u16>, Reported> {
    context.few(key, list.len(), "port")?;
    context.distinct(key, list, u64::to_string);
    context.each(key, list, |context, key, port| match u16::try_from(*port) {
        Ok(port) if port > 0 => Ok(port),
        Ok(_) | Err(_) => {
            Err(context.error(key, format!("`{port}` is not a port"), "write a port from 1 to 65535"))
        }
    })
}

fn outbound(
    context: &mut Context<'_>,
    written: &CaptureOutboundFile,
    file: &ConfigFile,
) -> Result<CaptureOutbound, Reported> {
    const KEY: &str = "capture.outbound";
    let listeners = outbound_listeners(context, written, file);
    let own = own(context, written.own);
    let from = from(context, written.from.as_ref());
    let exclude = &written.exclude;
    let exclude_ports = ports(context, &format!("{KEY}.exclude.ports"), &exclude.ports);
    let exclude_networks = networks(context, &format!("{KEY}.exclude.networks"), &exclude.networks);
    let exclude_uids = uids(context, &format!("{KEY}.exclude.uids"), &exclude.uids);
    let (port_ipv4, port_ipv6) = listeners?;
    let outbound = CaptureOutbound {
        port_ipv4,
        port_ipv6,
        from: from?,
        own: own?,
        exclude_ports: sorted(exclude_ports?),
        exclude_networks: exclude_networks?,
        exclude_uids: exclude_uids?,
    };
    check_uids(context, &outbound);
    Ok(CaptureOutbound { exclude_uids: sorted(outbound.exclude_uids), ..outbound })
}

fn own(context: &mut Context<'_>, written: CaptureOwnFile) -> Result<CaptureOwn, Reported> {
    match written {
        CaptureOwnFile::Uid(own) => uid(context, "capture.outbound.own.uid", own).map(CaptureOwn::Uid),
        CaptureOwnFile::Mark(mark) => match u32::try_from(mark) {
            Ok(mark) if mark > 0 => Ok(CaptureOwn::Mark(mark)),
            Ok(_) | Err(_) => Err(context.error(
                "capture.outbound.own.mark",
                format!("`{mark}` is not a mark that tells connections apart"),
                "write a number from 1 to 4294967295 that no other rule of the machine uses",
            )),
        },
    }
}

/// The address of an outbound listener to which connections are redirected; `None` where it cannot be read, which is
/// reported where it stands.
fn redirected(
    context: &mut Context<'_>,
    key: &str,
    name: &str,
    file: &ConfigFile,
) -> Result<Option<SocketAddr>, Reported> {
    let listener = listener(context, key, name, file, false)?;
    if captured::way(listener) == Some(CapturedFile::Redirect) {
        return Ok(address(listener));
    }
    let what = format!("what is captured is redirected, and the listener `{name}` does not say so");
    Err(context.error(key, what, "write `captured: redirect` beside its `address`"))
}

/// The ports on `127.0.0.1` and on `::1`. Redirected connections arrive at these two, whatever else is loopback.
fn outbound_listeners(
    context: &mut Context<'_>,
    written: &CaptureOutboundFile,
    file: &ConfigFile,
) -> Result<(Option<u16>, Option<u16>), Reported> {
    const KEY: &str = "capture.outbound.listener";
    const KEY_IPV6: &str = "capture.outbound.listener_ipv6";
    let ipv4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ipv6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let first = redirected(context, KEY, &written.listener, file);
    let second = written.listener_ipv6.as_ref().map(|name| redirected(context, KEY_IPV6, name, file));
    let (Some(first), second) = (first?, second.transpose()?.flatten()) else { return Ok((None, None)) };
    if first.ip() != ipv4 && (first.ip() != ipv6 || written.listener_ipv6.is_some()) {
        let what = format!("the listener `{}` is bound to `{}`", written.listener, first.ip());
        return Err(context.error(
            KEY,
            what,
            format!("bind it to `127.0.0.1:{}`: that is where what is captured arrives", first.port()),
        ));
    }
    if let Some(second) = second.filter(|second| second.ip() != ipv6) {
        let what = format!("this listener is bound to `{}`", second.ip());
        return Err(context.error(
            KEY_IPV6,
            what,
            format!("bind it to `[::1]:{}`: that is where what is captured over IPv6 arrives", second.port()),
        ));
    }
    let port_ipv4 = (first.ip() == ipv4).then(|| first.port());
    let port_ipv6 = second.or(Some(first).filter(|first| first.ip() == ipv6)).map(|address| address.port());
    Ok((port_ipv4, port_ipv6))
}

fn from(context: &mut Context<'_>, written: Option<&CaptureFromFile>) -> Result<CaptureFrom, Reported> {
    match written {
        None | Some(CaptureFromFile::Everyone) => Ok(CaptureFrom::Everyone),
        Some(CaptureFromFile::Uids(list)) => {
            let key = "capture.outbound.from.uids";
            context.some(key, list.len(), "user id")?;
            uids(context, key, list).map(|uids| CaptureFrom::Uids(sorted(uids)))
        }
        Some(CaptureFromFile::Cgroup(path)) => {
            let key = "capture.outbound.from.cgroup";
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._@:-".contains(&byte);
            let is_component =
                |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed);
            if path.len() > CGROUP_BYTES_MAX || !path.split('/').all(is_component) {
                let what = format!("`{path}` is not the path of a cgroup below the root of its hierarchy");
                let mend = format!(
                    "write it like `system.slice/orders.service`: no slash in front, letters, digits and `._@:-`, at most {CGROUP_BYTES_MAX} bytes"
                );
                return Err(context.error(key, what, mend));
            }
            Ok(CaptureFrom::Cgroup(path.clone()))
        }
    }
}

fn uids(context: &mut Context<'_>, key: &str, list: &[u64]) -> Result<Vec<u32>, Reported> {
    context.few(key, list.len(), "user id")?;
    context.distinct(key, list, u64::to_string);
    context.each(key, list, |context, key, written| uid(context, key, *written))
}

fn uid(context: &mut Context<'_>, key: &str, written: u64) -> Result<u32, Reported> {
    match u32::try_from(written) {
        Ok(uid) if uid != UID_NOBODY => Ok(uid),
        Ok(_) | Err(_) => Err(context.error(
            key,
            format!("`{written}` is not a user id"),
            "write the number that `id -u NAME` prints",
        )),
    }
}

fn networks(context: &mut Context<'_>, key: &str, list: &[String]) -> Result<Vec<IpRange>, Reported> {
    context.few(key, list.len(), "network")?;
    let networks = context.each(key, list, |context, key, text| {
        text.parse::<IpRange>().map_err(|error| {
            let what = format!("`{text}` is not a range of addresses: {error}");
            context.error(key, what, "write it like `10.0.0.0/8` or `192.0.2.4`")
        })
    })?;
    for (index, network) in networks.iter().enumerate() {
        if let Some(other) = networks.iter().take(index).find(|other| other.overlaps(network)) {
            let what = format!("`{network}` and `{other}` share addresses");
            context.error(&entry(key, index), what, "leave the smaller one out");
        }
        if [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            .iter()
            .any(|ip| network.contains(*ip))
            && !network.to_string().ends_with("/0")
        {
            let what = format!("`{network}` is loopback, which is never captured");
            context.warn(&entry(key, index), what, "leave it out");
        }
    }
    Ok(networks)
}

fn check_uids(context: &mut Context<'_>, outbound: &CaptureOutbound) {
    const OWN: &str = "capture.outbound.own.uid";
    let own = match outbound.own {
        CaptureOwn::Uid(own) => Some(own),
        CaptureOwn::Mark(_) => None,
    };
    if own == Some(0) {
        let what = "with the sidecar, everything that runs as root is let out past it";
        context.warn(OWN, what, "run the sidecar as a user of its own");
    }
    if let CaptureFrom::Uids(uids) = &outbound.from {
        if let Some(own) = own.filter(|own| uids.contains(own)) {
            let what =
                format!("`{own}` is captured by `from`: the sidecar's connections would lead back to it");
            let mend = "run the sidecar as a user of its own, and name that one here, or tell it by `mark`";
            context.error(OWN, what, mend);
        }
        for (index, uid) in outbound.exclude_uids.iter().enumerate() {
            let key = entry("capture.outbound.exclude.uids", index);
            if uids.contains(uid) {
                let what = format!("`{uid}` is captured by `from` and let out by `exclude`");
                context.error(&key, what, "decide for one of the two");
            } else {
                let what = format!("`{uid}` is not among the user ids that `from` captures");
                context.warn(&key, what, "leave it out");
            }
        }
    } else if let Some(own) = own
        && let Some(index) = outbound.exclude_uids.iter().position(|uid| *uid == own)
    {
        let what = format!("`{own}` is the sidecar, which is never captured");
        context.warn(&entry("capture.outbound.exclude.uids", index), what, "leave it out");
    }
}
