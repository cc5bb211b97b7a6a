//! The password file on disk: read, changed and written back whole by one verb at a time, and the rules for passwords that
//! people choose.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use motte_config::{PasswordProfile, Passwords};
use motte_identity::{
    GENERATED_BITS, Origin, Password, PasswordFile, PasswordPolicy, Profile, Purpose, ReuseMark,
    generated_bits,
};
use motte_seal::{HashParameters, PasswordHash, ScramKeys, SecretString, SiteKey, StoredHash};
use rustix::fs::{FlockOperation, flock};

use crate::state::{now_s, write_atomic};
use crate::verb::Fault;
use crate::verb::connecting::read;

/// A password file that this process alone changes, until it is dropped.
pub(crate) struct Accounts {
    path: PathBuf,
    pub(crate) file: PasswordFile,
    _lock: File,
}

/// What passwords must be here.
pub(crate) struct Rules {
    policy: PasswordPolicy,
    /// Former passwords that may not come again.
    history: usize,
}

/// A password that is to be kept, and where it came from.
pub(crate) struct Candidate {
    pub(crate) password: SecretString,
    pub(crate) origin: Origin,
    /// It is kept for SCRAM, with so many iterations.
    pub(crate) scram_iterations: Option<u32>,
}

impl Accounts {
    /// Reads the file and keeps other verbs from changing it. A missing one is empty where it `may_be_missing`.
    pub(crate) fn open(path: &Path, may_be_missing: bool) -> Result<Self, Fault> {
        if !may_be_missing && !path.exists() {
            return Err(missing(path));
        }
        let lock = lock(path)?;
        let file = load(path, may_be_missing)?;
        Ok(Self { path: path.to_path_buf(), file, _lock: lock })
    }

    /// Writes it, whole or not at all.
    pub(crate) fn save(&self) -> Result<(), Fault> {
        write_atomic(&self.path, self.file.to_string().as_bytes(), 0o600)
    }

    /// What is kept of a password for an identity, if it may have it.
    pub(crate) fn admit(
        &mut self,
        identity: &str,
        candidate: &Candidate,
        rules: &Rules,
    ) -> Result<Password, Fault> {
        let text = candidate.password.expose();
        if candidate.origin != Origin::Generated {
            let second_factor = self.file.account(identity).is_some_and(|account| account.second.is_some());
            let weaknesses =
                rules.policy.weaknesses(text, Purpose { identity: Some(identity), second_factor });
            if let Some(first) = weaknesses.first() {
                let all: Vec<&str> = weaknesses.iter().map(|weakness| weakness.what.as_str()).collect();
                let what = format!("this password will not do: {}", all.join("; "));
                return Err(Fault::with_remedy(what, &first.remedy));
            }
        }
        let account = self.file.account(identity);
        if account.is_some_and(|account| account.knows(text.as_bytes(), rules.history, self.file.key())) {
            let what = format!("`{identity}` has or had this password");
            return Err(Fault::with_remedy(what, "choose another, or --generate"));
        }
        self.keep(identity, candidate)
    }

    /// What is kept of a password, unless another identity has it.
    pub(crate) fn keep(&mut self, identity: &str, candidate: &Candidate) -> Result<Password, Fault> {
        let fault = |error: motte_seal::HashError| Fault::new(error.to_string());
        let text = candidate.password.expose();
        let marked = candidate.origin != Origin::Generated || candidate.scram_iterations.is_some();
        let (keyed, mark) = self.marks(text, marked)?;
        if self.with(&keyed, mark).any(|name| name != identity) {
            // Not by whom: who sets a password would learn somebody else's.
            let what = "this password is already used by another identity";
            return Err(Fault::with_remedy(what, "choose another, or --generate"));
        }
        if let Some(iterations) = candidate.scram_iterations {
            let keys = self.scram_keys(identity, text, iterations)?;
            let mut password = Password::new(StoredHash::Scram(keys), candidate.origin, now_s());
            password.mark = mark;
            return Ok(password);
        }
        if candidate.origin == Origin::Generated {
            return Ok(Password::new(keyed, Origin::Generated, now_s()));
        }
        let hash = PasswordHash::create(text.as_bytes(), HashParameters::DEFAULT).map_err(fault)?;
        let mut password = Password::new(hash.into(), candidate.origin, now_s());
        password.mark = mark;
        Ok(password)
    }

    /// Keys for SCRAM. While a password is rotated both have one salt: then a client may come with either.
    fn scram_keys(&self, identity: &str, text: &str, iterations: u32) -> Result<ScramKeys, Fault> {
        let present = self.file.account(identity).and_then(|account| account.passwords.first());
        let made = match present.map(|password| &password.hash) {
            Some(StoredHash::Scram(keys)) if keys.iterations() == iterations => keys.beside(text),
            _ => ScramKeys::create(text, iterations),
        };
        made.map_err(|error| Fault::with_remedy(error.to_string(), "choose another, or --generate"))
    }

    /// Whose password this is. Imported hashes cannot be compared.
    pub(crate) fn having(&mut self, password: &str) -> Result<Vec<String>, Fault> {
        let (keyed, mark) = self.marks(password, true)?;
        Ok(self.with(&keyed, mark).map(str::to_owned).collect())
    }

    /// By what a password is recognised among generated ones, and, which is slow, among chosen ones.
    fn marks(&mut self, password: &str, chosen: bool) -> Result<(StoredHash, Option<ReuseMark>), Fault> {
        let fault = |error: motte_seal::HashError| Fault::new(error.to_string());
        let keyed = StoredHash::Keyed(self.file.key_or_new().map_err(fault)?.keyed(password.as_bytes()));
        if !chosen {
            return Ok((keyed, None));
        }
        let key = reuse_key(&self.path)?;
        let mark = key.reuse_mark(password.as_bytes()).map_err(fault)?;
        Ok((keyed, Some(ReuseMark { key: key.id(), mark })))
    }

