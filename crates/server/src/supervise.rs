//! The supervisor: passes commands on, puts new rules in force, and takes everything down in order.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use motte_access::PolicyGeneration;
use motte_broker::Exchange;
use motte_config::Config;
use motte_event::life;
use motte_roles::StepUp;
use signal_hook::iterator::Handle as SignalHandle;

use crate::admission::Admission;
use crate::assemble::{self, AssembleError, Assembled, OpenFile};
use crate::clock::Clock;
use crate::clock::unix_ms;
use crate::control::{Control, SAMPLE_EVERY};
use crate::inbox::{Inbox, Letter};
use crate::keyring::Keyring;
use crate::log::{Log, LogThread};
use crate::logins_kept::LoginsKept;
use crate::ocsp;
use crate::preparing::retained_limits;
use crate::reloading::{self, ReloadError};
use crate::revocation::{self, Revocation};
use crate::rules::Rules;
use crate::scrape::Scrape;
use crate::sealing::Sealed;
use crate::server::{Bound, Command, ExitReason, ReadConfig, RunError, drain};
use crate::shutdown::{FINISH_MS, SETTLE_ROUNDS, Step, What};
use crate::state::StateDirectory;
use crate::step_up;
use crate::store::Store;
use crate::token_keys::{Fetching, TokenKeys};
use crate::usage::UsageFile;

/// Time for a step of the clean stop beyond what the step itself allows.
const STEP_MS: u64 = 10_000;

/// Everything above the workers.
pub(crate) struct Supervisor {
    pub(crate) config: Config,
    pub(crate) read_config: Option<ReadConfig>,
    pub(crate) fixed_policy: bool,
    pub(crate) keyring: Keyring,
    pub(crate) revocation: Revocation,
    pub(crate) token_keys: TokenKeys,
    pub(crate) _fetching: Fetching,
    pub(crate) open: OpenFile,
    pub(crate) rules: Arc<Rules>,
    /// Accounts that ended up to this Unix second have been dealt with.
    pub(crate) ended_s: u64,
    pub(crate) commands: Receiver<Command>,
    pub(crate) inboxes: Arc<[Inbox]>,
    pub(crate) workers: Vec<JoinHandle<()>>,
    pub(crate) exchange: Exchange,
    pub(crate) admission: Admission,
    pub(crate) logins: LoginsKept,
    pub(crate) clock: Clock,
    pub(crate) log: Log,
    pub(crate) log_thread: LogThread,
    pub(crate) scrape: Option<Scrape>,
    pub(crate) usage: Option<UsageFile>,
    pub(crate) store: Option<Arc<Store>>,
    /// Locked as long as the process runs.
    pub(crate) _state: Option<StateDirectory>,
    pub(crate) signals: Option<SignalHandle>,
    pub(crate) sealed: Sealed,
    pub(crate) control: Control,
    pub(crate) addresses: Vec<Bound>,
    pub(crate) sockets: Vec<PathBuf>,
}

