//! The core: everything that a network reaches. It binds nothing, reads no configuration and no key file itself.

use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use motte_event::life;
use motte_roles::{
    AdminSays, Asker, Configuration, CoreAnswer, CoreReply, KeyClient, Link, LinkError, OutwardClient, Place,
    Report, Role, StepUp, Task,
};
use motte_server::{Control, Handle, Options, Sealed, SelfConfinement, Server};
use signal_hook::consts::{SIGHUP, SIGINT};

use crate::role::confine::confine;
use crate::role::given::{Given, opener};
use crate::role::{leave_signals_to_the_supervisor, name, orphan, supervisor};
use crate::verb::Fault;
use crate::verb::serve::{meant, wait};

/// Time for a clean stop without a supervisor.
const ORPHAN: Duration = Duration::from_secs(60);

/// Time for the admin process to take an answer.
const ANSWER_TAKEN: Duration = Duration::from_secs(5);

/// Reloads that may wait for the one under way; each holds its files open.
const RELOADS_WAITING_MAX: usize = 8;

/// The configuration of the next reload, or why there is none.
type Next = Arc<Mutex<Result<Configuration, String>>>;

/// What the supervisor sent before the start.
struct Dowry {
    configuration: Configuration,
    sockets: Vec<(Place, OwnedFd)>,
    keys: Option<UnixStream>,
    outward: Option<UnixStream>,
    files: Given,
}

/// Serves until the supervisor says stop.
pub(crate) fn run() -> Result<(), Fault> {
    name(c"motte-core");
    leave_signals_to_the_supervisor().map_err(|error| orphan(&error))?;
    let link = supervisor()?;
    link.greet(Role::Core, Role::Supervisor).map_err(|error| orphan(&error))?;
    let Dowry { configuration, sockets, keys, outward, files } = receive(&link)?;
    confine(Role::Core).map_err(|error| orphan(&error))?;
    let config = meant(&configuration)?;
    // Before the first thread, and before anything of a stranger is read.
    let asked = SelfConfinement { files_are_given: true, ..SelfConfinement::default() };
    let sealed = Sealed::seal(&config, &asked);
    let sealed = sealed.map_err(|error| Fault::new(error.to_string()))?;

    let reports = Arc::new(Mutex::new(link.another().map_err(|error| orphan(&error))?));
    let client = keys.map(|socket| attach(socket, &reports)).transpose()?;
    let outward = outward.map(|socket| attach_outward(socket, &reports)).transpose()?;
    let next: Next = Arc::new(Mutex::new(Ok(configuration)));
    let files = Arc::new(Mutex::new(files));
    let (reloads, waiting) = sync_channel(RELOADS_WAITING_MAX);
    let obedience = Obedience {
        client: client.clone(),
        outward: outward.clone(),
        reloads,
        serving: Arc::default(),
        reports: Arc::clone(&reports),
    };
    let serving = Arc::clone(&obedience.serving);
    let desk = ReloadDesk {
        next: Arc::clone(&next),
        files: Arc::clone(&files),
        serving: Arc::clone(&serving),
        reports: Arc::clone(&reports),
    };
    std::thread::Builder::new()
        .name("motte-control".into())
        .spawn(move || obedience.obey(&link))
        .map_err(|error| orphan(&error))?;
    let options = Options {
        keys: client,
        outward,
        sockets: Some(sockets),
        sealed: Some(sealed),
        open: Some(opener(Arc::clone(&files))),
        read_config: Some(Box::new(move || {
            let next = next.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
            meant(&next).map_err(|fault| fault.to_string())
        })),
        ..Options::default()
    };
    let server = Server::start(config, options).map_err(|error| Fault::new(error.to_string()))?;
    // They were read.
    files.lock().unwrap_or_else(PoisonError::into_inner).clear();
    serving.lock().unwrap_or_else(PoisonError::into_inner).begin(server.handle(), server.control());
    std::thread::Builder::new()
        .name("motte-reload".into())
        .spawn(move || waiting.iter().for_each(|reload| desk.reload(reload)))
        .map_err(|error| orphan(&error))?;
    report(&reports, &Report::Ready);
    wait(server)
}

fn receive(link: &Link) -> Result<Dowry, Fault> {
    let (mut configuration, mut sockets, mut keys) = (None, Vec::new(), None);
    let (mut files, mut outward) = (Given::default(), None);
    loop {
        match link.receive().map_err(|error| orphan(&error))? {
            (Task::Start(text), _) => configuration = Some(text),
            (Task::Listen(place), Some(socket)) => sockets.push((place, socket)),
            (Task::Keys { .. }, Some(socket)) => keys = Some(UnixStream::from(socket)),
            (Task::Outward, Some(socket)) => outward = Some(UnixStream::from(socket)),
            (Task::File { path, errno }, descriptor) => files.take(path, errno, descriptor),
            (Task::Run, _) => break,
            (Task::Stop(_), _) => return Err(Fault::new("stopped before it served")),
            _ => {}
        }
    }
    let configuration = configuration.ok_or_else(|| orphan(&"it sent no configuration"))?;
    Ok(Dowry { configuration, sockets, keys, outward, files })
}

