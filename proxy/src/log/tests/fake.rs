//! A disk that dies, fails and forgets when it is told to.
use crate::log::{FileOps, LogFile, Mapping};
use postern_audit::Files;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    io::{self, BufRead, Cursor, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

/// What happens to the calls that change something, counted from 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The process dies at this call, half-way through it: no later call does anything.
    DieAt(usize),
    /// Syncs fail from this call on, so many times.
    SyncFails { from: usize, times: usize },
    /// There is no room from this call on, until told otherwise.
    FullFrom(usize),
}

#[derive(Clone, Debug, Default)]
struct Contents {
    now: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, Contents>,
    maps: BTreeMap<PathBuf, Arc<Mapping>>,
    locked: BTreeSet<PathBuf>,
    fault: Fault,
    calls: usize,
    sync_failures: usize,
}

/// What is left of writes that were not synced when the power went.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unsynced {
    Lost,
    Half,
    Kept,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FakeDisk(Arc<Mutex<State>>);

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

impl State {
    /// Counts a call that changes something; `Err` when it must not happen, with what part of it does.
    fn change(&mut self) -> Result<(), (io::Error, bool)> {
        let call = self.calls;
        self.calls += 1;
        match self.fault {
            Fault::DieAt(at) if call >= at => Err((dead(), call == at)),
            Fault::FullFrom(from) if call >= from => Err((io::ErrorKind::StorageFull.into(), true)),
            Fault::None | Fault::DieAt(_) | Fault::SyncFails { .. } | Fault::FullFrom(_) => Ok(()),
        }
    }
}

