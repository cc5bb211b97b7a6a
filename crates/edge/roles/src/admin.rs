//! The admin process: takes what operators ask on the control socket, looks at who they are, and passes well-formed requests
//! on. It decides nothing else and keeps nothing.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::control::{
    AdminAsks, AdminOrder, AdminSays, Admitted, ControlAnswer, ControlRefusal, ControlRequest, CoreReply,
    CoreRequest, Greeting, Operator, SupervisorAnswer, SupervisorRequest,
};
use crate::link::{Link, LinkError};
use crate::message::Role;

/// Operators that are served at once; further ones are told that it is busy.
pub const OPERATORS_MAX: usize = 16;
/// Time in which an answer is there, also to a reload that waits for keys.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
/// Time for an operator to send a whole request, the first or the next, and to take a whole answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time for the core and the supervisor to take a message.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);
/// Time for the last answers to leave once the supervisor is gone.
const FINISH: Duration = Duration::from_secs(1);
/// Rest after the system refused a connection, for want of descriptors.
const REST: Duration = Duration::from_millis(100);

/// A message to one of the two processes, and who waits for their answers.
struct Way {
    link: Mutex<Link>,
    waiting: Mutex<HashMap<u64, SyncSender<ControlAnswer>>>,
}

impl Way {
    fn new(link: Link) -> Self {
        Self { link: Mutex::new(link), waiting: Mutex::default() }
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, SyncSender<ControlAnswer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an answer to whoever waits for it; one that nobody waits for is none.
    fn answer(&self, id: u64, answer: ControlAnswer) {
        if let Some(asker) = self.waiting().remove(&id) {
            // Whoever asked may have stopped waiting.
            let _ = asker.try_send(answer);
        }
    }
}

/// What the threads of the process share.
struct Desk {
    admitted: Admitted,
    core: Way,
    supervisor: Way,
    /// Of the next question.
    next: AtomicU64,
    /// Operators at present.
    seats: AtomicUsize,
    /// Requests whose answers are not sent yet.
    owed: AtomicUsize,
}

impl Desk {
    /// Lets operators have the answers that are there, a bounded time: who asked for a stop is to hear that it has begun.
    fn finish(&self) {
        for way in [&self.core, &self.supervisor] {
            way.waiting().clear();
        }
        let until = Instant::now() + FINISH;
        while self.owed.load(Ordering::Acquire) > 0 && Instant::now() < until {
            std::thread::park_timeout(FINISH / 200);
        }
    }
}

/// Serves operators until the supervisor is gone.
///
/// # Errors
/// When the core or the supervisor is gone, or speaks nonsense.
pub fn serve_control(supervisor: &Link) -> Result<(), LinkError> {
    supervisor.greet(Role::Admin, Role::Supervisor)?;
    let (mut listener, mut core) = (None, None);
    while listener.is_none() || core.is_none() {
        match supervisor.receive()? {
            (AdminOrder::Listen { admitted }, Some(socket)) => listener = Some((socket, admitted)),
            (AdminOrder::Core, Some(socket)) => core = Some(Link::new(UnixStream::from(socket))),
            (AdminOrder::Listen { .. } | AdminOrder::Core, None) | (AdminOrder::Reply { .. }, _) => {
                return Err(LinkError::Closed);
            }
        }
    }
    let (Some((socket, admitted)), Some(core)) = (listener, core) else { return Err(LinkError::Closed) };
    core.greet(Role::Admin, Role::Core)?;
    let answers = core.another()?;
    let desk = Arc::new(Desk {
        admitted,
        core: Way::new(core),
        supervisor: Way::new(supervisor.another()?),
        next: AtomicU64::new(1),
        seats: AtomicUsize::new(0),
        owed: AtomicUsize::new(0),
    });
    let (hearing, closing) = (Arc::clone(&desk), supervisor.another()?);
    std::thread::Builder::new().name("motte-answers".into()).spawn(move || {
        while let Ok((CoreReply { id, answer }, _)) = answers.receive() {
            hearing.core.answer(id, ControlAnswer::Core { answer });
        }
        // Of no use without the core: the supervisor starts the next, if there is still a broker.
        let _ = closing.socket().shutdown(Shutdown::Both);
    })?;
    let accepting = Arc::clone(&desk);
    let listener = listening(socket)?;
    std::thread::Builder::new().name("motte-accept".into()).spawn(move || accept(&listener, &accepting))?;
    loop {
        match supervisor.receive() {
            Ok((AdminOrder::Reply { id, answer }, _)) => {
                desk.supervisor.answer(id, ControlAnswer::Supervisor { answer });
            }
            Ok((AdminOrder::Listen { .. } | AdminOrder::Core, _)) => {}
            Err(LinkError::Closed) => {
                desk.finish();
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// A listening socket, whose `accept` waits.
fn listening(socket: OwnedFd) -> io::Result<UnixListener> {
    let listener = UnixListener::from(socket);
    listener.set_nonblocking(false)?;
    Ok(listener)
}

fn accept(listener: &UnixListener, desk: &Arc<Desk>) {
    loop {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::park_timeout(REST);
            continue;
        };
        let taken = desk.seats.fetch_add(1, Ordering::Relaxed);
        let seat = Seat(Arc::clone(desk));
        if taken >= OPERATORS_MAX {
            // One short message, which fits into the socket: nobody is waited for.
            let _ = refuse(&Link::new(stream), ControlRefusal::Busy, Instant::now() + REST);
            continue;
        }
        let serve = move || {
            let link = Link::new(stream);
            // An operator that goes away, is late or speaks nonsense is nobody's trouble but its own.
            let _ = serve(&link, &seat.0);
            // Before the connection: whoever sees its end finds the place free.
            drop(seat);
        };
        // Refused: then the operator sees the connection closed.
        let _ = std::thread::Builder::new().name("motte-operator".into()).spawn(serve);
    }
}

/// The place of one operator; dropped, it is free again.
struct Seat(Arc<Desk>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.seats.fetch_sub(1, Ordering::Relaxed);
    }
}

fn refuse(link: &Link, cause: ControlRefusal, until: Instant) -> Result<(), LinkError> {
    link.send_by(&Greeting::own(), until)?;
    link.send_by(&ControlAnswer::Refused { cause }, until)
}

/// One operator, one request after the other.
fn serve(link: &Link, desk: &Desk) -> Result<(), LinkError> {
    let peer = rustix::net::sockopt::socket_peercred(link.socket()).map_err(io::Error::from)?;
    let (uid, gid) = (peer.uid.as_raw(), peer.gid.as_raw());
    let soon = || Instant::now() + PATIENCE;
    if !desk.admitted.admits(uid, gid) {
        let cause = "neither root, nor the user of the broker, nor of the group that may ask".to_owned();
        desk.core.link().send_by(&AdminSays::TurnedAway { uid, cause }, Instant::now() + TAKEN_WITHIN)?;
        return refuse(link, ControlRefusal::NotPermitted { uid }, soon());
    }
    link.send_by(&Greeting::own(), soon())?;
    let greeting = link.receive_by::<Greeting>(soon())?;
    if greeting.version != crate::control::CONTROL_VERSION {
        // It was told our version and says so itself.
        return Ok(());
    }
    loop {
        let request = match link.receive_by::<ControlRequest>(soon()) {
            Ok(request) => request,
            Err(LinkError::Malformed(_) | LinkError::TooLong(_)) => {
                return link.send_by(&ControlAnswer::Refused { cause: ControlRefusal::Malformed }, soon());
            }
            Err(error) => return Err(error),
        };
        desk.owed.fetch_add(1, Ordering::AcqRel);
        let answer = match request {
            ControlRequest::Core { request, step_up } => ask_core(desk, Operator { uid, step_up }, request),
            ControlRequest::Supervisor { request, step_up } => {
                ask_supervisor(desk, Operator { uid, step_up }, request)
            }
        };
        let stops = matches!(answer, ControlAnswer::Supervisor { answer: SupervisorAnswer::Stopping });
        let sent = link.send_by(&answer, soon());
        desk.owed.fetch_sub(1, Ordering::AcqRel);
        sent?;
        if stops {
            // The operator sees the end of the broker as the end of this connection.
            link.socket().set_read_timeout(None)?;
            link.receive::<ControlRequest>()?;
            return Ok(());
        }
    }
}

fn ask_core(desk: &Desk, operator: Operator, request: CoreRequest) -> ControlAnswer {
    ask(desk, &desk.core, |link, id| {
        let says = AdminSays::Request { id, operator, request };
        link.send_by(&says, Instant::now() + TAKEN_WITHIN)
    })
}

fn ask_supervisor(desk: &Desk, operator: Operator, request: SupervisorRequest) -> ControlAnswer {
    ask(desk, &desk.supervisor, |link, id| {
        let asks = AdminAsks::Request { id, operator, request };
        link.send_by(&asks, Instant::now() + TAKEN_WITHIN)
    })
}

/// Sends a question and waits for its answer, a bounded time.
fn ask(desk: &Desk, way: &Way, say: impl FnOnce(&Link, u64) -> Result<(), LinkError>) -> ControlAnswer {
    let id = desk.next.fetch_add(1, Ordering::Relaxed);
    let (asker, answer) = sync_channel(1);
    way.waiting().insert(id, asker);
    let sent = say(&way.link(), id);
    if sent.is_err() {
        // Half a message may be on its way: nothing can be said there any more, so the supervisor starts the next admin.
        let _ = way.link().socket().shutdown(Shutdown::Both);
    }
    let answer = sent.ok().and_then(|()| answer.recv_timeout(ANSWERED_WITHIN).ok());
    way.waiting().remove(&id);
    answer.unwrap_or(ControlAnswer::Refused { cause: ControlRefusal::Silent })
}
