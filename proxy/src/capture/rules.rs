//! From a plan to the text that a tool reads. Pure: nothing is run here.
//!
//! Three things hold in both spellings. A captured connection's first packet (SYN) is led to a listener, or it is dropped or
//! refused: a guard stands behind what leads it there, both ways. A redirect is asked of what connection tracking takes for
//! new alone, and who sends a lone ACK first, or does not have a connection tracked, makes it something else; and the rules
//! of others may have led a packet where ours would not. What belongs to a connection that stood before is left as it is.
//! And the sidecar's own connections are let out before anything else.

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