/// The store, once nobody else has it: whoever works on keys is done with a step within moments.
fn sole(mut store: Arc<Store>) -> Option<Store> {
    let until = Instant::now() + Duration::from_millis(STEP_MS);
    loop {
        match Arc::try_unwrap(store) {
            Ok(store) => return Some(store),
            Err(_) if Instant::now() >= until => return None,
            Err(shared) => store = shared,
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

impl Supervisor {
    /// Where everything listens.
    pub(crate) fn addresses(&self) -> &[Bound] {
        &self.addresses
    }

    /// What answers operators.
    pub(crate) fn control(&self) -> Control {
        self.control.clone()
    }

    /// Serves until asked to stop.
    pub(crate) fn run(mut self) -> Result<ExitReason, RunError> {
        // Reading and compiling a policy must not be what a message waits for.
        crate::priority::give_way();
        let ended = loop {
            match self.next_command() {
                Ok(Command::Reload { who, step_up, asker }) => {
                    let outcome = self.reload(&who, step_up.as_ref());
                    self.control.reloaded(&who, outcome.as_ref().err().map(ToString::to_string));
                    self.log.event(match &outcome {
                        Ok(()) => life::reloaded(&reloading::what_was_read(&self.config)),
                        Err(error) => life::reload_refused(&error.to_string()),
                    });
                    if let Some(asker) = asker {
                        // Whoever asked may have stopped waiting.
                        let _ = asker.try_send(outcome);
                    }
                }
                Ok(Command::Tell(event)) => self.log.event(event),
                Ok(Command::Lists) => self.renew(),
                // The same rules again: whoever came in by a key that is gone does not stay.
                Ok(Command::Keys) => {
                    self.rules = revocation::put_in_force(Arc::clone(&self.rules), &self.inboxes);
                }
                Ok(Command::Bans(ask)) => ask(self.logins.logins()),
                Ok(Command::WorkerEnded { shard, cause }) => break Err(RunError::Worker { shard, cause }),
                Ok(Command::Stop(cause)) => break self.stop(&cause),
                // All handles are gone: nobody can ask any more, so this is the end as well.
                Err(RecvError) => break self.stop("nobody is left to ask"),
            }
        };
        self.take_down(ended)
    }

    /// Waits for a command; meanwhile figures are noted, and the record of usage is written, from time to time.
    fn next_command(&mut self) -> Result<Command, RecvError> {
        loop {
            let usage = self.usage.as_ref().map_or(SAMPLE_EVERY, UsageFile::wait);
            let wait = usage.min(SAMPLE_EVERY).min(self.end_accounts());
            match self.commands.recv_timeout(wait) {
                Ok(command) => return Ok(command),
                Err(RecvTimeoutError::Timeout) => {
                    self.control.sample();
                    let due = self.usage.as_mut().filter(|usage| usage.wait().is_zero());
                    if let Some(event) = due.and_then(UsageFile::write) {
                        self.log.event(event);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(RecvError),
            }
        }
    }

    /// Disconnects whose accounts have ended; how long until the next one does.
    fn end_accounts(&mut self) -> Duration {
        let ending = |rules: &Rules, since_s| {
            rules.listeners.first().and_then(|listener| listener.authenticator.next_ending(since_s))
        };
        let now_s = unix_ms() / 1_000;
        // A clock that was set back: what ends from now on ends again.
        self.ended_s = self.ended_s.min(now_s);
        let Some(mut next_s) = ending(&self.rules, self.ended_s) else { return Duration::MAX };
        if next_s <= now_s {
            // The same rules once more: everybody is asked whether he may stay.
            self.rules = revocation::put_in_force(Arc::clone(&self.rules), &self.inboxes);
            self.ended_s = now_s;
            match ending(&self.rules, now_s) {
                Some(later_s) => next_s = later_s,
                None => return Duration::MAX,
            }
        }
        // In the middle of the second after, so that it is over for certain.
        Duration::from_secs(next_s.saturating_sub(now_s)) + Duration::from_millis(500)
    }

    fn reload(&mut self, who: &str, step_up: Option<&StepUp>) -> Result<(), ReloadError> {
        let config = match &mut self.read_config {
            Some(read) => read().map_err(ReloadError::Config)?,
            None => self.config.clone(),
        };
        reloading::unchangeable(&self.config, &config)?;
        self.sealed.reaches(&config)?;
        let (generation, workers) = (self.rules.policy.generation().0, self.inboxes.len());
        let policy = if self.fixed_policy {
            Ok(Arc::clone(&self.rules.policy))
        } else {
            Err(PolicyGeneration(generation + 1))
        };
        let Assembled { rules, events, keys, certificates } = assemble::assemble(
            &config,
            workers,
            policy,
            &mut self.keyring,
            &mut self.open,
            &self.token_keys,
            Some(&self.rules),
        )?;
        self.step_up((&config, &rules), who, step_up)?;
        self.revocation.plan(&config, &rules);
        let rules = match revocation::renewed(&rules, &self.revocation) {
            Ok(renewed) => renewed.unwrap_or(rules),
            Err(error) => {
                // Refused whole: what is fetched and held goes by the rules in force as before.
                self.revocation.plan(&self.config, &self.rules);
                return Err(AssembleError(vec![error.to_string()]).into());
            }
        };
        self.token_keys.plan(&config);
        self.admission.set_bounds(rules.bounds);
        self.logins.logins().set_limits(&config.attempts);
        self.exchange.memory().set_max(config.limits.memory_bytes_max);
        self.exchange.retained_mut().set_limits(retained_limits(&config));
        self.config = config;
        self.sealed.look_again();
        self.rules = revocation::put_in_force(Arc::new(rules), &self.inboxes);
        ocsp::begin(&self.rules, &self.inboxes, &self.log);
        self.keyring.in_force(keys);
        self.control.in_force(&self.rules, certificates, who);
        for event in events.into_iter().chain(self.revocation.missing()).chain(self.token_keys.missing()) {
            self.log.event(event);
        }
        Ok(())
    }

    /// Asks for a code where a reload is of high risk.
    fn step_up(
        &self,
        new: (&Config, &Rules),
        who: &str,
        step_up: Option<&StepUp>,
    ) -> Result<(), ReloadError> {
        let changed = step_up::changes((&self.config, &self.rules), new);
        let Some(listener) = self.rules.listeners.first().filter(|_| !changed.is_empty()) else {
            return Ok(());
        };
        let act = format!("reload with {}", changed.join(" and "));
        let remedy = "`motte acl apply NEW --as ACCOUNT` puts a policy in force, `motte reload --as ACCOUNT` every other change; or write all as it was and reload again";
        let asked = step_up::Asked { by: who, act: &act, step_up, remedy };
        step_up::grant(&asked, &self.rules.second_factor, &listener.authenticator, self.logins.logins())
            .map_err(ReloadError::SecondFactor)
    }

    /// Puts revocation lists in force that came since.
    fn renew(&mut self) {
        match revocation::renewed(&self.rules, &self.revocation) {
            Ok(Some(renewed)) => self.rules = revocation::put_in_force(Arc::new(renewed), &self.inboxes),
            Ok(None) => {}
            Err(error) => {
                self.log.event(life::revocation_list_unfetched("all addresses", &error.to_string()));
            }
        }
    }

    /// The clean stop, unless it is asked for a second time meanwhile.
    fn stop(&mut self, cause: &str) -> Result<ExitReason, RunError> {
        self.log.event(life::stopping(cause));
        let mut steps = vec![What::Goodbye];
        steps.extend(std::iter::repeat_n(What::Settle, SETTLE_ROUNDS));
        steps.extend([What::Finish, What::Leave]);
        for what in steps {
            if !self.step(&what)? {
                return Ok(ExitReason::Forced);
            }
        }
        let told = self.usage.as_mut().and_then(UsageFile::write);
        if let Some(event) = told {
            self.log.event(event);
        }
        Ok(ExitReason::Stopped)
    }

    /// Lets all workers take a step; false when the stop is to be at once.
    fn step(&self, what: &What) -> Result<bool, RunError> {
        let (done, acknowledged) = sync_channel(self.inboxes.len());
        for inbox in self.inboxes.iter() {
            inbox.put(Letter::Stop(Step { what: what.clone(), done: done.clone() }));
        }
        let deadline = Instant::now() + Duration::from_millis(FINISH_MS + STEP_MS);
        let mut missing = self.inboxes.len();
        while missing > 0 {
            match acknowledged.recv_timeout(Duration::from_millis(50)) {
                Ok(()) => missing -= 1,
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => {
                    // Whoever is slow is slow; what was acknowledged is kept.
                    return Ok(true);
                }
            }
            for command in drain(&self.commands) {
                match command {
                    Command::Stop(_) => return Ok(false),
                    Command::WorkerEnded { shard, cause } => return Err(RunError::Worker { shard, cause }),
                    Command::Reload { asker: Some(asker), .. } => {
                        let _ = asker.try_send(Err(ReloadError::Stopped));
                    }
                    Command::Reload { asker: None, .. } | Command::Lists | Command::Keys => {}
                    Command::Tell(event) => self.log.event(event),
                    Command::Bans(ask) => ask(self.logins.logins()),
                }
            }
        }
        Ok(true)
    }

    fn take_down(self, mut ended: Result<ExitReason, RunError>) -> Result<ExitReason, RunError> {
        if let Some(signals) = &self.signals {
            signals.close();
        }
        if let Some(scrape) = self.scrape {
            scrape.stop();
        }
        for socket in &self.sockets {
            // It may be gone already, or in a directory that is closed by now; the next start replaces it in any case.
            let _ = std::fs::remove_file(socket);
        }
        self.sealed.end();
        if matches!(ended, Ok(ExitReason::Stopped)) {
            for worker in self.workers {
                // A worker that panics says so through its guard.
                let _ = worker.join();
            }
            // The last that is noted in the journal.
            self.logins.stop();
            self.control.leave_store();
            if let Some(store) = self.store.and_then(sole)
                && let Err(error) = store.stop()
            {
                ended = Err(RunError::Store(error.to_string()));
            }
            self.log.event(life::stopped(self.clock.now().mono_ms / 1_000));
            ocsp::end(&self.rules);
            drop(self.inboxes);
            drop(self.log);
            self.control.close();
            self.log_thread.join();
        }
        ended
    }
}