impl State {
    /// Counts a call that needs no room.
    fn change_without_room(&mut self) -> io::Result<()> {
        match self.change() {
            Err((error, _)) if error.kind() != io::ErrorKind::StorageFull => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl FakeDisk {
    pub(super) fn with(fault: Fault) -> Self {
        let disk = Self::default();
        disk.state().fault = fault;
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn calls(&self) -> usize {
        self.state().calls
    }

    pub(super) fn set(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// The disk as the next process finds it: all that was written, and the rings.
    pub(super) fn after_process_death(&self) -> Self {
        let state = self.state();
        Self(Arc::new(Mutex::new(State {
            files: state.files.clone(),
            maps: state.maps.clone(),
            ..State::default()
        })))
    }

    /// The disk as the next process finds it when the power went: the rings are empty, and of what was not
    /// synced nothing, a part, or all is there.
    pub(super) fn after_power_loss(&self, unsynced: Unsynced) -> Self {
        let disk = self.after_process_death();
        let mut state = disk.state();
        for contents in state.files.values_mut() {
            let synced = contents.synced.len();
            let written = contents.now.len().max(synced);
            let kept = match unsynced {
                Unsynced::Lost => synced,
                Unsynced::Half => synced + (written - synced) / 2,
                Unsynced::Kept => written,
            };
            if contents.now.starts_with(&contents.synced) {
                contents.now.truncate(kept);
            } else {
                contents.now = contents.synced.clone();
            }
            contents.synced = contents.now.clone();
        }
        state.maps.clear();
        drop(state);
        disk
    }

    pub(super) fn edit(&self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        edit(&mut self.state().files.get_mut(path).unwrap().now);
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.state().files.keys().cloned().collect()
    }

    pub(super) fn forget(&self, path: &Path) {
        self.state().files.remove(path);
    }

    fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.state()
            .files
            .get(path)
            .map(|file| file.now.clone())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn put(&self, path: &Path, bytes: &[u8], synced: bool) -> io::Result<()> {
        let mut state = self.state();
        state.change().map_err(|(error, _)| error)?;
        let kept = if synced { bytes.to_vec() } else { Vec::new() };
        state.files.insert(path.to_owned(), Contents { now: bytes.to_vec(), synced: kept });
        Ok(())
    }
}

impl FileOps for FakeDisk {
    fn create_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let within = state.files.keys().chain(state.maps.keys()).filter(|file| file.parent() == Some(path));
        Ok(within.filter_map(|file| file.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.contents(path)?)))
    }

    fn append(&self, path: &Path) -> io::Result<(Box<dyn LogFile>, u64)> {
        let mut state = self.state();
        if !state.files.contains_key(path) {
            state.change().map_err(|(error, _)| error)?;
        }
        let length = state.files.entry(path.to_owned()).or_default().now.len() as u64;
        Ok((Box::new(FakeFile { disk: self.clone(), path: path.to_owned() }), length))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.put(path, bytes, true)
    }

    fn publish(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.put(path, bytes, false)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change_without_room()?;
        state.files.remove(path);
        state.maps.remove(path);
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, path: &Path, _: u64) -> io::Result<()> {
        self.put(path, b"ballast", true)
    }

    fn map_new(&self, path: &Path, bytes: usize) -> io::Result<Arc<Mapping>> {
        let mut state = self.state();
        state.change().map_err(|(error, _)| error)?;
        let mapping = Arc::new(Mapping::anonymous(bytes)?);
        state.maps.insert(path.to_owned(), mapping.clone());
        Ok(mapping)
    }

    fn map_existing(&self, path: &Path) -> io::Result<Arc<Mapping>> {
        self.state().maps.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Debug + Send>> {
        let free = self.state().locked.insert(path.to_owned());
        if free {
            Ok(Box::new(FakeLock { disk: self.clone(), path: path.to_owned() }))
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }
}

#[derive(Debug)]
struct FakeLock {
    disk: FakeDisk,
    path: PathBuf,
}

impl Drop for FakeLock {
    fn drop(&mut self) {
        self.disk.state().locked.remove(&self.path);
    }
}

#[derive(Debug)]
struct FakeFile {
    disk: FakeDisk,
    path: PathBuf,
}

impl LogFile for FakeFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let changed = state.change();
        let file = state.files.entry(self.path.clone()).or_default();
        match changed {
            Ok(()) => file.now.extend_from_slice(bytes),
            Err((error, half)) => {
                if half {
                    file.now.extend_from_slice(&bytes[..bytes.len() / 2]);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        let call = state.calls;
        state.change_without_room()?;
        if let Fault::SyncFails { from, times } = state.fault
            && call >= from
            && state.sync_failures < times
        {
            state.sync_failures += 1;
            return Err(io::Error::other("input/output error"));
        }
        let file = state.files.entry(self.path.clone()).or_default();
        file.synced = file.now.clone();
        Ok(())
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.change_without_room()?;
        let file = state.files.entry(self.path.clone()).or_default();
        file.now.truncate(usize::try_from(bytes).unwrap());
        Ok(())
    }
}

/// The log of a fake disk as the verifier reads it.
pub(super) struct FakeFiles<'d>(pub(super) &'d FakeDisk, pub(super) &'d Path);

impl Files for FakeFiles<'_> {
    fn segments(&self) -> io::Result<Vec<u64>> {
        let names = self.0.list(&self.1.join("seg"))?;
        let mut segments: Vec<u64> =
            names.iter().filter_map(|name| name.strip_suffix(".jsonl")?.parse().ok()).collect();
        segments.sort_unstable();
        Ok(segments)
    }

    fn records(&self, first: u64) -> io::Result<Box<dyn BufRead + '_>> {
        Ok(Box::new(Cursor::new(self.0.contents(&self.1.join(format!("seg/{first:020}.jsonl")))?)))
    }

    fn leaf_hashes(&self, first: u64) -> io::Result<Option<Box<dyn Read + '_>>> {
        let contents = self.0.contents(&self.1.join(format!("seg/{first:020}.lh")));
        Ok(contents.ok().map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Read>))
    }

    fn checkpoints(&self) -> io::Result<Box<dyn BufRead + '_>> {
        Ok(Box::new(Cursor::new(self.0.contents(&self.1.join("checkpoints.log"))?)))
    }
}