    fn with<'a>(&'a self, keyed: &'a StoredHash, mark: Option<ReuseMark>) -> impl Iterator<Item = &'a str> {
        let same =
            move |password: &Password| password.hash == *keyed || (mark.is_some() && password.mark == mark);
        let accounts = self.file.accounts();
        accounts.filter(move |(_, account)| account.passwords.iter().any(same)).map(|(name, _)| name)
    }
}

impl Rules {
    /// As configured; `profile` wins over what stands there.
    pub(crate) fn of(passwords: &Passwords, profile: Option<PasswordProfile>) -> Result<Self, Fault> {
        let list = passwords.list.as_deref().map(read).transpose()?;
        let (profile, history) = match profile.unwrap_or(passwords.profile) {
            PasswordProfile::Nist => (Profile::Nist, 0),
            PasswordProfile::Classic { history, .. } => (Profile::Classic, history as usize),
        };
        Ok(Self { policy: PasswordPolicy::new(profile, list.as_deref(), &passwords.words), history })
    }

    /// The policy alone.
    pub(crate) fn policy(&self) -> &PasswordPolicy {
        &self.policy
    }
}

impl Candidate {
    /// A fresh one of 130 bits.
    pub(crate) fn generate() -> Result<Self, Fault> {
        let password = SecretString::generate()
            .map_err(|error| Fault::new(format!("the system gave no randomness: {error}")))?;
        Ok(Self { password, origin: Origin::Generated, scram_iterations: None })
    }

    /// One that was generated elsewhere, with enough bits.
    pub(crate) fn generated_elsewhere(password: SecretString) -> Result<Self, Fault> {
        let bits = generated_bits(password.expose()).unwrap_or(0);
        if bits < GENERATED_BITS {
            let what =
                format!("a generated password needs {GENERATED_BITS} bits, and this can have {bits} at most");
            return Err(Fault::with_remedy(
                what,
                "make it with `motte passwd gen`, or leave --generated out",
            ));
        }
        Ok(Self { password, origin: Origin::Generated, scram_iterations: None })
    }
}

/// Puts hashes that are weaker than they should be under Argon2id, on all processors; how many.
pub(crate) fn strengthen(file: &mut PasswordFile, of: impl Fn(&str) -> bool) -> Result<usize, Fault> {
    let chosen = file.accounts_mut().filter(|(identity, _)| of(identity));
    let mut accounts: Vec<_> = chosen.map(|(_, account)| account).collect();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let each = accounts.len().div_ceil(threads).max(1);
    let done: Vec<Result<usize, motte_seal::HashError>> = std::thread::scope(|scope| {
        let work = |part: &mut [&mut motte_identity::Account]| {
            part.iter_mut().map(|account| account.strengthen(HashParameters::DEFAULT)).sum()
        };
        let threads: Vec<_> = accounts.chunks_mut(each).map(|part| scope.spawn(move || work(part))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    done.into_iter().sum::<Result<usize, _>>().map_err(|error| Fault::new(error.to_string()))
}

/// Reads a file that nobody is kept from changing.
pub(crate) fn load(path: &Path, may_be_missing: bool) -> Result<PasswordFile, Fault> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_be_missing => String::new(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing(path)),
        Err(error) => {
            let what = format!("cannot read {}: {error}", path.display());
            return Err(Fault::with_remedy(what, "check the permissions of the file and its directory"));
        }
    };
    PasswordFile::parse(&text).map_err(|error| {
        let what = format!("{}:{}: {}", path.display(), error.line, error.what);
        Fault::with_remedy(what, error.remedy)
    })
}

fn missing(path: &Path) -> Fault {
    let what = format!("there is no password file at {}", path.display());
    Fault::with_remedy(what, "name it with --file, or the configuration with --config")
}

/// A file beside the password file.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Waits until no other verb changes the file. The lock is a file of its own, for the other is replaced when it is written.
fn lock(path: &Path) -> Result<File, Fault> {
    let own = beside(path, ".lock");
    let fault = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            let what = format!("there is no directory for the password file {}", path.display());
            return Fault::with_remedy(
                what,
                "make it, or name the file with --file or the configuration with --config",
            );
        }
        let what = format!("cannot lock {}: {error}", own.display());
        Fault::with_remedy(
            what,
            "check the permissions of that file and of its directory: another user may have made it",
        )
    };
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(&own).map_err(fault)?;
    flock(&file, FlockOperation::LockExclusive).map_err(|errno| fault(errno.into()))?;
    Ok(file)
}

/// The key under which a password used twice is recognised. It is beside the password file and not in it: the broker reads
/// that one, and has no use for this.
fn reuse_key(path: &Path) -> Result<SiteKey, Fault> {
    let own = beside(path, ".key");
    match std::fs::read_to_string(&own) {
        Ok(text) => SiteKey::parse(text.trim()).ok_or_else(|| {
            let what = format!("{} is no key", own.display());
            Fault::with_remedy(
                what,
                "restore it; or remove it: then only what is set from now on is compared",
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = SiteKey::generate().map_err(|error| Fault::new(error.to_string()))?;
            write_atomic(&own, format!("{}\n", key.text()).as_bytes(), 0o600)?;
            Ok(key)
        }
        Err(error) => {
            let what = format!("cannot read {}: {error}", own.display());
            Err(Fault::with_remedy(what, "check its permissions"))
        }
    }
}
