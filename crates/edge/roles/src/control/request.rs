//! What can be asked. A request has a number that is never used for another one.

use super::field::{choice, message};
use super::step_up::StepUp;

/// Clients on one page, at most.
pub const CLIENTS_PAGE_MAX: u16 = 500;
/// Bans on one page, at most.
pub const BANS_PAGE_MAX: u16 = 500;
/// Longest request.
pub(super) const REQUEST_BYTES_MAX: usize = 160 * 1_024;

choice! {
    /// What an operator asks on the control socket.
    pub enum ControlRequest {
        /// Something that the core answers.
        1 => Core {
            /// What.
            request: CoreRequest,
            /// As whom, where a second factor is asked for.
            step_up: Option<StepUp>,
        },
        /// Something that the supervisor answers.
        2 => Supervisor {
            /// What.
            request: SupervisorRequest,
            /// As whom, where a second factor is asked for.
            step_up: Option<StepUp>,
        },
    }
}
message!(ControlRequest, REQUEST_BYTES_MAX);

choice! {
    /// What the core is asked. It changes nothing of its own accord but what the request names.
    pub enum CoreRequest {
        /// How it is. Answered by [`CoreAnswer::Status`](super::CoreAnswer::Status).
        1 => Status,
        /// Sessions and clients, a page of them, by Client Identifier. Answered by
        /// [`CoreAnswer::Clients`](super::CoreAnswer::Clients).
        2 => Clients {
            /// The last Client Identifier of the page before; `None` for the first page.
            after: Option<String>,
            /// Only those that are connected.
            connected: bool,
            /// At most so many, and at most [`CLIENTS_PAGE_MAX`].
            most: u16,
        },
        /// One of them, with its subscriptions. Answered by [`CoreAnswer::Client`](super::CoreAnswer::Client).
        3 => Client {
            /// Its Client Identifier.
            client_id: String,
        },
        /// Ends a client's connection; its Session stays as it would if it had left by itself. Answered by
        /// [`CoreAnswer::Done`](super::CoreAnswer::Done).
        4 => Disconnect {
            /// Its Client Identifier.
            client_id: String,
        },
        /// Bans, a page of them, those that end first in front. Answered by [`CoreAnswer::Bans`](super::CoreAnswer::Bans).
        20 => Bans {
            /// How many to leave out.
            from: u32,
        },
        /// Turns somebody away for a time. Answered by [`CoreAnswer::Done`](super::CoreAnswer::Done).
        21 => Ban {
            /// An address, a network, `identity:NAME` or `client-id:ID`.
            subject: String,
            /// Why.
            cause: String,
            /// For how long, in seconds, at most 30 days.
            for_s: u64,
        },
        /// What opens the vault, its keys, and the work on them. Answered by [`CoreAnswer::Vault`](super::CoreAnswer::Vault).
        60 => Vault,
        /// Gives everything that is kept new data keys, beside the traffic. Answered by [`CoreAnswer::Done`](super::CoreAnswer::Done) once it
        /// has begun; [`Self::Vault`] tells how far it is.
        61 => RotateDataKeys {
            /// Former keys stay in the vault.
            keep_old: bool,
        },
        /// Ends the Sessions of a device, removes what is kept of it and destroys the keys that sealed it. Answered as
        /// [`Self::RotateDataKeys`].
        62 => Shred {
            /// Its identity.
            device: String,
        },
        /// Other ways to open the vault from now on. Answered by [`CoreAnswer::Done`](super::CoreAnswer::Done).
        63 => VaultSlots {
            /// The slots, in hexadecimal digits.
            slots: String,
            /// That whoever made them has opened this vault, in hexadecimal digits: its proof of [`slots_said`].
            proof: String,
        },
        /// Begins an exchange of slots: what [`Self::VaultSlots`] proves from now on is said of a fresh number, so that nothing
        /// that was said before holds. Answered by [`CoreAnswer::VaultChallenge`](super::CoreAnswer::VaultChallenge).
        64 => BeginSlots,
        /// Which accounts are asked for a code at requests of high risk. Answered by
        /// [`CoreAnswer::SecondFactors`](super::CoreAnswer::SecondFactors).
        80 => SecondFactors,
        /// Lifts a ban, and the hold of an address. Answered by [`CoreAnswer::Done`](super::CoreAnswer::Done).
        22 => Unban {
            /// As for a ban.
            subject: String,
        },
    }
}

choice! {
    /// What the supervisor is asked.
    pub enum SupervisorRequest {
        /// Which processes there are. Answered by [`SupervisorAnswer::Processes`](super::SupervisorAnswer::Processes).
        1 => Processes,
        /// Read configuration and files anew. Answered by [`SupervisorAnswer::Reloaded`](super::SupervisorAnswer::Reloaded)
        /// when it is known how it went.
        2 => Reload,
        /// Stop cleanly. Answered by [`SupervisorAnswer::Stopping`](super::SupervisorAnswer::Stopping) at once.
        3 => Stop,
    }
}

impl CoreRequest {
    /// What it is called in the log, with whom it is about; `None` for a request that changes nothing.
    pub fn act(&self) -> Option<String> {
        match self {
            Self::Status
            | Self::Clients { .. }
            | Self::Client { .. }
            | Self::Bans { .. }
            | Self::Vault
            | Self::SecondFactors => None,
            Self::RotateDataKeys { .. } => Some("exchange the data keys".to_owned()),
            Self::Shred { device } => Some(format!("shred {device}")),
            Self::BeginSlots => Some("begin to exchange the keys that open the vault".to_owned()),
            Self::VaultSlots { .. } => Some("exchange the keys that open the vault".to_owned()),
            Self::Ban { subject, for_s, .. } => Some(format!("ban {subject} for {for_s} s")),
            Self::Unban { subject } => Some(format!("lift the ban of {subject}")),
            Self::Disconnect { client_id } => Some(format!("disconnect client {client_id}")),
        }
    }

    /// Whether it destroys what cannot be had again, opens the vault to another, or lets somebody in who was turned away: then a
    /// second factor is asked for where the configuration names accounts. [`Self::VaultSlots`] is within an exchange that
    /// [`Self::BeginSlots`] began. A [`Self::Ban`] in place of a longer one lets in as well, which only who knows the bans can tell.
    pub fn is_high_risk(&self) -> bool {
        match self {
            Self::RotateDataKeys { .. } | Self::Shred { .. } | Self::BeginSlots | Self::Unban { .. } => true,
            Self::Status
            | Self::Clients { .. }
            | Self::Client { .. }
            | Self::Disconnect { .. }
            | Self::Bans { .. }
            | Self::Ban { .. }
            | Self::Vault
            | Self::VaultSlots { .. }
            | Self::SecondFactors => false,
        }
    }
}

/// What is proved of slots: which exchange they belong to, the how manieth of it they are, counted from 0, and themselves.
pub fn slots_said(challenge: &[u8; 32], step: u32, slots: &[u8]) -> Vec<u8> {
    [&challenge[..], &step.to_le_bytes(), slots].concat()
}
