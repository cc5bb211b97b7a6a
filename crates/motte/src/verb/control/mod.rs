//! Verbs that ask a running broker over its control socket. What it answers is taken for hostile, as any bytes from outside.

pub(crate) mod bans;
pub(crate) mod clients;
pub(crate) mod reload;
pub(crate) mod status;
pub(crate) mod stop;

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use motte_config::CONTROL_SOCKET;
use motte_roles::{
    ANSWERED_WITHIN, CONTROL_VERSION, Code, ControlAnswer, ControlRefusal, ControlRequest, CoreAnswer,
    CoreRequest, Greeting, Link, LinkError, StepUp, SupervisorAnswer, SupervisorRequest,
};

use crate::cli::{SocketArgs, StepUpArgs};
use crate::verb::Fault;
use crate::verb::connecting::{prompt, read_secret};
use crate::verb::serve::load;

/// Where the packaged service has its socket.
const OF_THIS_SYSTEM: &str = "/run/motte/control.sock";
/// Where `motte up` has its state unless it is told otherwise.
const STATE: &str = "motte-state";
/// Time for the broker to say who it is. One that starts does so once it serves.
const GREETS: Duration = Duration::from_secs(20);
/// Time beyond what the broker gives itself.
const ANSWERS: Duration = ANSWERED_WITHIN.saturating_add(Duration::from_secs(15));

/// A conversation with a broker.
pub(crate) struct Broker {
    link: Link,
    path: PathBuf,
    /// As whom is asked what is of high risk.
    step_up: Option<StepUp>,
}

impl Broker {
    /// Finds the broker that is meant, and says hello.
    pub(crate) fn find(args: &SocketArgs) -> Result<Self, Fault> {
        Self::at(&socket(args)?)
    }

    fn at(path: &Path) -> Result<Self, Fault> {
        let stream = UnixStream::connect(path).map_err(|error| unreachable_at(path, &error))?;
        let broker = Self { link: Link::new(stream), path: path.to_owned(), step_up: None };
        let until = Instant::now() + GREETS;
        let greeting = broker.link.receive_by::<Greeting>(until).map_err(|error| broker.fault(&error))?;
        if greeting.version != CONTROL_VERSION {
            let (theirs, own) = (motte_event::escaped(&greeting.motte), env!("CARGO_PKG_VERSION"));
            return Err(Fault::with_remedy(
                format!(
                    "the broker at {} is motte {theirs}, which speaks version {} on its control socket; this is motte {own} with version {CONTROL_VERSION}",
                    path.display(),
                    greeting.version
                ),
                "use the motte command that the broker was started with, or restart the broker",
            ));
        }
        // Refused: then why comes next, or nothing.
        let _ = broker.link.send_by(&Greeting::own(), until);
        Ok(broker)
    }

    /// The same, asked as somebody with a second factor.
    pub(crate) fn stepping_up(self, step_up: Option<StepUp>) -> Self {
        Self { step_up, ..self }
    }

    /// Which accounts are asked for codes where something is of high risk.
    pub(crate) fn second_factors(&self) -> Result<Vec<String>, Fault> {
        let CoreAnswer::SecondFactors { accounts } = self.core(CoreRequest::SecondFactors)? else {
            return Err(self.nonsense());
        };
        Ok(accounts)
    }

    /// Asks the core.
    pub(crate) fn core(&self, request: CoreRequest) -> Result<CoreAnswer, Fault> {
        match self.ask(&ControlRequest::Core { request, step_up: self.step_up.clone() })? {
            ControlAnswer::Core { answer: CoreAnswer::Refused { cause } } => Err(Fault::new(lines(&cause))),
            ControlAnswer::Core { answer } => Ok(answer),
            ControlAnswer::Supervisor { .. } | ControlAnswer::Refused { .. } => Err(self.nonsense()),
        }
    }

    /// Asks the supervisor.
    pub(crate) fn supervisor(&self, request: SupervisorRequest) -> Result<SupervisorAnswer, Fault> {
        match self.ask(&ControlRequest::Supervisor { request, step_up: self.step_up.clone() })? {
            ControlAnswer::Supervisor { answer: SupervisorAnswer::Refused { cause } } => {
                Err(Fault::new(lines(&cause)))
            }
            ControlAnswer::Supervisor { answer } => Ok(answer),
            ControlAnswer::Core { .. } | ControlAnswer::Refused { .. } => Err(self.nonsense()),
        }
    }

    fn ask(&self, request: &ControlRequest) -> Result<ControlAnswer, Fault> {
        let until = Instant::now() + ANSWERS;
        let sent = self.link.send_by(request, until);
        match (self.link.receive_by(until), sent) {
            (Ok(ControlAnswer::Refused { cause }), _) => Err(self.refused(&cause)),
            (Ok(answer), _) => Ok(answer),
            (Err(_), Err(error)) | (Err(error), Ok(())) => Err(self.fault(&error)),
        }
    }

