//! Messages between the supervisor and the core.

use std::path::PathBuf;

use crate::cursor::{Cursor, Malformed, put_bytes, put_path, put_text_cut};
use crate::key::FAULT_BYTES_MAX;
use crate::message::Message;

/// Longest configuration, in bytes.
const CONFIGURATION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A configuration as the supervisor read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// The text.
    pub text: String,
    /// The name of its file, for people.
    pub file: String,
    /// The directory from which its paths are meant.
    pub base: PathBuf,
}

/// Which listening socket a descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Of a listener.
    Listener {
        /// The listener's number in the configuration.
        listener: u16,
        /// The number of its `bind`.
        endpoint: u16,
        /// Whose it is.
        worker: u16,
        /// A service manager opened it and keeps it: its path is not ours to remove.
        inherited: bool,
    },
    /// Of the metrics.
    Metrics,
}

/// From the supervisor to the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// The configuration to start with.
    Start(Configuration),
    /// A listening socket, which comes with this message.
    Listen(Place),
    /// A key process to ask, whose socket comes with this message; with the faults of its files, empty when there are none.
    Keys {
        /// For people.
        faults: String,
    },
    /// A file that the configuration to come names, open for reading, with this message; or why it could not be opened, as a
    /// number of the system.
    File {
        /// As the configuration names it.
        path: PathBuf,
        /// 0 when the descriptor comes.
        errno: u16,
    },
    /// Nothing more comes before the start.
    Run,
    /// The key process ended and will be started again.
    KeysEnded {
        /// How, for people.
        cause: String,
        /// After how many milliseconds it is started again.
        again_ms: u64,
    },
    /// A process that connects out, whose socket comes with this message.
    Outward,
    /// The process that connects out ended and will be started again.
    OutwardEnded {
        /// How, for people.
        cause: String,
        /// After how many milliseconds it is started again.
        again_ms: u64,
    },
    /// The configuration to go on with.
    Reload(Configuration),
    /// The configuration could not be read for a reload.
    ReloadFailed(String),
    /// Stop, the second time at once. The name of the signal's number.
    Stop(u8),
}

impl Message for Task {
    const BYTES_MAX: usize = CONFIGURATION_BYTES_MAX + 16 * 1_024;

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Start(configuration) => {
                out.push(1);
                put_configuration(out, configuration);
            }
            Self::Listen(Place::Metrics) => out.extend_from_slice(&[2, 0]),
            Self::Listen(Place::Listener { listener, endpoint, worker, inherited }) => {
                out.extend_from_slice(&[2, if *inherited { 2 } else { 1 }]);
                for number in [listener, endpoint, worker] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
            Self::Keys { faults } => {
                out.push(3);
                put_text_cut(out, faults, FAULT_BYTES_MAX);
            }
            Self::Run => out.push(4),
            Self::KeysEnded { cause, again_ms } => {
                out.push(5);
                put_text_cut(out, cause, FAULT_BYTES_MAX);
                out.extend_from_slice(&again_ms.to_le_bytes());
            }
            Self::Reload(configuration) => {
                out.push(6);
                put_configuration(out, configuration);
            }
            Self::ReloadFailed(cause) => {
                out.push(7);
                put_text_cut(out, cause, FAULT_BYTES_MAX);
            }
            Self::Stop(signal) => out.extend_from_slice(&[8, *signal]),
            Self::File { path, errno } => {
                out.push(9);
                put_path(out, path);
                out.extend_from_slice(&errno.to_le_bytes());
            }
            Self::Outward => out.push(20),
            Self::OutwardEnded { cause, again_ms } => {
                out.push(21);
                put_text_cut(out, cause, FAULT_BYTES_MAX);
                out.extend_from_slice(&again_ms.to_le_bytes());
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let task = match cursor.u8()? {
            1 => Self::Start(configuration(&mut cursor)?),
            2 => Self::Listen(match cursor.u8()? {
                0 => Place::Metrics,
                whose @ (1 | 2) => Place::Listener {
                    listener: cursor.u16()?,
                    endpoint: cursor.u16()?,
                    worker: cursor.u16()?,
                    inherited: whose == 2,
                },
                _ => return Err(Malformed::Unknown),
            }),
            3 => Self::Keys { faults: cursor.text(FAULT_BYTES_MAX)? },
            4 => Self::Run,
            5 => Self::KeysEnded { cause: cursor.text(FAULT_BYTES_MAX)?, again_ms: cursor.u64()? },
            6 => Self::Reload(configuration(&mut cursor)?),
            7 => Self::ReloadFailed(cursor.text(FAULT_BYTES_MAX)?),
            8 => Self::Stop(cursor.u8()?),
            9 => Self::File { path: cursor.path()?, errno: cursor.u16()? },
            20 => Self::Outward,
            21 => Self::OutwardEnded { cause: cursor.text(FAULT_BYTES_MAX)?, again_ms: cursor.u64()? },
            _ => return Err(Malformed::Unknown),
        };
        cursor.end()?;
        Ok(task)
    }
}

fn put_configuration(out: &mut Vec<u8>, configuration: &Configuration) {
    put_bytes(out, configuration.text.as_bytes());
    put_text_cut(out, &configuration.file, FAULT_BYTES_MAX);
    put_path(out, &configuration.base);
}

fn configuration(cursor: &mut Cursor<'_>) -> Result<Configuration, Malformed> {
    Ok(Configuration {
        text: cursor.text(CONFIGURATION_BYTES_MAX)?,
        file: cursor.text(FAULT_BYTES_MAX)?,
        base: cursor.path()?,
    })
}

/// From the core to the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It serves.
    Ready,
    /// The key process does not answer and should be started anew.
    KeysSilent,
    /// The configuration of the last reload is in force.
    Reloaded,
    /// The process that connects out does not answer and should be started anew.
    OutwardSilent,
}

impl Message for Report {
    const BYTES_MAX: usize = 16;

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Ready => 1,
            Self::KeysSilent => 2,
            Self::Reloaded => 3,
            Self::OutwardSilent => 20,
        });
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let report = match cursor.u8()? {
            1 => Self::Ready,
            2 => Self::KeysSilent,
            3 => Self::Reloaded,
            20 => Self::OutwardSilent,
            _ => return Err(Malformed::Unknown),
        };
        cursor.end()?;
        Ok(report)
    }
}
