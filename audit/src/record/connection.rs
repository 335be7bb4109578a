//! A connection that deserves a record: its handshake was refused, or its protocol was broken beneath the
//! pipeline, where no exchange exists to record it.
use super::{Remote, Stamp, Tls};

/// No connection record is longer than this, in bytes without the line feed.
pub const CONNECTION_BYTES_MAX: usize = 4096;

/// How a connection ended. Its id is the one that the decisions on it name as `conn`.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionEnd<'a> {
    /// The listener's name.
    pub listener: &'a str,
    /// The caller's address.
    pub source: Remote,
    /// Whether the caller spoke TLS.
    pub tls: Tls,
    /// The caller's SPIFFE ID, when the handshake got that far; empty otherwise.
    pub peer: &'a str,
    /// The server name the caller asked for; not verified.
    pub sni: &'a str,
    /// The reason code, of `schema/reasons.json`.
    pub reason: &'static str,
    /// What exactly was wrong.
    pub detail: &'a str,
    /// Protocol errors by kind, with their count; kinds are words of ours. At most 16 are recorded.
    pub protocol_errors: &'a [(&'static str, u32)],
    /// Exchanges served on it.
    pub exchanges: u64,
    /// From accept to end.
    pub duration_ns: u64,
}

impl ConnectionEnd<'_> {
    /// Appends the record, without a line feed. At most [`CONNECTION_BYTES_MAX`] bytes.
    pub fn encode(&self, stamp: &Stamp, out: &mut Vec<u8>) {
        let mut object = stamp.open("conn", out);
        object.text("listener", self.listener, 128);
        object.display("src", &self.source);
        self.tls.encode(&mut object);
        object.text("peer", self.peer, 2048);
        object.text("sni", self.sni, 256);
        if self.reason.len() <= 64 {
            object.word("reason", self.reason);
        }
        object.text("detail", self.detail, 384);
        if !self.protocol_errors.is_empty() {
            let mut member = object.object("protocol_errors");
            for (kind, count) in self.protocol_errors.iter().filter(|(kind, _)| kind.len() <= 32).take(16) {
                member.number(kind, (*count).into());
            }
            member.close();
        }
        object.number("exchanges", self.exchanges);
        object.number("duration_ns", self.duration_ns);
        object.close();
    }
}
