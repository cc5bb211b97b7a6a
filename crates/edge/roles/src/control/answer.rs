//! What is answered. Lists are pages, and every answer has a bound in bytes.

use super::field::{choice, message, record};

/// Longest answer. Whoever makes a page stops well below it.
pub(super) const ANSWER_BYTES_MAX: usize = 1_024 * 1_024;

choice! {
    /// What an operator is answered on the control socket.
    pub enum ControlAnswer {
        /// By the core.
        1 => Core {
            /// What.
            answer: CoreAnswer,
        },
        /// By the supervisor.
        2 => Supervisor {
            /// What.
            answer: SupervisorAnswer,
        },
        /// By the admin process: there is no answer.
        3 => Refused {
            /// Why.
            cause: ControlRefusal,
        },
    }
}
message!(ControlAnswer, ANSWER_BYTES_MAX + 16);

choice! {
    /// Why the admin process does not pass a request on, or got no answer.
    pub enum ControlRefusal {
        /// The peer is neither root, nor the user of the broker, nor of the group that may ask.
        1 => NotPermitted {
            /// The peer's user.
            uid: u32,
        },
        /// As many ask as may at once.
        2 => Busy,
        /// The other process did not answer in time.
        3 => Silent,
        /// The bytes are no request of this version.
        4 => Malformed,
    }
}

choice! {
    /// What the core answers.
    pub enum CoreAnswer {
        /// How it is.
        1 => Status {
            /// All of it.
            status: Box<Status>,
        },
        /// A page of clients.
        2 => Clients {
            /// The page.
            page: ClientPage,
        },
        /// One client.
        3 => Client {
            /// Everything that is told of it.
            client: Box<ClientDetail>,
        },
        /// What was asked is done.
        4 => Done,
        /// It is not done.
        5 => Refused {
            /// Why, for people, with the remedy.
            cause: String,
        },
        /// A page of bans.
        20 => Bans {
            /// The page.
            page: BanPage,
        },
        /// The vault.
        60 => Vault {
            /// All of it; `None`: nothing is kept.
            vault: Option<VaultStatus>,
        },
        /// An exchange of slots has begun.
        61 => VaultChallenge {
            /// What its proofs are said of, in hexadecimal digits.
            challenge: String,
        },
        /// Who is asked for a code at requests of high risk.
        80 => SecondFactors {
            /// Accounts of the password file; none: nobody is asked.
            accounts: Vec<String>,
        },
    }
}

choice! {
    /// What the supervisor answers.
    pub enum SupervisorAnswer {
        /// The processes.
        1 => Processes {
            /// All of them.
            processes: Processes,
        },
        /// A reload is over.
        2 => Reloaded {
            /// Every fault with its place and remedy, one a line; `None`: what was read is in force.
            fault: Option<String>,
        },
        /// The stop has begun.
        3 => Stopping,
        /// Not now.
        4 => Refused {
            /// Why, for people, with the remedy.
            cause: String,
        },
    }
}

record! {
    /// A broker as its core sees it.
    pub struct Status {
        /// Its version.
        version: String,
        /// Seconds since the start.
        uptime_s: u64,
        /// Worker threads.
        workers: u16,
        /// Connections now.
        connections: u64,
        /// Sessions now, connected or not.
        sessions: u64,
        /// Subscriptions now.
        subscriptions: u64,
        /// Retained Messages now.
        retained_messages: u64,
        /// Their bytes.
        retained_bytes: u64,
        /// Bytes of messages that wait or are retained.
        memory_used_bytes: u64,
        /// Bytes that those may have; 0: no bound.
        memory_max_bytes: u64,
        /// Bytes that wait to be written to clients.
        backlog_bytes: u64,
        /// PUBLISH packets received.
        received: u64,
        /// PUBLISH packets sent.
        sent: u64,
        /// Deliveries that were put in a queue, in all.
        queued: u64,
        /// Deliveries that were dropped.
        dropped: u64,
        /// Publications, subscriptions and deliveries that the policy did not permit.
        denied: u64,
        /// PUBLISH packets received in the last seconds, for 1,000 seconds.
        received_per_ks: u64,
        /// PUBLISH packets sent in the last seconds, for 1,000 seconds.
        sent_per_ks: u64,
        /// Listeners.
        listeners: Vec<ListenerStatus>,
        /// The policy in force.
        policy: PolicyStatus,
        /// How the last reload went, if there was one.
        reload: Option<ReloadStatus>,
        /// Certificates of listeners.
        certificates: Vec<CertificateStatus>,
    }
}

