//! Who answers for each library: the package that it is of, and whose package that is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::dpkg::{self, Package};
use super::judge::Maker;
use super::library::Library;
use super::table::{Suite, Table};
use super::version::Version;
use crate::finding::Finding;
use crate::tree::{Tree, Unread, shown};

/// Bytes of `os-release` that are read.
const RELEASE_BYTES_MAX: u64 = 64 * 1_024;
/// What tells that a package manager whose files are not read here keeps the system's folders.
const OTHERS: [(&str, &str); 6] = [
    ("var/lib/rpm", "the maker of the rpm package"),
    ("usr/lib/sysimage/rpm", "the maker of the rpm package"),
    ("lib/apk/db/installed", "the maker of the apk package"),
    ("usr/lib/apk/db/installed", "the maker of the apk package"),
    ("var/lib/pacman", "the maker of the pacman package"),
    ("var/lib/opkg/status", "the maker of the opkg package"),
];

/// The packages of a tree.
pub(crate) struct Makers<'t> {
    packages: BTreeMap<PathBuf, Package>,
    table: &'t Table,
    /// The suite that the tree says it is, if it is Debian's.
    suite: Option<&'t Suite>,
    /// Whether the tree says that it is of Debian.
    is_debian: bool,
    /// Who else keeps the folders of the system.
    other: Option<&'static str>,
}

impl<'t> Makers<'t> {
    /// Reads who made what.
    pub(crate) fn read(
        tree: &Tree,
        table: &'t Table,
        libraries: &[Library],
        findings: &mut Vec<Finding>,
    ) -> Self {
        let (is_debian, suite) = release(tree, table);
        let other = OTHERS.iter().find(|(path, _)| tree.has(Path::new(path))).map(|(_, who)| *who);
        let mut makers = Self { packages: BTreeMap::new(), table, suite, is_debian, other };
        let status = match tree.read(Path::new(dpkg::STATUS), dpkg::STATUS_BYTES_MAX) {
            Ok(status) => status,
            Err(Unread::Missing) => return makers,
            Err(why) => {
                findings.push(super::incomplete(&shown(Path::new(dpkg::STATUS)), &why.to_string()));
                // Whose the libraries are is not known, so their versions prove nothing.
                makers.other = Some("the maker of the package");
                return makers;
            }
        };
        let packages = dpkg::packages(&status);
        let files: Vec<PathBuf> = libraries.iter().map(|library| library.path.clone()).collect();
        let unread =
            |path: &Path, why: Unread| findings.push(super::incomplete(&shown(path), &why.to_string()));
        let owners = dpkg::owners(tree, &packages, &files, unread);
        makers.packages = owners.into_iter().map(|(file, package)| (file, package.clone())).collect();
        makers
    }

    /// The package that a library is of.
    pub(crate) fn package(&self, library: &Library) -> Option<&Package> {
        self.packages.get(&library.path)
    }

    /// Who answers for a library.
    pub(crate) fn maker(&self, library: &Library) -> Maker<'t> {
        let Some(package) = self.package(library) else {
            let is_system =
                ["lib", "usr/lib"].iter().any(|folder| library.path.to_string_lossy().starts_with(folder));
            return match self.other {
                _ if library.path.starts_with("snap") => Maker::Unknown("the maker of the snap".to_owned()),
                Some(other) if is_system => Maker::Unknown(other.to_owned()),
                Some(_) | None => Maker::Upstream,
            };
        };
        // A file that is not the package's is not mended by the package's revision.
        let of_package = Version::parse(package.version.upstream());
        let is_changed = of_package.is_some()
            && of_package != library.banner.as_ref().map(|banner| banner.version.clone());
        if is_changed {
            return Maker::Upstream;
        }
        let revision = package.version.clone();
        let by_revision = revision
            .release()
            .and_then(|number| self.table.suites.iter().find(|suite| suite.number == number));
        let suite = by_revision.or(self.suite).filter(|_| !revision.is_foreign());
        let is_debian = by_revision.is_some() || self.is_debian;
        match suite.filter(|_| is_debian) {
            Some(suite) => Maker::Debian { revision, suite },
            None => Maker::Unknown(format!("the maker of {} {}", package.name, revision.as_str())),
        }
    }
}

/// Whether the tree says that it is of Debian, and its suite as far as the table has it.
fn release<'t>(tree: &Tree, table: &'t Table) -> (bool, Option<&'t Suite>) {
    let read = |path: &str| tree.read(Path::new(path), RELEASE_BYTES_MAX).ok();
    let Some(bytes) = read("etc/os-release").or_else(|| read("usr/lib/os-release")) else {
        return (false, None);
    };
    let text = String::from_utf8_lossy(&bytes);
    let value = |wanted: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value.trim().trim_matches(['"', '\'']).to_owned())
    };
    if value("ID").as_deref() != Some("debian") {
        return (false, None);
    }
    let name = value("VERSION_CODENAME").unwrap_or_default();
    (true, table.suites.iter().find(|suite| suite.name == name))
}
