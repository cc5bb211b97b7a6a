//! The processes of a broker: what they say to each other, the key process, and its keys as the core uses them.
//!
//! `message` and `task` are the messages, typed and bounded; `link` carries them over a pair of sockets; `source` reads a key file, `token` finds a key in a token;
//! `live` is a link to another process and who waits for its answers. `outward` are the messages of the process that connects out, `outward_source` what it may ask, `outward_client` is that process as the core sees it.
//! `control` is what operators ask and are answered, `admin` the process that takes it.
//! `vault` is the key that opens the vault of a state directory; `service` is the key process, the only one that does so; `client` and `remote` are the keys as the core sees them.
//! Each side takes the other's bytes for hostile. No message gives a private key or the key that opens the vault out.

mod admin;
mod client;
mod control;
mod cursor;
mod der;
mod directory;
mod key;
mod link;
mod live;
mod message;
mod outward;
mod outward_client;
mod outward_source;
mod passphrase;
mod remote;
mod service;
mod source;
mod task;
mod token;
mod vault;

pub use admin::{ANSWERED_WITHIN, OPERATORS_MAX, serve_control};
pub use client::{ANSWER_DEADLINE, KeyClient, KeyError};
pub use control::{
    AdminAsks, AdminOrder, AdminSays, Admitted, BANS_PAGE_MAX, BanPage, BanStatus, CLIENTS_PAGE_MAX,
    CONTROL_VERSION, CertificateStatus, ClientDetail, ClientPage, ClientSummary, Code, ControlAnswer,
    ControlRefusal, ControlRequest, CoreAnswer, CoreReply, CoreRequest, Greeting, ListenerStatus, Operator,
    PolicyStatus, ProcessStatus, Processes, ReloadStatus, Status, StepUp, SupervisorAnswer,
    SupervisorRequest, VaultStatus, VaultWork, slots_said,
};
pub use cursor::Malformed;
pub use directory::{DirectoryAnswer, DirectoryQuestion};
pub use key::{KEYS_MAX, KeyEntry, KeyId, Passphrase, PublicKey, SIGNED_BYTES_MAX, Source};
pub use link::{Link, LinkError};
pub use message::{Answer, Hello, Message, Order, Outcome, Refusal, Request, Role, VERSION};
pub use outward::{
    ANSWER_BYTES_MAX, AUTHORITIES_BYTES_MAX, Ask, BODY_BYTES_MAX, OutwardOrder, OutwardOutcome, SOURCES_MAX,
    Told, Unanswered,
};
pub use outward_client::{OutwardAnswer, OutwardClient, OutwardError};
pub use outward_source::{
    HEADER_BYTES_MAX, HEADERS_MAX, Header, OutwardSource, SetId, SourceDirectory, SourceFacts,
};
pub use passphrase::{AskPassphrase, Passphrases};
pub use remote::RemoteKey;
pub use service::serve_keys;
pub use source::{FileFault, key_file_fault, password_file_fault, read_key, read_open, read_text};
pub use task::{Asker, Configuration, Place, Report, Task};
pub use vault::{MasterKey, PASSPHRASE_PARAMETERS, VaultKey, VaultKind, VaultSource, make_key_file};