fn attach(socket: UnixStream, reports: &Arc<Mutex<Link>>) -> Result<KeyClient, Fault> {
    let silent = Arc::clone(reports);
    let client = KeyClient::new(Box::new(move || report(&silent, &Report::KeysSilent)));
    client.attach(socket).map_err(|error| Fault::new(format!("the key process: {error}")))?;
    Ok(client)
}

fn attach_outward(socket: UnixStream, reports: &Arc<Mutex<Link>>) -> Result<OutwardClient, Fault> {
    let silent = Arc::clone(reports);
    let client = OutwardClient::new(Box::new(move || report(&silent, &Report::OutwardSilent)));
    client.attach(socket).map_err(|error| Fault::new(format!("the process that connects out: {error}")))?;
    Ok(client)
}

/// A supervisor that is gone ends this process anyway.
fn report(reports: &Mutex<Link>, what: &Report) {
    let _ = reports.lock().unwrap_or_else(PoisonError::into_inner).send(what);
}

/// The server, once it runs, and what was asked of it before.
#[derive(Default)]
struct Serving {
    handle: Option<Handle>,
    control: Option<Control>,
    stop: Option<String>,
}

impl Serving {
    fn begin(&mut self, handle: Handle, control: Control) {
        if let Some(cause) = self.stop.take() {
            handle.stop_because(cause);
        }
        self.handle = Some(handle);
        self.control = Some(control);
    }

    fn stop(&mut self, cause: String) {
        match &self.handle {
            Some(handle) => handle.stop_because(cause),
            // Asked twice before anything is served: nothing can be lost.
            None if self.stop.is_some() => std::process::exit(1),
            None => self.stop = Some(cause),
        }
    }
}

/// What the supervisor says while the core serves.
struct Obedience {
    client: Option<KeyClient>,
    outward: Option<OutwardClient>,
    reloads: SyncSender<Reload>,
    serving: Arc<Mutex<Serving>>,
    reports: Arc<Mutex<Link>>,
}

impl Obedience {
    fn obey(self, link: &Link) {
        let mut files = Given::default();
        let mut admin: Option<UnixStream> = None;
        loop {
            match link.receive::<Task>() {
                Ok((Task::Keys { faults }, Some(socket))) => self.keys(UnixStream::from(socket), &faults),
                // Its socket was lost on the way, for want of descriptors: of no use to anybody.
                Ok((Task::Keys { .. }, None)) => report(&self.reports, &Report::KeysSilent),
                Ok((Task::KeysEnded { cause, again_ms }, _)) => self.tell(life::keys_ended(&cause, again_ms)),
                Ok((Task::Outward, socket)) => self.outward(socket.map(UnixStream::from)),
                Ok((Task::OutwardEnded { cause, again_ms }, _)) => {
                    self.tell(life::outward_ended(&cause, again_ms));
                }
                Ok((Task::File { path, errno }, descriptor)) => files.take(path, errno, descriptor),
                Ok((Task::Admin { socket: name }, Some(socket))) => {
                    // One at a time: the one before is gone, or of no use.
                    let socket = UnixStream::from(socket);
                    if let Some(former) = std::mem::replace(&mut admin, socket.try_clone().ok()) {
                        let _ = former.shutdown(Shutdown::Both);
                    }
                    self.administer(Link::new(socket), name);
                }
                Ok((Task::Admin { .. }, None)) => report(&self.reports, &Report::AdminSilent),
                Ok((Task::AdminEnded { cause, again_ms }, _)) => {
                    self.tell(life::admin_ended(&cause, again_ms));
                }
                Ok((Task::Reload { number, by, step_up, configuration }, _)) => {
                    let files = std::mem::take(&mut files);
                    self.reload(Reload { number, by, step_up, next: Ok(configuration), files });
                }
                Ok((Task::ReloadFailed { number, by, cause }, _)) => {
                    let files = Given::default();
                    self.reload(Reload { number, by, step_up: None, next: Err(cause), files });
                }
                Ok((Task::Stop(by), _)) => {
                    // A reload under way may wait for keys, and the stop for the reload.
                    if let Some(client) = &self.client {
                        client.close();
                    }
                    if let Some(outward) = &self.outward {
                        outward.close();
                    }
                    if let Asker::Operator(uid) = by {
                        self.tell(life::administered(u64::from(uid), "stop", "begun"));
                    }
                    self.serving().stop(named(by));
                }
                Ok((Task::Start(_) | Task::Listen(_) | Task::Run, _)) => {}
                Err(_) => {
                    self.serving().stop("the supervisor is gone".to_owned());
                    std::thread::park_timeout(ORPHAN);
                    // Nobody is left who could end what does not end by itself.
                    std::process::exit(1);
                }
            }
        }
    }

