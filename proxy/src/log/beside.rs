//! Several logs in one directory, for the time in which one process replaces another: each has a writer of its own,
//! a lock, a name and a tree, because two writers of one tree would fork it.
//!
//! ```text
//!   audit/            the log: what an ordinary start writes
//!   audit/beside/1/   a log as whole as the first, begun while another process still wrote that
//! ```
use super::{Log, LogConfig, LogError, Surroundings, describe, layout::Layout, recovery};
use crate::recorder::Seat;
use postern_audit::Signer;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Logs beside the first. So many processes may still drain while one more takes over.
const BESIDE_MAX: u8 = 7;

/// Whether another process may be writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// No: one that does is a mistake, and the log is not opened.
    Alone,
    /// Yes: it is being replaced, and writes until its last exchange has ended.
    Beside,
}

/// The directories in which a log of this directory may be, the first one first; those beside it may not exist.
pub fn places(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let layout = Layout::new(directory);
    std::iter::once(directory.to_owned()).chain((1..=BESIDE_MAX).map(move |number| layout.beside(number)))
}

/// Opens the log of a directory, or one beside it where another process has it and may have it. What a dead process
/// left unwritten in any other log of the directory is written to where it belongs.
///
/// # Errors
/// As [`Log::open`]; with [`Company::Alone`] also where another process writes any log of the directory.
pub fn open<E: From<LogError>>(
    config: &LogConfig,
    surroundings: impl Fn() -> Surroundings,
    signer: impl Fn() -> Result<Box<dyn Signer>, E>,
    company: Company,
) -> Result<(Log, Vec<Seat>), E> {
    let mut opened = None;
    for directory in places(&config.directory) {
        let is_first = directory == config.directory;
        let is_begun = is_first || surroundings().files.read(&Layout::new(&directory).description()).is_ok();
        if !is_begun && opened.is_some() {
            continue;
        }
        let at = LogConfig { directory, ..config.clone() };
        if opened.is_none() {
            match Log::open(at, surroundings(), signer()?) {
                Err(LogError::InUse(_)) if company == Company::Beside => {}
                tried => opened = Some(tried?),
            }
        } else {
            match settle(at, &surroundings, &signer) {
                Err(Unsettled::InUse) if company == Company::Beside => {}
                Err(Unsettled::InUse) => return Err(LogError::InUse(config.directory.clone()).into()),
                Err(Unsettled::Other(error)) => return Err(error),
                Ok(()) => {}
            }
        }
    }
    opened.ok_or_else(|| LogError::InUse(config.directory.clone()).into())
}

enum Unsettled<E> {
    InUse,
    Other(E),
}

/// Brings a log to its end that a process left without one, so that it can be verified as it is.
fn settle<E: From<LogError>>(
    config: LogConfig,
    surroundings: &impl Fn() -> Surroundings,
    signer: &impl Fn() -> Result<Box<dyn Signer>, E>,
) -> Result<(), Unsettled<E>> {
    let (world, layout) = (surroundings(), Layout::new(&config.directory));
    match world.files.lock(&layout.lock()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Unsettled::InUse),
        Err(error) => return Err(Unsettled::Other(LogError::lock(&layout, error).into())),
        Ok(_held_while_looking) => {
            let signer = signer().map_err(Unsettled::Other)?;
            if has_ended(&config, &world, signer.as_ref()).map_err(|error| Unsettled::Other(error.into()))? {
                return Ok(());
            }
        }
    }
    let signer = signer().map_err(Unsettled::Other)?;
    let settled = Log::open(config, world, signer).and_then(|(log, seats)| {
        drop(seats);
        log.shutdown()
    });
    match settled {
        // Somebody came in between, and settles it.
        Err(LogError::InUse(_)) => Err(Unsettled::InUse),
        settled => settled.map_err(|error| Unsettled::Other(error.into())),
    }
}

/// Whether its last word is that it stopped.
fn has_ended(config: &LogConfig, world: &Surroundings, signer: &dyn Signer) -> Result<bool, LogError> {
    let layout = Layout::new(&config.directory);
    let origin = describe(config, world, &layout)?;
    let mut keys = vec![(origin.to_string(), signer.verifying_key().clone())];
    keys.extend(config.previous_keys.iter().map(|key| (origin.to_string(), key.clone())));
    let found = recovery::examine(world.files.as_ref(), &layout, &origin, &keys)?;
    Ok(found.last_kind.as_deref() == Some("stop") && found.dropped_bytes == 0)
}
