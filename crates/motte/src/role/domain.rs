//! The SELinux domain of each process. Where the supervisor runs in the domain of the module in `packaging/selinux`, it asks
//! for the domain of the role before it starts one; nothing is asked of a system without SELinux, or without the module.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Labels of the calling thread. The supervisor starts processes from one thread, the one that opened this.
const OWN: &str = "/proc/thread-self/attr";
/// The supervisor's domain; that of a role has its name before the end.
const SUPERVISOR: &str = "motte_t";
/// Longest label that is read, in bytes.
const LABEL_BYTES_MAX: u64 = 4_096;

/// The way to ask for the domain of a program that is started next.
#[derive(Debug)]
pub(crate) struct Domains {
    own: String,
    /// Opened before the supervisor gave up writing there.
    next: Mutex<File>,
}

impl Domains {
    /// Of this process; `None` where it is not in the module's domain.
    ///
    /// # Errors
    /// When it is, and the label of what it starts cannot be written.
    pub(crate) fn of_self() -> io::Result<Option<Self>> {
        Self::of(Path::new(OWN))
    }

    fn of(labels: &Path) -> io::Result<Option<Self>> {
        let mut own = String::new();
        // Without such a file there is nobody who labels processes.
        let Ok(file) = File::open(labels.join("current")) else { return Ok(None) };
        if file.take(LABEL_BYTES_MAX).read_to_string(&mut own).is_err() {
            return Ok(None);
        }
        let own = own.trim_end_matches(['\0', '\n']).to_owned();
        if domain(&own, "core").is_none() {
            return Ok(None);
        }
        let next = OpenOptions::new().write(true).open(labels.join("exec"))?;
        Ok(Some(Self { own, next: Mutex::new(next) }))
    }

    /// Starts a program in the domain of a role.
    ///
    /// # Errors
    /// When the policy of the system does not permit it, or the start itself fails.
    pub(crate) fn start<T>(&self, role: &str, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let label = domain(&self.own, role).unwrap_or_default();
        let fault = |error: io::Error| {
            let what = format!(
                "SELinux: it cannot start as {label}: {error}\n  remedy: load the module motte that belongs to this version"
            );
            io::Error::new(error.kind(), what)
        };
        (&*next).write_all(label.as_bytes()).map_err(fault)?;
        let started = start().map_err(fault);
        // Whatever is started next is asked for anew; a label that cannot be taken back names a part of Motte all the same.
        let _ = (&*next).write_all(b"\n");
        started
    }
}

/// The label of a role beside the supervisor's, `user:role:motte_t[:level]`; `None` if that is another one.
pub(crate) fn domain(supervisor: &str, role: &str) -> Option<String> {
    let mut parts = supervisor.splitn(4, ':');
    let (user, group, kind) = (parts.next()?, parts.next()?, parts.next()?);
    let level = parts.next().map(|level| format!(":{level}")).unwrap_or_default();
    (kind == SUPERVISOR).then(|| format!("{user}:{group}:motte_{role}_t{level}"))
}

#[cfg(test)]
mod tests {
    use std::fs::{read_to_string, write};

    use super::*;

    #[test]
    fn each_role_has_a_domain_beside_the_supervisors() {
        for (own, wanted) in [
            ("system_u:system_r:motte_t:s0", Some("system_u:system_r:motte_keyd_t:s0")),
            (
                "system_u:system_r:motte_t:s0-s0:c0.c1023",
                Some("system_u:system_r:motte_keyd_t:s0-s0:c0.c1023"),
            ),
            ("system_u:system_r:motte_t", Some("system_u:system_r:motte_keyd_t")),
            ("unconfined_u:unconfined_r:unconfined_t:s0", None),
            ("system_u:system_r:unconfined_service_t:s0", None),
            ("motte (enforce)", None),
            ("unconfined", None),
            ("", None),
        ] {
            assert_eq!(domain(own, "keyd").as_deref(), wanted, "{own}");
        }
    }

    #[test]
    fn it_is_asked_for_before_the_start_and_taken_back_behind() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| dir.path().join(name);
        assert!(Domains::of(dir.path()).expect("nobody labels").is_none());
        write(at("current"), "motte (enforce)\n").expect("ours");
        assert!(Domains::of(dir.path()).expect("AppArmor").is_none());
        write(at("current"), "system_u:system_r:motte_t:s0\0").expect("ours");
        assert!(Domains::of(dir.path()).is_err(), "it cannot be asked for");

        write(at("exec"), "").expect("ours");
        let domains = Domains::of(dir.path()).expect("it can be asked for").expect("it is the module's");
        let asked = domains.start("core", || read_to_string(at("exec"))).expect("it starts");
        assert_eq!(asked, "system_u:system_r:motte_core_t:s0");
        assert!(read_to_string(at("exec")).expect("ours").ends_with('\n'));
        let refused = domains.start("keyd", || Err::<(), _>(io::ErrorKind::PermissionDenied.into()));
        let text = refused.expect_err("the policy does not permit it").to_string();
        assert!(text.contains("motte_keyd_t") && text.contains("remedy"), "{text}");
    }

    #[test]
    fn a_label_that_cannot_be_written_starts_nothing() {
        let full = Domains {
            own: "system_u:system_r:motte_t:s0".to_owned(),
            next: Mutex::new(OpenOptions::new().write(true).open("/dev/full").expect("the system has it")),
        };
        let mut started = false;
        let refused = full.start("core", || {
            started = true;
            Ok(())
        });
        let text = refused.expect_err("it is refused").to_string();
        assert!(!started && text.contains("cannot start as system_u:system_r:motte_core_t:s0"), "{text}");
    }
}
