//! From a plan to the text that a tool reads. Pure: nothing is run here.
//!
//! Three things hold in both spellings. A captured port's first packet (SYN) from outside is either led to the listener or
//! dropped, whatever connection tracking thinks of its connection: a guard stands behind the redirect, because who sends a
//! lone ACK first can make the kernel take the SYN for part of a connection that is to be left alone. What belongs to a
//! connection that stood before is left as it is. And the sidecar's own connections are let out before anything else.

pub mod iptables;
pub mod nft;

#[cfg(test)]
mod tests;

/// Ports as ranges, ends included: those that are not in a sorted list.
fn complement(ports: &[u16]) -> Vec<(u16, u16)> {
    let mut ranges = Vec::new();
    let mut first = 1;
    for &port in ports {
        if let Some(last) = port.checked_sub(1).filter(|last| *last >= first) {
            ranges.push((first, last));
        }
        let Some(next) = port.checked_add(1) else { return ranges };
        first = next;
    }
    ranges.push((first, u16::MAX));
    ranges
}