record! {
    /// A listener.
    pub struct ListenerStatus {
        /// Its name.
        name: String,
        /// What is spoken there.
        kind: String,
        /// Where it listens.
        addresses: Vec<String>,
        /// Connections now.
        connections: u64,
    }
}

record! {
    /// The policy in force.
    pub struct PolicyStatus {
        /// Its number; each that is put in force has another.
        generation: u64,
        /// When it was put in force, in milliseconds since 1970 (UTC).
        loaded_unix_ms: u64,
        /// By whom: `the start`, `SIGHUP`, or the operator.
        by: String,
    }
}

record! {
    /// How a reload went.
    pub struct ReloadStatus {
        /// When, in milliseconds since 1970 (UTC).
        unix_ms: u64,
        /// By whom.
        by: String,
        /// Why it was refused; `None`: it is in force.
        fault: Option<String>,
    }
}

record! {
    /// A certificate that a listener shows.
    pub struct CertificateStatus {
        /// Its file.
        file: String,
        /// Its end, in seconds since 1970 (UTC).
        not_after_unix_s: u64,
    }
}

record! {
    /// Some clients, by Client Identifier.
    pub struct ClientPage {
        /// In order.
        clients: Vec<ClientSummary>,
        /// There are more behind the last.
        more: bool,
    }
}

record! {
    /// A client, or the Session of one that is not connected.
    pub struct ClientSummary {
        /// Its Client Identifier.
        client_id: String,
        /// Who it is.
        identity: String,
        /// It is connected.
        connected: bool,
        /// The listener that accepted it last.
        listener: String,
        /// Its address; empty on a Unix socket.
        address: String,
        /// Since when it is connected, or is not, in milliseconds since 1970 (UTC); 0: not known.
        since_unix_ms: u64,
        /// Its subscriptions.
        subscriptions: u32,
        /// Messages that wait for it.
        queued: u32,
    }
}

record! {
    /// Everything that is told of a client.
    pub struct ClientDetail {
        /// As on a page.
        summary: ClientSummary,
        /// Version of the protocol: 3, 4 or 5; 0 when it is not connected.
        protocol: u8,
        /// Messages that it has not acknowledged.
        in_flight: u32,
        /// Bytes of what waits for it.
        queued_bytes: u64,
        /// Its Topic Filters with the QoS of each, at most as many as an answer holds.
        filters: Vec<String>,
    }
}

record! {
    /// Some bans.
    pub struct BanPage {
        /// Those that end first in front.
        bans: Vec<BanStatus>,
        /// There are more behind the last.
        more: bool,
    }
}

record! {
    /// A ban.
    pub struct BanStatus {
        /// An address, a network, `identity:NAME` or `client-id:ID`.
        subject: String,
        /// Why.
        cause: String,
        /// Who made it; `None`: the broker itself.
        by: Option<String>,
        /// Since when, in milliseconds since 1970 (UTC).
        since_unix_ms: u64,
        /// Until when, in milliseconds since 1970 (UTC).
        until_unix_ms: u64,
    }
}

record! {
    /// The vault of a broker, and the work on it.
    pub struct VaultStatus {
        /// Times it was written.
        generation: u64,
        /// The keys that open it.
        opened_by: Vec<String>,
        /// Data keys in it.
        keys: u32,
        /// Keys that were destroyed.
        shredded: u32,
        /// Groups that have a key.
        groups: u32,
        /// The work on it, if there was any since the start: the last one.
        work: Option<VaultWork>,
    }
}

record! {
    /// Work on the vault.
    pub struct VaultWork {
        /// Its number since the start.
        number: u64,
        /// What is done.
        what: String,
        /// Bytes of segments that were written again.
        done_bytes: u64,
        /// Of so many.
        all_bytes: u64,
        /// How it ended, for people; `None`: it goes on.
        outcome: Option<String>,
        /// It did not come to its end.
        failed: bool,
    }
}

record! {
    /// The processes of a broker.
    pub struct Processes {
        /// Version of the file they were started from.
        version: String,
        /// All that run.
        processes: Vec<ProcessStatus>,
    }
}

record! {
    /// A process.
    pub struct ProcessStatus {
        /// The part it plays.
        role: String,
        /// Its number.
        pid: u32,
        /// Bytes that it has in memory; 0: not known.
        resident_bytes: u64,
        /// How often it was started again.
        restarts: u32,
        /// How it is confined: `full`, or what is not in force.
        sandbox: String,
    }
}
