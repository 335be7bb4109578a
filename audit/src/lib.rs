//! What was decided, sans I/O: the records, the Merkle tree over their exact bytes, the signed checkpoints,
//! the proofs, and verification over readers.
//!
//! Bytes, strings and `now` in; values out. Files, threads and clocks live in the trunk. The format is
//! published in `docs/audit-format.md` and `schema/record.json`: every release reads every earlier log.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod hash;
pub mod id;
mod json;
pub mod key;
pub mod note;
pub mod proof;
pub mod record;
mod time;
pub mod tree;
pub mod verify;

pub use checkpoint::{Checkpoint, CheckpointError, Origin, OriginError};
pub use hash::{Hash, leaf_hash};
pub use id::{Id, IdError};
pub use key::{EcdsaP256Signer, Ed25519Signer, KeyError, Signer, VerifyingKey, signer_from_pem};
pub use note::{Note, NoteError};
pub use proof::{Proof, ProofError};
pub use record::{
    Cache, ConnectionEnd, Decision, ENTRY_BYTES_MAX, Effect, End, EndpointAddress, Enforcement,
    OUTCOME_BYTES_MAX, Outcome, Own, PeerFacts, RecordHead, Remote, RemoteError, SocketPath, SocketPathError,
    Stamp, Texts, Tls, TokenFacts, Tried, TriedResult, WorkloadTokenFacts,
};
pub use tree::Tree;
pub use verify::{Class, Files, Finding, Report, verify};
