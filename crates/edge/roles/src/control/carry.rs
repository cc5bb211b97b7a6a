//! How requests and answers travel: the first words on the control socket, and the messages of the admin process with the
//! core and with the supervisor. Each direction has its type.

use super::answer::{ANSWER_BYTES_MAX, CoreAnswer, SupervisorAnswer};
use super::field::{Exactly, Field, choice, message, record};
use super::request::{CoreRequest, REQUEST_BYTES_MAX, SupervisorRequest};
use super::step_up::StepUp;
use crate::cursor::{Cursor, Malformed};
use crate::message::Message;

/// Begins what is said on a control socket.
const MAGIC: [u8; 8] = *b"MOTTECTL";

/// The first message of each side on the control socket. Its form is the same in all versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// [`CONTROL_VERSION`](super::CONTROL_VERSION) of the sender.
    pub version: u16,
    /// The sender's version of motte.
    pub motte: String,
}

impl Greeting {
    /// Of this file.
    pub fn own() -> Self {
        Self { version: super::CONTROL_VERSION, motte: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

impl Message for Greeting {
    const BYTES_MAX: usize = 128;

    fn encode(&self, out: &mut Vec<u8>) {
        Exactly(MAGIC).put(out);
        self.version.put(out);
        self.motte.put(out);
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        if Exactly::take(&mut cursor)? != Exactly(MAGIC) {
            return Err(Malformed::Unknown);
        }
        let greeting = Self { version: u16::take(&mut cursor)?, motte: String::take(&mut cursor)? };
        cursor.end()?;
        Ok(greeting)
    }
}

record! {
    /// Who asks.
    pub struct Operator {
        /// The user, as the kernel says.
        uid: u32,
        /// As whom, by his own word until the core has looked at the code.
        step_up: Option<StepUp>,
    }
}

record! {
    /// Who may ask. Root may always.
    pub struct Admitted {
        /// The user of the broker.
        uid: u32,
        /// The group that may ask, by its number.
        gid: Option<u32>,
        /// Users of that group, as the system named them at the start.
        members: Vec<u32>,
    }
}

impl Admitted {
    /// Whether a peer with this user and group may ask.
    pub fn admits(&self, uid: u32, gid: u32) -> bool {
        uid == 0 || uid == self.uid || self.gid == Some(gid) || self.members.contains(&uid)
    }
}

choice! {
    /// From the supervisor to the admin process.
    pub enum AdminOrder {
        /// Take requests on the listening socket that comes with this message.
        1 => Listen {
            /// Who may ask.
            admitted: Admitted,
        },
        /// The core is at the other end of the socket that comes with this message. Nothing more comes before the start.
        2 => Core,
        /// The answer to a question of yours.
        3 => Reply {
            /// Its number.
            id: u64,
            /// The answer.
            answer: SupervisorAnswer,
        },
    }
}
message!(AdminOrder, ANSWER_BYTES_MAX + 16);

choice! {
    /// From the admin process to the supervisor.
    pub enum AdminAsks {
        /// An operator asks.
        1 => Request {
            /// The reply bears the same number.
            id: u64,
            /// Who.
            operator: Operator,
            /// What.
            request: SupervisorRequest,
        },
    }
}
message!(AdminAsks, REQUEST_BYTES_MAX);

choice! {
    /// From the admin process to the core.
    pub enum AdminSays {
        /// An operator asks.
        1 => Request {
            /// The reply bears the same number.
            id: u64,
            /// Who.
            operator: Operator,
            /// What.
            request: CoreRequest,
        },
        /// Somebody was turned away.
        2 => TurnedAway {
            /// The peer's user.
            uid: u32,
            /// Why, for people.
            cause: String,
        },
    }
}
message!(AdminSays, REQUEST_BYTES_MAX + 64);

record! {
    /// From the core to the admin process.
    pub struct CoreReply {
        /// Number of the request.
        id: u64,
        /// The answer.
        answer: CoreAnswer,
    }
}
message!(CoreReply, ANSWER_BYTES_MAX + 16);
