//! How many connections of one address may be in their handshake: who never ends one takes the places of others for as
//! long as a handshake may last, and every one that ends costs a signature. Plain text beside TLS proves nothing: such a
//! connection counts as long as it lasts.
use super::Listener;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// The addresses that have handshakes in progress. There are never more than there are open connections.
#[derive(Debug, Default)]
pub(super) struct Handshakes(Mutex<HashMap<IpAddr, usize>>);

impl Handshakes {
    fn with<T>(&self, change: impl FnOnce(&mut HashMap<IpAddr, usize>) -> T) -> T {
        // Counts are whole at every moment, so that a panic elsewhere does not spoil them.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A handshake in progress, given back on drop.
#[derive(Debug)]
pub struct Handshake {
    listener: Arc<Listener>,
    from: IpAddr,
}

impl Handshake {
    /// Begins one, if the address may have another.
    pub(crate) fn begin(listener: &Arc<Listener>, source: SocketAddr) -> Option<Self> {
        let from = who(source.ip());
        let begun = listener.handshakes.with(|all| {
            let count = all.entry(from).or_default();
            let is_free = *count < listener.limits.handshakes_per_source_max;
            *count = count.saturating_add(usize::from(is_free));
            is_free
        });
        begun.then(|| Self { listener: Arc::clone(listener), from })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.listener.handshakes.with(|all| {
            let count = all.get_mut(&self.from);
            if let Some(count) = count.filter(|count| **count > 1) {
                *count = count.saturating_sub(1);
            } else {
                all.remove(&self.from);
            }
        });
    }
}

/// Whom an address stands for: with IPv6 one host has a network of its own, and may call from every address of it.
pub(super) fn who(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::acceptor::tests::limited;

    /// Of handshakes that are begun from these addresses and not ended, which may begin.
    fn check(sources: &[&str], begun: &[bool]) {
        let mut limits = crate::listener::RawHead::LIMITS;
        limits.handshakes_per_source_max = 2;
        let listener = limited(limits).0;
        let all: Vec<_> = sources
            .iter()
            .map(|source| Handshake::begin(&listener, SocketAddr::new(source.parse().unwrap(), 4000)))
            .collect();
        assert_eq!(all.iter().map(Option::is_some).collect::<Vec<_>>(), begun, "{sources:?}");
        drop(all);
        assert_eq!(listener.handshakes.with(|all| all.len()), 0, "nothing is kept of who has gone");
    }

    #[test]
    fn an_address_has_so_many_handshakes_at_one_time() {
        check(&["192.0.2.1"; 3], &[true, true, false]);
        check(&["192.0.2.1", "192.0.2.1", "192.0.2.2"], &[true, true, true]);
        check(&["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"], &[true, true, false]);
    }

    #[test]
    fn a_host_has_a_network_of_ipv6() {
        check(&["2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:0:3"], &[true, true, false]);
        check(&["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], &[true, true, true]);
    }

    #[test]
    fn who_has_ended_one_may_begin_another() {
        let listener = limited(crate::listener::RawHead::LIMITS).0;
        let source = "192.0.2.1:4000".parse().unwrap();
        let first = Handshake::begin(&listener, source).unwrap();
        assert!(Handshake::begin(&listener, source).is_none(), "the limits of tests allow one");
        assert!(Handshake::begin(&listener, source).is_none(), "nor is a refused one counted");
        drop(first);
        assert!(Handshake::begin(&listener, source).is_some());
    }
}
