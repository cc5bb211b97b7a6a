//! The control socket before anybody serves it: made where the configuration says, for those whom it admits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use motte_config::Config;
use motte_event::{Event, life};
use motte_roles::Admitted;
use motte_transport::Listening;

use crate::server::StartError;
use crate::sockets::Sockets;

/// A control socket that nobody serves yet.
#[derive(Debug)]
pub struct ControlSocket {
    /// Where it is.
    pub path: PathBuf,
    /// Who may ask there.
    pub admitted: Admitted,
    listening: Listening,
    /// A service manager opened it and keeps it.
    inherited: bool,
}

impl ControlSocket {
    /// Makes the socket, with mode 0600, or 0660 for a group, unless a service manager has: then owner and mode are its
    /// own affair. One that nobody serves any more is replaced. Where the configuration names none and the system refuses the usual place, there
    /// is none, and an event says so.
    ///
    /// # Errors
    /// When it cannot be made where the configuration says, or its group is not known.
    pub fn bind(config: &Config, sockets: &mut Sockets) -> Result<Result<Option<Self>, Event>, StartError> {
        let Some(path) = config.control_socket() else { return Ok(Ok(None)) };
        match Self::make(&path, config.control.group.as_deref(), sockets.take_control()) {
            Ok(socket) => Ok(Ok(Some(socket))),
            Err(cause) if config.control.socket.is_none() => {
                Ok(Err(life::control_unavailable(&path.display().to_string(), &cause)))
            }
            Err(cause) => Err(StartError::Bind(vec![format!("control socket: {cause}")])),
        }
    }

    fn make(path: &Path, group: Option<&str>, inherited: Option<Listening>) -> Result<Self, String> {
        let uid = rustix::process::getuid().as_raw();
        let admitted = match group {
            Some(name) => members(uid, name)?,
            None => Admitted { uid, gid: None, members: Vec::new() },
        };
        if let Some(listening) = inherited {
            return Ok(Self { path: path.to_owned(), admitted, listening, inherited: true });
        }
        let listening = Listening::unix(path).map_err(|error| error.to_string())?;
        if let (Some(gid), Some(name)) = (admitted.gid, group) {
            let open = || -> io::Result<()> {
                std::os::unix::fs::chown(path, None, Some(gid))?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
            };
            open().map_err(|error| {
                let place = path.display();
                format!("cannot give {place} to the group {name}: {error}\n  remedy: make the user that runs motte a member of it (SupplementaryGroups= in the unit)")
            })?;
        }
        Ok(Self { path: path.to_owned(), admitted, listening, inherited: false })
    }

    /// Takes its name away, unless that is somebody else's to do.
    pub fn remove(&self) {
        if !self.inherited {
            // It may be in a directory that is closed by now; the next start replaces it in any case.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// The socket, to be handed over.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.listening {
            Listening::Tcp(listener) => listener.as_fd(),
            Listening::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A group with its members, as the files of the system name them. What another directory service adds to the group passes
/// by its number if it is the peer's own.
fn members(uid: u32, group: &str) -> Result<Admitted, String> {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {path}: {error}\n  remedy: leave control.group out"))
    };
    let (groups, users) = (read("/etc/group")?, read("/etc/passwd")?);
    group_of(&groups, &users, group).map(|(gid, members)| Admitted { uid, gid: Some(gid), members }).ok_or_else(|| {
        format!("the group {group} is not in /etc/group\n  remedy: make it (groupadd --system {group}), or correct control.group")
    })
}

/// A group's number, and the users that are named as its members.
fn group_of(groups: &str, users: &str, name: &str) -> Option<(u32, Vec<u32>)> {
    let fields = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let group = fields.into_iter().find(|fields| fields.first() == Some(&name))?;
    let gid = group.get(2)?.parse().ok()?;
    let named: Vec<&str> = group.get(3).map(|members| members.split(',').collect()).unwrap_or_default();
    let uid = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let user = fields.first()?;
        named.contains(user).then(|| fields.get(2)?.parse().ok())?
    };
    Some((gid, users.lines().filter_map(uid).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_its_number_and_the_numbers_of_its_members() {
        let groups = "root:x:0:\noperators:x:990:ann,ben,gone\nbroken:x:\n";
        let users =
            "root:x:0:0::/root:/bin/sh\nann:x:1001:100::/:/bin/sh\nben:x:1002:100::/:/bin/sh\nbad:x\n";
        assert_eq!(group_of(groups, users, "operators"), Some((990, vec![1001, 1002])));
        assert_eq!(group_of(groups, users, "root"), Some((0, Vec::new())));
        assert_eq!(group_of(groups, users, "broken"), None);
        assert_eq!(group_of(groups, users, "nobody"), None);
        assert!(members(1, "no such group of ours").unwrap_err().contains("groupadd"));
    }
}
