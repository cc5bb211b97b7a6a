//! The admin process as the supervisor has it: started, started again, and what operators ask of the supervisor.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use motte_confine::{InForce, Role as Confined};
use motte_roles::{
    AdminAsks, AdminOrder, Link, LinkError, ProcessStatus, Processes, Role, SupervisorAnswer, Task,
};
use motte_server::ControlSocket;

use crate::role::child::{self, Again, Core};
use crate::role::seal::Sandbox;
use crate::role::supervise::Heard;

/// Time for the admin process to take a message.
const TAKES: Duration = Duration::from_secs(5);
/// Time for it to end by itself.
const ENDS: Duration = Duration::from_secs(2);
/// Reloads that operators may wait for at once.
const WAITING_MAX: usize = 32;

/// What operators ask of the supervisor, and of which admin process.
pub(super) struct Asked {
    /// The number of that process: what an earlier one asked is nobody's any more.
    pub(super) generation: u64,
    pub(super) asks: AdminAsks,
}

/// The control socket and the process that serves it.
pub(super) struct Administration {
    socket: ControlSocket,
    heard: SyncSender<Heard>,
    child: Option<(Child, Link)>,
    generation: u64,
    again: Again,
    /// Numbers of reloads, and of the questions that wait for them.
    waiting: Vec<(u64, u64)>,
}

impl Administration {
    pub(super) fn new(socket: ControlSocket, heard: SyncSender<Heard>) -> Self {
        Self { socket, heard, child: None, generation: 0, again: Again::default(), waiting: Vec::new() }
    }

    /// When the process is to be started again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.again.at
    }

    /// Its number and how often it was started again.
    pub(super) fn process(&self) -> Option<(u32, u32)> {
        let (child, _) = self.child.as_ref()?;
        Some((child.id(), self.again.times))
    }

    /// Starts the process if there is none and it is time, and notices its end.
    pub(super) fn look(&mut self, core: &Core, sandbox: &Sandbox, stopping: &AtomicBool) {
        if let Some((child, _)) = &mut self.child {
            let Ok(Some(status)) = child.try_wait() else { return };
            self.ended(core, &child::how(status));
        }
        if !self.again.is_due() || stopping.load(Ordering::Relaxed) {
            return;
        }
        match self.start(core, sandbox, stopping) {
            Ok(process) => {
                self.child = Some(process);
                self.again.started();
            }
            Err(error) => self.ended(core, &error.to_string()),
        }
    }

    fn start(
        &mut self,
        core: &Core,
        sandbox: &Sandbox,
        stopping: &AtomicBool,
    ) -> Result<(Child, Link), LinkError> {
        let (mut child, link) = child::start("admin", sandbox)?;
        self.generation += 1;
        let (generation, heard) = (self.generation, self.heard.clone());
        let prepare = || -> Result<(), LinkError> {
            link.socket().set_write_timeout(Some(TAKES))?;
            link.wait(Instant::now() + TAKES, &|| !stopping.load(Ordering::Relaxed))?;
            link.greet(Role::Supervisor, Role::Admin)?;
            // What it asks comes when it does.
            link.socket().set_read_timeout(None)?;
            let (for_core, for_admin) = UnixStream::pair()?;
            let admitted = self.socket.admitted.clone();
            link.send_with(&AdminOrder::Listen { admitted }, self.socket.descriptor())?;
            link.send_with(&AdminOrder::Core, for_admin.as_fd())?;
            core.link.send_with(
                &Task::Admin { socket: self.socket.path.display().to_string() },
                for_core.as_fd(),
            )?;
            let asking = link.another()?;
            std::thread::Builder::new().name("motte-asked".into()).spawn(move || {
                // Whoever speaks nonsense is not heard any longer, and ends of it.
                while let Ok((asks, _)) = asking.receive() {
                    if heard.send(Heard::Admin(Asked { generation, asks })).is_err() {
                        return;
                    }
                }
                let _ = asking.socket().shutdown(std::net::Shutdown::Both);
            })?;
            Ok(())
        };
        if let Err(error) = prepare() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        Ok((child, link))
    }

    fn ended(&mut self, core: &Core, cause: &str) {
        self.child = None;
        self.waiting.clear();
        let again_ms = self.again.ended();
        core.say(&Task::AdminEnded { cause: cause.to_owned(), again_ms });
    }

    /// Ends the process; its end is noticed as any other.
    pub(super) fn kill(&mut self) {
        if let Some((child, _)) = &mut self.child {
            let _ = child.kill();
        }
    }

    /// Ends the process for good. It has a moment to tell who asked for a stop that it has begun.
    pub(super) fn end(&mut self) {
        if let Some((mut child, link)) = self.child.take() {
            let _ = link.socket().shutdown(std::net::Shutdown::Both);
            let until = Instant::now() + ENDS;
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::park_timeout(ENDS / 500);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        self.socket.remove();
    }

    /// The question, unless an earlier process asked it.
    pub(super) fn present(&self, asked: Asked) -> Option<AdminAsks> {
        (asked.generation == self.generation && self.child.is_some()).then_some(asked.asks)
    }

    /// Answers a question.
    pub(super) fn reply(&mut self, id: u64, answer: SupervisorAnswer) {
        let Some((_, link)) = &self.child else { return };
        if link.send_by(&AdminOrder::Reply { id, answer }, Instant::now() + TAKES).is_err() {
            self.kill();
        }
    }

    /// Notes that a question waits for a reload; false when too many do.
    pub(super) fn await_reload(&mut self, id: u64, number: u64) -> bool {
        let has_room = self.waiting.len() < WAITING_MAX;
        if has_room {
            self.waiting.push((number, id));
        }
        has_room
    }

    /// Answers whoever waits for this reload.
    pub(super) fn reloaded(&mut self, number: u64, fault: Option<&str>) {
        let (over, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(of, _)| *of == number);
        self.waiting = waiting;
        let over: Vec<(u64, u64)> = over;
        for (_, id) in over {
            self.reply(id, SupervisorAnswer::Reloaded { fault: fault.map(str::to_owned) });
        }
    }
}

/// The processes of a broker: role, number and how often each was started again.
pub(super) fn processes(all: &[(Confined, u32, u32)], sandbox: &Sandbox) -> Processes {
    let processes = all.iter().map(|(role, pid, restarts)| ProcessStatus {
        role: role.name().to_owned(),
        pid: *pid,
        resident_bytes: resident_bytes(*pid).unwrap_or_default(),
        restarts: *restarts,
        sandbox: confinement(*role, *pid, sandbox),
    });
    Processes { version: env!("CARGO_PKG_VERSION").to_owned(), processes: processes.collect() }
}

fn resident_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// What is in force on a process, by what it told and by what the kernel says now.
fn confinement(role: Confined, pid: u32, sandbox: &Sandbox) -> String {
    let told = |path: &Path| InForce::from_json(&std::fs::read_to_string(path).ok()?);
    let Some(own) = sandbox.report(role).and_then(|path| told(&path)).filter(|own| own.process == pid) else {
        return "not known".to_owned();
    };
    // Where the system hides processes from each other, the word of the process itself has to do.
    let (found, whose) = match InForce::of(pid) {
        Ok(read) => (read.with_own(&own), ""),
        Err(_) => (own, ", by its own word at its start"),
    };
    let what = if found.is_full() { "full".to_owned() } else { found.shortfalls().join("; ") };
    format!("{what}{whose}")
}
