//! What a listener counts: its connections, handshakes and exchanges.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::encoding::DescriptorEncoder;

use super::histogram::DurationHistogram;
use super::series::{Family, ReasonCounters, ReasonSet};
use crate::telemetry::spans::Decided;

/// The metrics of one listener. Every method is a few atomic additions.
#[derive(Debug)]
pub struct ListenerMetrics {
    reasons: Arc<ReasonSet>,
    connections_active: AtomicI64,
    connections_accepted: AtomicU64,
    handshakes_completed: AtomicU64,
    plaintext_connections: AtomicU64,
    /// In seconds since 1970; 0 where none is taken.
    plaintext_until: AtomicU64,
    connections_refused: ReasonCounters,
    exchanges_active: AtomicI64,
    /// By the declaration order of [`Decided`].
    exchanges: [ReasonCounters; Decided::ALL.len()],
    duration: DurationHistogram,
}

/// Counts its thing as active until it is dropped.
#[derive(Debug)]
#[must_use = "it counts as long as it lives"]
pub struct Active {
    listener: Arc<ListenerMetrics>,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Connection,
    Exchange,
}

impl ListenerMetrics {
    pub(super) fn new(reasons: &Arc<ReasonSet>) -> Self {
        Self {
            reasons: Arc::clone(reasons),
            connections_active: AtomicI64::new(0),
            connections_accepted: AtomicU64::new(0),
            handshakes_completed: AtomicU64::new(0),
            plaintext_connections: AtomicU64::new(0),
            plaintext_until: AtomicU64::new(0),
            connections_refused: ReasonCounters::new(reasons),
            exchanges_active: AtomicI64::new(0),
            exchanges: Decided::ALL.map(|_| ReasonCounters::new(reasons)),
            duration: DurationHistogram::default(),
        }
    }

    /// Counts an accepted connection, and as active until the result is dropped.
    pub fn connection(self: &Arc<Self>) -> Active {
        self.connections_accepted.fetch_add(1, Ordering::Relaxed);
        self.active(What::Connection)
    }

    /// Counts a handshake that ended well.
    pub fn handshake_completed(&self) {
        self.handshakes_completed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection in plain text where mutual TLS is what is wanted.
    pub fn plaintext_connection(&self) {
        self.plaintext_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Until when such connections are taken, in seconds since 1970; 0: they are not.
    pub fn plaintext_until(&self, unix_s: u64) {
        self.plaintext_until.store(unix_s, Ordering::Relaxed);
    }

    /// Counts a connection that ended before its first exchange, or by a broken protocol; `reason` is one of
    /// the `conn.`, `tls.` and `peer.` codes.
    pub fn connection_refused(&self, reason: &str) {
        self.connections_refused.count(&self.reasons, reason);
    }

    /// Counts an exchange as active until the result is dropped.
    pub fn exchange(self: &Arc<Self>) -> Active {
        self.active(What::Exchange)
    }

    /// Counts a finished exchange.
    pub fn exchange_finished(&self, decided: Decided, reason: &str, duration_ns: u64) {
        let [allow, deny, observed, undecided] = &self.exchanges;
        let counters = match decided {
            Decided::Allow => allow,
            Decided::Deny => deny,
            Decided::DenyObserved => observed,
            Decided::Undecided => undecided,
        };
        counters.count(&self.reasons, reason);
        self.duration.record_ns(duration_ns);
    }

    fn active(self: &Arc<Self>, what: What) -> Active {
        self.gauge(what).fetch_add(1, Ordering::Relaxed);
        Active { listener: Arc::clone(self), what }
    }

    const fn gauge(&self, what: What) -> &AtomicI64 {
        match what {
            What::Connection => &self.connections_active,
            What::Exchange => &self.exchanges_active,
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.listener.gauge(self.what).fetch_sub(1, Ordering::Relaxed);
    }
}

/// What every sidecar meets or must not miss: alerts stand on these series, so that they are there from zero.
fn expected(decided: Decided, code: &str) -> bool {
    let allowed = code == "policy.allowed";
    match decided {
        Decided::Allow => allowed,
        Decided::Deny => code.starts_with("policy.") && !allowed,
        Decided::DenyObserved | Decided::Undecided => false,
    }
}

pub(super) fn encode(
    listeners: &BTreeMap<Arc<str>, Arc<ListenerMetrics>>,
    reasons: &ReasonSet,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let each = || listeners.iter().map(|(name, metrics)| (&**name, &**metrics));
    let exchanges = each().flat_map(|(listener, metrics)| {
        Decided::ALL.into_iter().zip(&metrics.exchanges).flat_map(move |(decided, counters)| {
            counters.expected_or_counted(reasons, move |code| expected(decided, code)).map(
                move |(reason, count)| {
                    ([("listener", listener), ("decision", decided.as_str()), ("reason", reason)], count)
                },
            )
        })
    });
    Family { name: "exchanges", help: "Exchanges by decision and by the reason they ended with" }
        .counters(encoder, exchanges)?;
    Family { name: "exchange_duration", help: "From the request's head to the end of its response" }
        .seconds(encoder, each().map(|(listener, metrics)| ([("listener", listener)], &metrics.duration)))?;
    Family { name: "exchanges_active", help: "Exchanges that have not ended" }
        .gauges(encoder, each().map(|(listener, m)| ([("listener", listener)], load(&m.exchanges_active))))?;
    Family { name: "connections_active", help: "Open connections" }.gauges(
        encoder,
        each().map(|(listener, m)| ([("listener", listener)], load(&m.connections_active))),
    )?;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Family { name: "connections_accepted", help: "Accepted connections" }.counters(
        encoder,
        each().map(|(listener, m)| ([("listener", listener)], count(&m.connections_accepted))),
    )?;
    Family { name: "handshakes_completed", help: "TLS handshakes that ended well" }.counters(
        encoder,
        each().map(|(listener, m)| ([("listener", listener)], count(&m.handshakes_completed))),
    )?;
    plaintext(each, encoder)?;
    let refused = each().flat_map(|(listener, metrics)| {
        let counted = metrics.connections_refused.counted(reasons);
        counted.map(move |(reason, count)| ([("listener", listener), ("reason", reason)], count))
    });
    Family {
        name: "connections_refused",
        help: "Connections that ended in a failed handshake or a broken protocol",
    }
    .counters(encoder, refused)
}

/// Of listeners that take plain text, or took some.
fn plaintext<'a, I>(each: impl Fn() -> I, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result
where
    I: Iterator<Item = (&'a str, &'a ListenerMetrics)>,
{
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let is_permissive = |m: &ListenerMetrics| count(&m.plaintext_until) > 0;
    let took_some = each().filter(|(_, m)| is_permissive(m) || count(&m.plaintext_connections) > 0);
    Family {
        name: "plaintext_connections",
        help: "Connections in plain text that were taken beside mutual TLS",
    }
    .counters(
        encoder,
        took_some.map(|(listener, m)| ([("listener", listener)], count(&m.plaintext_connections))),
    )?;
    let until = |m: &ListenerMetrics| i64::try_from(count(&m.plaintext_until)).unwrap_or(i64::MAX);
    Family {
        name: "plaintext_until_timestamp_seconds",
        help: "When plain text is taken no more beside mutual TLS, in seconds since the Unix epoch",
    }
    .gauges(
        encoder,
        each().filter(|(_, m)| is_permissive(m)).map(|(listener, m)| ([("listener", listener)], until(m))),
    )
}

fn load(gauge: &AtomicI64) -> i64 {
    gauge.load(Ordering::Relaxed)
}
