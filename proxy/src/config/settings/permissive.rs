//! Plain text beside mutual TLS.

/// Until when a listener takes plain text beside mutual TLS, and from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermissiveConfig {
    /// The first second in which it does not, since 1970.
    pub until_unix_s: u64,
    /// What a caller is that says nothing.
    pub silence: Silence,
}

/// What a caller is that says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Waited for as long as a TLS handshake may take, and refused then.
    Refused,
    /// After the listener's `detect_timeout`, one in plain text whose service speaks first; on `tcp` listeners alone.
    Plaintext,
}