    fn serving(&self) -> MutexGuard<'_, Serving> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: motte_event::Event) {
        let handle = self.serving().handle.clone();
        if let Some(handle) = handle {
            handle.tell(event);
        }
    }

    fn outward(&self, socket: Option<UnixStream>) {
        let Some(outward) = &self.outward else { return };
        match socket.map(|socket| outward.attach(socket)) {
            Some(Ok(())) => self.tell(life::outward_ready()),
            // Gone again, or its socket was lost on the way: the supervisor sends the next.
            Some(Err(_)) | None => report(&self.reports, &Report::OutwardSilent),
        }
    }

    fn keys(&self, socket: UnixStream, faults: &str) {
        let Some(client) = &self.client else { return };
        match client.attach(socket) {
            Ok(()) => self.tell(life::keys_ready()),
            // Gone again, or never of use: the supervisor sends the next.
            Err(_) => return report(&self.reports, &Report::KeysSilent),
        }
        if !faults.is_empty() {
            self.tell(life::keys_faulty(faults));
        }
        let (client, handle) = (client.clone(), self.serving().handle.clone());
        let look = move || {
            let replaced = client.replaced().unwrap_or_default();
            if let (Some(handle), false) = (handle, replaced.is_empty()) {
                let files: Vec<String> = replaced.iter().map(|path| path.display().to_string()).collect();
                let what = "another key than the one in force\n  remedy: reload, so that certificate and key are taken together";
                handle.tell(life::keys_faulty(&format!("{}: {what}", files.join(", "))));
            }
        };
        // It waits for an answer, which must not keep a stop waiting. Refused: then it is not told.
        let _ = std::thread::Builder::new().name("motte-keys-look".into()).spawn(look);
    }

    /// For a thread of its own: a reload may have to wait for the next key process, which comes by this way.
    fn reload(&self, reload: Reload) {
        if let Err(
            TrySendError::Full(Reload { number, .. }) | TrySendError::Disconnected(Reload { number, .. }),
        ) = self.reloads.try_send(reload)
        {
            let fault = "too many reloads wait for the one under way\n  remedy: reload again in a moment";
            self.tell(life::reload_refused(fault));
            report(&self.reports, &Report::Reloaded { number, fault: Some(fault.to_owned()) });
        }
    }

    /// Answers what the admin process passes on, in a thread of its own.
    fn administer(&self, link: Link, socket: String) {
        let control = self.serving().control.clone();
        let Some(control) = control else { return report(&self.reports, &Report::AdminSilent) };
        let (reports, handle) = (Arc::clone(&self.reports), self.serving().handle.clone());
        let serve = move || {
            let greeted = link.greet(Role::Core, Role::Admin);
            if let (Ok(()), Some(handle)) = (&greeted, handle) {
                handle.tell(life::admin_ready(&socket));
            }
            match greeted.and_then(|()| answer(&link, &control)) {
                Ok(()) | Err(LinkError::Closed) => {}
                Err(_) => report(&reports, &Report::AdminSilent),
            }
        };
        if std::thread::Builder::new().name("motte-admin-link".into()).spawn(serve).is_err() {
            report(&self.reports, &Report::AdminSilent);
        }
    }
}

/// A reload with what it reads.
struct Reload {
    number: u64,
    by: Asker,
    step_up: Option<StepUp>,
    next: Result<Configuration, String>,
    files: Given,
}

/// Where reloads are done, one after the other: each reads its own configuration and its own files, and nothing of the next.
struct ReloadDesk {
    next: Next,
    files: Arc<Mutex<Given>>,
    serving: Arc<Mutex<Serving>>,
    reports: Arc<Mutex<Link>>,
}

impl ReloadDesk {
    fn reload(&self, Reload { number, by, step_up, next, files }: Reload) {
        let handle = self.serving.lock().unwrap_or_else(PoisonError::into_inner).handle.clone();
        let Some(handle) = handle else { return };
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = next;
        let fault = handle.reload_by(named(by), step_up).err().map(|error| error.to_string());
        // They were read, or are not wanted.
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Asker::Operator(uid) = by {
            let result = fault.as_deref().unwrap_or("in force");
            handle.tell(life::administered(u64::from(uid), "reload", result));
        }
        report(&self.reports, &Report::Reloaded { number, fault });
    }
}

/// One question after the other, until the admin process is gone.
fn answer(link: &Link, control: &Control) -> Result<(), LinkError> {
    loop {
        match link.receive()? {
            (AdminSays::Request { id, operator, request }, _) => {
                let answer = control.answer(&operator, request);
                let until = Instant::now() + ANSWER_TAKEN;
                match link.send_by(&CoreReply { id, answer }, until) {
                    Err(LinkError::TooLong(_)) => {
                        let cause = "the answer is longer than an answer may be\n  remedy: ask for less";
                        let answer = CoreAnswer::Refused { cause: cause.to_owned() };
                        link.send_by(&CoreReply { id, answer }, until)?;
                    }
                    sent => sent?,
                }
            }
            (AdminSays::TurnedAway { uid, cause }, _) => control.turned_away(uid, &cause),
        }
    }
}

/// Who asks, for the log.
fn named(by: Asker) -> String {
    match by {
        Asker::Signal(signal) => match i32::from(signal) {
            SIGINT => "SIGINT".to_owned(),
            SIGHUP => "SIGHUP".to_owned(),
            _ => "SIGTERM".to_owned(),
        },
        Asker::Operator(uid) => format!("an operator (user {uid})"),
    }
}
