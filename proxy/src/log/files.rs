//! Every file call of the log, behind one trait: so that tests can lose what was not synced, and fail the
//! n-th call.
use super::mapping::Mapping;
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
};

/// Only the sidecar's user reads the log.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// The file calls of the log. Paths are whole.
pub trait FileOps: Debug + Send + Sync {
    /// Makes a directory and its parents; it may exist.
    ///
    /// # Errors
    /// As the system says.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in any order.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Opens a file for reading from its beginning.
    ///
    /// # Errors
    /// As the system says; `NotFound` when there is none.
    fn read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;
    /// Opens a file for appending, creating it when it is absent, and gives its length.
    ///
    /// # Errors
    /// As the system says.
    fn append(&self, path: &Path) -> io::Result<(Box<dyn LogFile>, u64)>;
    /// Puts a whole file in place of another by renaming; durable but for its name.
    ///
    /// # Errors
    /// As the system says.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// The same without a sync: for what can be derived again, and changes often.
    ///
    /// # Errors
    /// As the system says.
    fn publish(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Removes a file; it may be absent.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Allocates a file of `bytes`.
    ///
    /// # Errors
    /// As the system says; `StorageFull` when there is no room.
    fn allocate(&self, path: &Path, bytes: u64) -> io::Result<()>;
    /// Makes a file of `bytes` anew, allocates and maps it.
    ///
    /// # Errors
    /// As the system says.
    fn map_new(&self, path: &Path, bytes: usize) -> io::Result<Arc<Mapping>>;
    /// Maps the whole of a file.
    ///
    /// # Errors
    /// As the system says.
    fn map_existing(&self, path: &Path) -> io::Result<Arc<Mapping>>;
    /// Takes the lock of a directory for as long as the value lives.
    ///
    /// # Errors
    /// `WouldBlock` when another process has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Debug + Send>>;
}

/// A file that grows at its end.
pub trait LogFile: Debug + Send {
    /// Writes all of `bytes` at the end. On an error, any part of them may have been written.
    ///
    /// # Errors
    /// As the system says.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was appended durable. After an error, nothing may be concluded about what is on disk, and the
    /// call must not be repeated: the system forgets what it failed to write.
    ///
    /// # Errors
    /// As the system says.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `bytes`.
    ///
    /// # Errors
    /// As the system says.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
}

/// The real disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

fn writable() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(FILE_MODE);
    options
}

impl FileOps for Disk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<(Box<dyn LogFile>, u64)> {
        let file = writable().append(true).open(path)?;
        let length = file.metadata()?.len();
        Ok((Box::new(file), length))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("new");
        let mut file = writable().truncate(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&temporary, path)
    }

    fn publish(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("new");
        writable().truncate(true).open(&temporary)?.write_all(bytes)?;
        fs::rename(&temporary, path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn allocate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = writable().truncate(false).open(path)?;
        Ok(fallocate(&file, FallocateFlags::empty(), 0, bytes)?)
    }

    fn map_new(&self, path: &Path, bytes: usize) -> io::Result<Arc<Mapping>> {
        self.remove(path)?;
        let file = writable().read(true).create_new(true).open(path)?;
        Ok(Arc::new(Mapping::file(&file, bytes)?))
    }

    fn map_existing(&self, path: &Path) -> io::Result<Arc<Mapping>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        Ok(Arc::new(Mapping::file(&file, bytes)?))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Debug + Send>> {
        let file = writable().truncate(false).open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }
}

impl LogFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }
}
