//! Applies rules so that a mistake undoes itself: what is not confirmed in time is taken back.

use super::backend::{Backend, Rules};
use super::state::{self, Applied, Folder, Pending, State, StateError};
use super::timer;
use super::tool::ToolError;
use crate::clock::Clock;
use std::path::Path;
use std::time::Duration;
use thiserror::Error;

/// How rules are put in force.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long they stay unless confirmed. `None`: for good.
    pub confirm_within: Option<Duration>,
    /// Whether rules of ours that are in force may give way to them.
    pub replace: bool,
}

/// What became of rules that were to be put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enabled {
    /// They are in force.
    Now,
    /// They were before, and now they stay: nothing undoes them any more.
    Kept,
    /// They were before: nothing has changed, and neither has the time at which they are undone.
    Already,
}

/// Why nothing was done.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A tool refuses.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// It failed, and it is not as it was before either.
    #[error(
        "{error}; and what was in force before could not be put back: {then}; `postern capture disable` takes away what is left"
    )]
    Half {
        /// Why it was not applied.
        error: Box<KeeperError>,
        /// Why it was not put back.
        then: Box<KeeperError>,
    },
    /// Others were in force, and they are not written down.
    #[error("nobody has written down which rules those were")]
    Unknown,
    /// Others are in force.
    #[error(
        "other rules of ours are in force already ({0}): `--replace` puts these in their place, `postern capture disable` takes them away"
    )]
    InForce(&'static str),
    /// A change before this one is not confirmed.
    #[error(
        "rules that were applied before wait to be confirmed: `postern capture confirm` keeps them, `postern capture disable` takes them away"
    )]
    Waiting,
    /// It is about another network namespace.
    #[error("`{0}` is about another network namespace: name another `--state-dir`, one for each")]
    Elsewhere(String),
    /// Nobody would undo it.
    #[error(
        "the process that undoes the rules cannot be started ({0}), so nothing was applied: `--permanent` applies them without one"
    )]
    Timer(String),
    /// A timer was started for a change that is not there.
    #[error("`{0}` has no change of this id that waits to be confirmed")]
    NotWanted(String),
    /// There is nothing to confirm.
    #[error("there is nothing to confirm: {0}")]
    Nothing(&'static str),
}

/// What is in force, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// No rules of ours.
    Off,
    /// Rules of ours.
    On {
        /// For which tools.
        backend: Backend,
        /// Whether they are those that were applied last.
        as_applied: bool,
        /// What was applied last.
        applied: Option<Rules>,
        /// When they are undone unless confirmed, in seconds since the Unix epoch, and whether the process lives that
        /// would do it.
        pending: Option<(u64, bool)>,
        /// Why they should have been undone and were not.
        undo_error: Option<String>,
    },
}

/// Puts rules in force.
///
/// # Errors
/// When they are not; it is then as it was before, but for [`KeeperError::Half`].
pub fn enable(
    path: &Path,
    rules: &Rules,
    options: Options,
    clock: &dyn Clock,
) -> Result<Enabled, KeeperError> {
    let folder = Folder::open(path)?;
    let (namespace, before) = known(&folder)?;
    let live = live()?;
    let as_applied = before.as_ref().is_some_and(|before| is_as_applied(&before.applied, &live));
    if let Some(before) = before.as_ref().filter(|before| as_applied && before.applied.rules == *rules) {
        let has_end = before.pending.is_some() || before.undo_error.is_some();
        if options.confirm_within.is_some() || !has_end {
            return Ok(Enabled::Already);
        }
        keep(&folder, before.clone())?;
        return Ok(Enabled::Kept);
    }
    if before.as_ref().is_some_and(|before| before.pending.is_some()) {
        return Err(KeeperError::Waiting);
    }
    if let Some((backend, _)) = live.first().filter(|_| !options.replace) {
        return Err(KeeperError::InForce(backend.as_str()));
    }
    let mut state = State::new(namespace, Applied { rules: rules.clone(), listing: String::new() });
    state.previous = before.as_ref().filter(|_| as_applied).map(|before| before.applied.clone());
    if let Some(within) = options.confirm_within {
        let id = format!("{}-{}", clock.unix_ns(), std::process::id());
        let undone_at = Duration::from_nanos(clock.unix_ns()).saturating_add(within).as_secs();
        state.pending = Some(Pending { id: id.clone(), undone_at });
        // Written down and armed before anything is applied: whatever ends this process, it is undone.
        folder.write(&state)?;
        if let Err(error) = timer::start(&folder, &id, within) {
            remember(&folder, before.as_ref())?;
            return Err(error);
        }
    }
    // Rules that nobody here knows cannot be put back.
    let known = live.is_empty() || as_applied;
    let (error, then) = match apply(rules, &live).and_then(|()| rules.backend.listing()) {
        Ok(listing) => {
            state.applied.listing = listing;
            let Err(error) = folder.write(&state) else { return Ok(Enabled::Now) };
            let gone = || remember(&folder, None).and(Err(KeeperError::Unknown));
            (error.into(), if known { put_back(&folder, &state) } else { gone() })
        }
        // Most tools have then left everything as it was.
        Err(error) => (error.into(), if known { put_back(&folder, &state) } else { remember(&folder, None) }),
    };
    Err(match then {
        Ok(()) => error,
        Err(then) => KeeperError::Half { error: Box::new(error), then: Box::new(then) },
    })
}

