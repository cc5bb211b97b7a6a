//! What the journal asks of a disk: few operations, each of which may fail, so that a test can stand in for the disk.

mod simulated;

pub use simulated::{DiskFaults, SimulatedDisk, SimulatedFile};

/// A directory of files with flat names. Real files are in the disk crate of the edge; [`SimulatedDisk`] is for tests.
pub trait Disk: std::fmt::Debug + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

    /// Makes a file that must not exist.
    ///
    /// # Errors
    /// [`DiskError`].
    fn create(&self, name: &str) -> Result<Self::File, DiskError>;

    /// Opens a file that exists.
    ///
    /// # Errors
    /// [`DiskError`]; [`DiskFault::NotFound`] if there is none.
    fn open(&self, name: &str) -> Result<Self::File, DiskError>;

    /// The names of all files, in any order.
    ///
    /// # Errors
    /// [`DiskError`].
    fn names(&self) -> Result<Vec<String>, DiskError>;

    /// Gives a file another name; one that has it already is replaced.
    ///
    /// # Errors
    /// [`DiskError`].
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file. Those who hold it open can read it until they close it.
    ///
    /// # Errors
    /// [`DiskError`].
    fn remove(&self, name: &str) -> Result<(), DiskError>;

    /// Returns when all that was created, renamed and removed before outlives a power cut.
    ///
    /// # Errors
    /// [`DiskError`].
    fn sync_names(&self) -> Result<(), DiskError>;
}

/// An open file.
pub trait DiskFile: std::fmt::Debug + Send + Sync + 'static {
    /// Writes all bytes from `offset` on.
    ///
    /// # Errors
    /// [`DiskError`]; some of the bytes may be written then.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Reads from `offset` on until `into` is full or the file ends, and says how much.
    ///
    /// # Errors
    /// [`DiskError`].
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError>;

    /// Length in bytes.
    ///
    /// # Errors
    /// [`DiskError`].
    fn length(&self) -> Result<u64, DiskError>;

    /// Returns when all that was written before outlives a power cut. After an error nothing is known about what was
    /// written since the last success, and asking again proves nothing.
    ///
    /// # Errors
    /// [`DiskError`].
    fn sync(&self) -> Result<(), DiskError>;
}

/// What kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// No room, or a quota.
    Full,
    /// The file system is read-only, or the process may not write.
    ReadOnly,
    /// There is no such file.
    NotFound,
    /// There is such a file already.
    Exists,
    /// The device failed.
    Device,
}

/// Why the disk did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {what} {name}: {detail}{}", remedy(*fault))]
pub struct DiskError {
    /// The kind.
    pub fault: DiskFault,
    /// What was tried, such as `write`.
    pub what: &'static str,
    /// The file.
    pub name: String,
    /// What the system said.
    pub detail: String,
}

fn remedy(fault: DiskFault) -> &'static str {
    match fault {
        DiskFault::Full => "; make room, the journal goes on by itself",
        DiskFault::ReadOnly => "; make the state directory writable",
        DiskFault::Device => "; look at the kernel's log for this device",
        DiskFault::NotFound | DiskFault::Exists => "",
    }
}

/// Writes a small file whole: under another name, synced, then renamed in place of `name`.
///
/// # Errors
/// [`DiskError`]; the file of that name is then the old one.
pub fn write_whole<D: Disk>(disk: &D, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let new = format!("{name}.new");
    match disk.remove(&new) {
        Ok(()) => {}
        Err(error) if error.fault == DiskFault::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = disk.create(&new)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    disk.rename(&new, name)?;
    disk.sync_names()
}

/// Reads a small file whole; `None` if there is none.
///
/// # Errors
/// [`DiskError`]; a file of more than `bytes_max` is a [`DiskFault::Device`] fault.
pub fn read_whole<D: Disk>(disk: &D, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, DiskError> {
    let file = match disk.open(name) {
        Ok(file) => file,
        Err(error) if error.fault == DiskFault::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.length()?;
    let size = usize::try_from(length).ok().filter(|_| length <= bytes_max).ok_or_else(|| DiskError {
        fault: DiskFault::Device,
        what: "read",
        name: name.to_owned(),
        detail: format!("{length} bytes are more than the {bytes_max} it can have"),
    })?;
    let mut bytes = vec![0; size];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}