    /// Waits until the broker is gone; false when it is not by then.
    pub(crate) fn wait_gone(&self, until: Instant) -> bool {
        loop {
            // Nothing more is said here: this ends with the connection, or with the time.
            if self.link.receive_by::<ControlAnswer>(until).is_err_and(|error| error.is_timeout()) {
                return false;
            }
            // An admin process that ended is not the broker's end: then somebody still listens.
            match UnixStream::connect(&self.path) {
                Err(_) => return true,
                Ok(_) if Instant::now() >= until => return false,
                Ok(stream) => {
                    // It is closed when the broker ends, and greets when an admin process is back.
                    let _ = Link::new(stream).receive_by::<Greeting>(until);
                    std::thread::park_timeout(Duration::from_millis(20));
                }
            }
        }
    }

    /// An answer to something else.
    pub(crate) fn nonsense(&self) -> Fault {
        Fault::with_remedy(
            format!("what listens at {} answers something else than it was asked", self.path.display()),
            "see that this is the control socket of a motte broker of this version",
        )
    }

    fn refused(&self, cause: &ControlRefusal) -> Fault {
        let place = self.path.display();
        match cause {
            ControlRefusal::NotPermitted { uid } => Fault::with_remedy(
                format!("the broker at {place} takes nothing from user {uid}"),
                "ask as root or as the user that runs the broker, or have control.group name a group that you are in",
            ),
            ControlRefusal::Busy => Fault::with_remedy(
                format!("the broker at {place} is asked by too many at once"),
                "try again in a moment",
            ),
            ControlRefusal::Silent => Fault::with_remedy(
                format!("the process that could answer did not, at the broker at {place}"),
                "see its log; what was asked may still be done",
            ),
            ControlRefusal::Malformed => self.nonsense(),
        }
    }

    fn fault(&self, error: &LinkError) -> Fault {
        let place = self.path.display();
        if error.is_timeout() {
            return Fault::with_remedy(
                format!("the broker at {place} does not answer"),
                "it may be starting, stopping, or overloaded: see its log",
            );
        }
        match error {
            LinkError::Closed | LinkError::Io(_) => Fault::with_remedy(
                format!("the broker at {place} closed the connection: {error}"),
                "see its log: it stops, or its admin process was started again",
            ),
            LinkError::TooLong(_) | LinkError::Malformed(_) | LinkError::Stranger { .. } => self.nonsense(),
        }
    }
}

/// The socket that is meant.
fn socket(args: &SocketArgs) -> Result<PathBuf, Fault> {
    if let Some(socket) = &args.socket {
        return Ok(socket.clone());
    }
    if let Some(config) = &args.config {
        return load(config)?.control_socket().ok_or_else(|| {
            Fault::with_remedy(
                format!("the broker of {} has no control socket", config.display()),
                "write [control] socket = \"PATH\", or enabled = true, and start it again",
            )
        });
    }
    if let Some(state) = &args.state {
        return Ok(state.join(CONTROL_SOCKET));
    }
    let own = Path::new(STATE).join(CONTROL_SOCKET);
    let system = PathBuf::from(OF_THIS_SYSTEM);
    let is_there = |path: &Path| std::fs::symlink_metadata(path).is_ok();
    Ok(if !is_there(&own) && is_there(&system) { system } else { own })
}

fn unreachable_at(path: &Path, error: &std::io::Error) -> Fault {
    let place = path.display();
    match error.kind() {
        ErrorKind::NotFound => Fault::with_remedy(
            format!("no broker runs there: there is no {place}"),
            "start one, or name its configuration with --config, its state directory with --state, or its socket with --socket",
        ),
        ErrorKind::ConnectionRefused => Fault::with_remedy(
            format!("no broker runs there any more: nobody listens at {place}"),
            "start it again",
        ),
        ErrorKind::PermissionDenied => Fault::with_remedy(
            format!("you may not ask the broker at {place}: {error}"),
            "ask as root or as the user that runs the broker, or have control.group name a group that you are in",
        ),
        _ => Fault::with_remedy(
            format!("cannot reach a broker at {place}: {error}"),
            "see what the system says",
        ),
    }
}

/// As whom something of high risk is asked, with the code: of a file or asked for, never from the command line, where others see
/// it. Read before a broker is asked, for it does not wait for people.
pub(crate) fn step_up(args: &StepUpArgs) -> Result<Option<StepUp>, Fault> {
    let Some(account) = &args.account else { return Ok(None) };
    let code = match &args.code_file {
        Some(path) => read_secret(path)?,
        None => prompt(&format!("code of {account}: "), "--code-file")?,
    };
    Ok(Some(StepUp { account: account.clone(), code: Code::new(code.expose().trim().to_owned()) }))
}

/// Text of the broker for a terminal: its lines, and nothing that a terminal obeys.
pub(crate) fn lines(text: &str) -> String {
    text.lines().map(motte_event::escaped).collect::<Vec<_>>().join("\n")
}

/// A time for people, as the log has it.
fn time(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "an unknown time".to_owned(), |time| format!("{time:.0}"))
}