/// Keeps what is in force: nothing undoes it any more.
///
/// # Errors
/// When nothing waits to be confirmed.
pub fn confirm(path: &Path) -> Result<(), KeeperError> {
    let folder = Folder::open(path)?;
    let (_, state) = known(&folder)?;
    let Some(state) = state else {
        return Err(KeeperError::Nothing("no rules were applied, or they were undone already"));
    };
    if !is_as_applied(&state.applied, &live()?) {
        return Err(KeeperError::Nothing("the rules in force are not those that were applied"));
    }
    keep(&folder, state)
}

fn keep(folder: &Folder, state: State) -> Result<(), KeeperError> {
    Ok(folder.write(&State { pending: None, undo_error: None, ..state })?)
}

/// Takes our rules away, whoever applied them and with which tool; gives whether there were any.
///
/// # Errors
/// When some may be left.
pub fn disable(path: &Path) -> Result<bool, KeeperError> {
    let folder = Folder::open(path)?;
    // A state that cannot be read goes with the rest; one about another place stays.
    match known(&folder) {
        Ok(_) | Err(KeeperError::State(StateError::Broken { .. })) => {}
        Err(error) => return Err(error),
    }
    let removed = remove_all()?;
    folder.forget()?;
    Ok(removed)
}

/// What is in force.
///
/// # Errors
/// When that cannot be told.
pub fn status(path: &Path) -> Result<Status, KeeperError> {
    // Nobody changes anything between the looks at the one and at the other.
    let folder = path.exists().then(|| Folder::open(path)).transpose()?;
    let state = folder.as_ref().map(Folder::read).transpose()?.flatten();
    let namespace = state::namespace()?;
    let state = state.filter(|state| state.namespace == namespace);
    let live = live()?;
    let Some((backend, _)) = live.first() else { return Ok(Status::Off) };
    let as_applied = state.as_ref().is_some_and(|state| is_as_applied(&state.applied, &live));
    let pending = state.as_ref().and_then(|state| state.pending.as_ref());
    Ok(Status::On {
        backend: *backend,
        as_applied,
        applied: state.as_ref().map(|state| state.applied.rules.clone()),
        pending: pending.map(|pending| (pending.undone_at, timer::is_alive(path))),
        undo_error: state.as_ref().and_then(|state| state.undo_error.clone()),
    })
}

/// Undoes the change of this id, if it still waits to be confirmed.
pub(super) fn undo(folder: &Folder, id: &str) -> Result<(), KeeperError> {
    let (_, state) = known(folder)?;
    let Some(state) = state.filter(|state| state.pending.as_ref().is_some_and(|it| it.id == id)) else {
        return Ok(());
    };
    put_back(folder, &state)
}

/// Puts in force what was before these, or nothing, and remembers that.
fn put_back(folder: &Folder, state: &State) -> Result<(), KeeperError> {
    let Some(previous) = &state.previous else {
        remove_all()?;
        return remember(folder, None);
    };
    apply(&previous.rules, &live()?)?;
    let listing = previous.rules.backend.listing()?;
    let restored = State::new(state.namespace, Applied { rules: previous.rules.clone(), listing });
    // What stopped us may have been that nothing can be written: it need not be where it was never forgotten.
    let written = folder.read().ok().flatten();
    if written.is_some_and(|state| state.pending.is_none() && state.applied == restored.applied) {
        return Ok(());
    }
    remember(folder, Some(&restored))
}

fn remember(folder: &Folder, state: Option<&State>) -> Result<(), KeeperError> {
    match state {
        Some(state) => folder.write(state)?,
        None => folder.forget()?,
    }
    Ok(())
}

/// The state, which is about this network namespace, and which one that is.
fn known(folder: &Folder) -> Result<(u64, Option<State>), KeeperError> {
    let namespace = state::namespace()?;
    let state = folder.read()?;
    if state.as_ref().is_some_and(|state| state.namespace != namespace) {
        return Err(KeeperError::Elsewhere(folder.path().display().to_string()));
    }
    Ok((namespace, state))
}

/// Our rules that are in force, by the tools that list them.
fn live() -> Result<Vec<(Backend, String)>, KeeperError> {
    let mut live = Vec::new();
    for backend in Backend::distinct() {
        let listing = backend.listing()?;
        if !listing.is_empty() {
            live.push((backend, listing));
        }
    }
    Ok(live)
}

fn is_as_applied(applied: &Applied, live: &[(Backend, String)]) -> bool {
    matches!(live, [(backend, listing)] if *backend == applied.rules.backend && *listing == applied.listing)
}

/// Rules that other tools list go once the new ones stand.
fn apply(rules: &Rules, live: &[(Backend, String)]) -> Result<(), ToolError> {
    let is_own = |(backend, _): &&(Backend, String)| *backend == rules.backend;
    rules.apply(live.iter().any(|entry| is_own(&entry)))?;
    live.iter().filter(|entry| !is_own(entry)).try_for_each(|(backend, _)| backend.remove().map(drop))
}

/// Every tool is asked, also when another one fails.
fn remove_all() -> Result<bool, KeeperError> {
    let mut removed = Ok(false);
    for backend in Backend::distinct() {
        match (backend.remove(), &mut removed) {
            (Ok(was), Ok(removed)) => *removed |= was,
            (Ok(_), Err(_)) => {}
            (Err(error), removed) => *removed = Err(error),
        }
    }
    Ok(removed?)
}
