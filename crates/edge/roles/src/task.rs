//! Messages between the supervisor and the core.

use std::path::PathBuf;

use crate::control::{Field, StepUp};
use crate::cursor::{Cursor, Malformed, put_bytes, put_path, put_text_cut};
use crate::key::FAULT_BYTES_MAX;
use crate::message::Message;

/// Longest configuration, in bytes.
const CONFIGURATION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest text of faults that the core reports.
const REPORTED_FAULT_BYTES_MAX: usize = 60 * 1_024;

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
    Reload {
        /// The report of how it went bears the same number.
        number: u64,
        /// Who wants it.
        by: Asker,
        /// As whom, by his own word.
        step_up: Option<StepUp>,
        /// What to go on with.
        configuration: Configuration,
    },
    /// The configuration could not be read for a reload.
    ReloadFailed {
        /// The report bears the same number.
        number: u64,
        /// Who wanted it.
        by: Asker,
        /// Why not, for people.
        cause: String,
    },
    /// Stop, the second time at once.
    Stop(Asker),
    /// An admin process is at the other end of the socket that comes with this message.
    Admin {
        /// The control socket, for people.
        socket: String,
    },
    /// The admin process ended and will be started again.
    AdminEnded {
        /// How, for people.
        cause: String,
        /// After how many milliseconds it is started again.
        again_ms: u64,
    },
}

/// Who wants something of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Whoever sent this signal.
    Signal(u8),
    /// An operator on the control socket, by the number of the user.
    Operator(u32),
}

impl Message for Task {
    const BYTES_MAX: usize = CONFIGURATION_BYTES_MAX + 96 * 1_024;

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
            Self::Reload { number, by, step_up, configuration } => {
                out.push(6);
                out.extend_from_slice(&number.to_le_bytes());
                put_asker(out, *by);
                step_up.put(out);
                put_configuration(out, configuration);
            }
            Self::ReloadFailed { number, by, cause } => {
                out.push(7);
                out.extend_from_slice(&number.to_le_bytes());
                put_asker(out, *by);
                put_text_cut(out, cause, FAULT_BYTES_MAX);
            }
            Self::Stop(by) => {
                out.push(8);
                put_asker(out, *by);
            }
            Self::Admin { socket } => {
                out.push(10);
                put_text_cut(out, socket, FAULT_BYTES_MAX);
            }
            Self::AdminEnded { cause, again_ms } => {
                out.push(11);
                put_text_cut(out, cause, FAULT_BYTES_MAX);
                out.extend_from_slice(&again_ms.to_le_bytes());
            }
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
            6 => Self::Reload {
                number: cursor.u64()?,
                by: asker(&mut cursor)?,
                step_up: Field::take(&mut cursor)?,
                configuration: configuration(&mut cursor)?,
            },
            7 => Self::ReloadFailed {
                number: cursor.u64()?,
                by: asker(&mut cursor)?,
                cause: cursor.text(FAULT_BYTES_MAX)?,
            },
            8 => Self::Stop(asker(&mut cursor)?),
            10 => Self::Admin { socket: cursor.text(FAULT_BYTES_MAX)? },
            11 => Self::AdminEnded { cause: cursor.text(FAULT_BYTES_MAX)?, again_ms: cursor.u64()? },
            9 => Self::File { path: cursor.path()?, errno: cursor.u16()? },
            20 => Self::Outward,
            21 => Self::OutwardEnded { cause: cursor.text(FAULT_BYTES_MAX)?, again_ms: cursor.u64()? },
            _ => return Err(Malformed::Unknown),
        };
        cursor.end()?;
        Ok(task)
    }
}

fn put_asker(out: &mut Vec<u8>, asker: Asker) {
    match asker {
        Asker::Signal(signal) => out.extend_from_slice(&[0, signal]),
        Asker::Operator(uid) => {
            out.push(1);
            out.extend_from_slice(&uid.to_le_bytes());
        }
    }
}

fn asker(cursor: &mut Cursor<'_>) -> Result<Asker, Malformed> {
    match cursor.u8()? {
        0 => cursor.u8().map(Asker::Signal),
        1 => cursor.u32().map(Asker::Operator),
        _ => Err(Malformed::Unknown),
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It serves.
    Ready,
    /// The key process does not answer and should be started anew.
    KeysSilent,
    /// A reload is over.
    Reloaded {
        /// Its number.
        number: u64,
        /// Why it was refused, for people; `None`: its configuration is in force.
        fault: Option<String>,
    },
    /// The admin process speaks nonsense and should be started anew.
    AdminSilent,
    /// The process that connects out does not answer and should be started anew.
    OutwardSilent,
}

impl Message for Report {
    const BYTES_MAX: usize = REPORTED_FAULT_BYTES_MAX + 32;

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ready => out.push(1),
            Self::KeysSilent => out.push(2),
            Self::Reloaded { number, fault } => {
                out.push(3);
                out.extend_from_slice(&number.to_le_bytes());
                out.push(u8::from(fault.is_some()));
                if let Some(fault) = fault {
                    put_text_cut(out, fault, REPORTED_FAULT_BYTES_MAX);
                }
            }
            Self::AdminSilent => out.push(4),
            Self::OutwardSilent => out.push(20),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let report = match cursor.u8()? {
            1 => Self::Ready,
            2 => Self::KeysSilent,
            3 => Self::Reloaded {
                number: cursor.u64()?,
                fault: match cursor.u8()? {
                    0 => None,
                    1 => Some(cursor.text(REPORTED_FAULT_BYTES_MAX)?),
                    _ => return Err(Malformed::Unknown),
                },
            },
            4 => Self::AdminSilent,
            20 => Self::OutwardSilent,
            _ => return Err(Malformed::Unknown),
        };
        cursor.end()?;
        Ok(report)
    }
}
