//! What operators ask of a running broker, and what it answers: one declaration for each request and each answer, from which
//! reading and writing it follow (`field`).
//!
//! A request goes from the operator's command over the control socket to the admin process, which knows who asks, and from
//! there to the process that can answer: the core ([`CoreRequest`]) or the supervisor ([`SupervisorRequest`]). `carry` is the
//! way between the processes.

mod answer;
mod carry;
mod field;
mod request;
mod step_up;

pub(crate) use field::Field;

pub use answer::{
    BanPage, BanStatus, CertificateStatus, ClientDetail, ClientPage, ClientSummary, ControlAnswer,
    ControlRefusal, CoreAnswer, ListenerStatus, PolicyStatus, ProcessStatus, Processes, ReloadStatus, Status,
    SupervisorAnswer, VaultStatus, VaultWork,
};
pub use carry::{AdminAsks, AdminOrder, AdminSays, Admitted, CoreReply, Greeting, Operator};
pub use request::{
    BANS_PAGE_MAX, CLIENTS_PAGE_MAX, ControlRequest, CoreRequest, SupervisorRequest, slots_said,
};
pub use step_up::{Code, StepUp};

/// The version of what is spoken on the control socket. A command of another version is told so; it goes up when a request
/// or an answer changes, not when one is added.
pub const CONTROL_VERSION: u16 = 2;
