//! Reading what the kernel tells about a process under `/proc`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use rustix::process::{DumpableBehavior, dumpable_behavior};

use crate::error::ConfineError;
use crate::in_force::{Capabilities, InForce, Landlock, Limit, SeccompMode};

/// The most that is read of one file, in bytes. `status` has about 1.5 KiB, and long lists of groups beyond what matters.
const BYTES_MAX: usize = 64 * 1024;
/// Limits in the report, as `/proc/PID/limits` names them.
const LIMITS: [&str; 6] = [
    "Max core file size",
    "Max processes",
    "Max open files",
    "Max msgqueue size",
    "Max nice priority",
    "Max realtime priority",
];

/// The open files that tell about a process. Opened before Landlock closes `/proc`, they tell what is in force
/// whenever they are read again.
pub(crate) struct Gauge {
    process: u32,
    is_self: bool,
    status: Source,
    limits: Source,
    label: Option<Source>,
    owner: u32,
    started: u64,
}

/// An open file with its name for errors.
struct Source {
    path: PathBuf,
    file: File,
}

impl Source {
    fn open(path: PathBuf) -> Result<Self, ConfineError> {
        match File::open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(ConfineError::Unreadable { path, source }),
        }
    }

    /// The text as it is now: the kernel writes it anew for a read at 0.
    fn text(&self) -> Result<String, ConfineError> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        while bytes.len() < BYTES_MAX {
            let read = self.file.read_at(&mut chunk, bytes.len() as u64);
            let read = read.map_err(|source| ConfineError::Unreadable { path: self.path.clone(), source })?;
            match chunk.get(..read) {
                None | Some([]) => break,
                Some(more) => bytes.extend_from_slice(more),
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Gauge {
    /// For the calling process.
    ///
    /// # Errors
    /// [`ConfineError::Unreadable`] without `/proc`.
    pub(crate) fn of_self() -> Result<Self, ConfineError> {
        Self::new(std::process::id(), true)
    }

    /// For any process.
    ///
    /// # Errors
    /// [`ConfineError::Unreadable`] when it is gone or hidden.
    pub(crate) fn of(process: u32) -> Result<Self, ConfineError> {
        Self::new(process, process == std::process::id())
    }

    fn new(process: u32, is_self: bool) -> Result<Self, ConfineError> {
        let folder = PathBuf::from(format!("/proc/{process}"));
        let path = folder.join("status");
        // The folder is always the user's; the files in it are root's when the process is not dumpable.
        let owner = match fs::metadata(&path) {
            Ok(metadata) => metadata.uid(),
            Err(source) => return Err(ConfineError::Unreadable { path, source }),
        };
        Ok(Self {
            process,
            is_self,
            status: Source::open(folder.join("status"))?,
            limits: Source::open(folder.join("limits"))?,
            label: Source::open(folder.join("attr/current")).ok(),
            owner,
            started: started(&Source::open(folder.join("stat"))?)?,
        })
    }

    /// What the files say now. Role, mode and Landlock are left for the caller.
    ///
    /// # Errors
    /// [`ConfineError::Unreadable`] when the process is gone, or a line that must be there is not.
    pub(crate) fn read(&self) -> Result<InForce, ConfineError> {
        let status = self.status.text()?;
        let value = |name: &str| {
            field(&status, name).ok_or_else(|| ConfineError::Unreadable {
                path: self.status.path.clone(),
                source: io::Error::new(io::ErrorKind::InvalidData, format!("it has no line {name}")),
            })
        };
        let set = |name: &str| value(name).map(|text| u64::from_str_radix(text, 16).unwrap_or(u64::MAX));
        let user = value("Uid")?.split_whitespace().nth(1).and_then(|uid| uid.parse().ok());
        Ok(InForce {
            process: self.process,
            started: self.started,
            role: None,
            mode: None,
            denied: None,
            threads: value("Threads")?.parse().unwrap_or(0),
            no_new_privileges: value("NoNewPrivs")? == "1",
            dumpable: self.dumpable(user),
            // A kernel without seccomp has no such line.
            seccomp: match field(&status, "Seccomp") {
                Some("2") => SeccompMode::Filter,
                Some("1") => SeccompMode::Strict,
                Some(_) | None => SeccompMode::Off,
            },
            seccomp_filters: field(&status, "Seccomp_filters").and_then(|count| count.parse().ok()),
            capabilities: Capabilities {
                effective: set("CapEff")?,
                permitted: set("CapPrm")?,
                inheritable: set("CapInh")?,
                bounding: set("CapBnd")?,
                ambient: set("CapAmb")?,
                kept: 0,
            },
            limits: limits(&self.limits.text()?),
            landlock: Landlock::default(),
            label: self.label(),
            missing: Vec::new(),
        })
    }

    fn dumpable(&self, user: Option<u32>) -> Option<bool> {
        if self.is_self {
            return dumpable_behavior().ok().map(|now| now == DumpableBehavior::Dumpable);
        }
        // The files of a process that is not dumpable belong to root, whoever runs it.
        match user {
            None | Some(0) => None,
            Some(user) => Some(self.owner == user),
        }
    }

    fn label(&self) -> Option<String> {
        let text = self.label.as_ref()?.text().ok()?;
        let text = text.trim_end_matches(['\0', '\n']);
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// The 22nd field of `/proc/PID/stat`. The second is the name in parentheses, which may hold anything.
fn started(stat: &Source) -> Result<u64, ConfineError> {
    let text = stat.text()?;
    let after = text.rsplit_once(')').map_or("", |(_, after)| after);
    let started = after.split_whitespace().nth(19).and_then(|field| field.parse().ok());
    started.ok_or_else(|| ConfineError::Unreadable {
        path: stat.path.clone(),
        source: io::Error::new(io::ErrorKind::InvalidData, "it has no time of start"),
    })
}

/// The value of a line `Name:\tvalue`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn limits(text: &str) -> Vec<Limit> {
    let found = LIMITS.iter().filter_map(|name| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        let mut words = rest.split_whitespace();
        let soft = words.next()?.parse().ok();
        let hard = words.next()?.parse().ok();
        Some(Limit { name: (*name).to_owned(), soft, hard })
    });
    found.collect()
}
