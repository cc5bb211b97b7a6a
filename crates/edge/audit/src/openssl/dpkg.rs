//! The packages that dpkg installed, from its own files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::debian::DebianVersion;
use crate::tree::{Tree, Unread, merged};

/// What dpkg knows, below the root.
pub(crate) const STATUS: &str = "var/lib/dpkg/status";
/// The lists of files of each package.
const LISTS: &str = "var/lib/dpkg/info";
/// Bytes of the file that are read; that of a large machine has 10 MB.
pub(crate) const STATUS_BYTES_MAX: u64 = 64 * 1_024 * 1_024;
/// Bytes of one list of files that are read.
const LIST_BYTES_MAX: u64 = 8 * 1_024 * 1_024;
/// Packages that are kept.
const PACKAGES_MAX: usize = 200_000;
/// The longest name of a package or an architecture.
const NAME_MAX: usize = 128;

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name: letters, digits, `+`, `-` and `.` only.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// Its version.
    pub version: DebianVersion,
}

/// The installed packages of a status file. Paragraphs that are not as they should be are left out.
pub fn packages(status: &[u8]) -> Vec<Package> {
    let mut packages = Vec::new();
    let mut paragraph = Paragraph::default();
    for line in status.split(|byte| *byte == b'\n') {
        if line.iter().all(u8::is_ascii_whitespace) {
            packages.extend(std::mem::take(&mut paragraph).package());
        } else {
            paragraph.take(line);
        }
        if packages.len() >= PACKAGES_MAX {
            return packages;
        }
    }
    packages.extend(paragraph.package());
    packages
}

/// The fields of a paragraph that matter.
#[derive(Default)]
struct Paragraph {
    name: Option<String>,
    architecture: Option<String>,
    version: Option<DebianVersion>,
    is_installed: bool,
}

impl Paragraph {
    fn take(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let (Some(field), Some(value)) = (line.get(..colon), line.get(colon + 1..)) else { return };
        // A value on several lines goes on with a space, so no field does.
        let Ok(value) = std::str::from_utf8(value) else { return };
        let value = value.trim();
        if field.eq_ignore_ascii_case(b"Package") {
            self.name = is_name(value).then(|| value.to_owned());
        } else if field.eq_ignore_ascii_case(b"Architecture") {
            self.architecture = is_name(value).then(|| value.to_owned());
        } else if field.eq_ignore_ascii_case(b"Version") {
            self.version = DebianVersion::parse(value);
        } else if field.eq_ignore_ascii_case(b"Status") {
            self.is_installed = value.split_ascii_whitespace().next_back() == Some("installed");
        }
    }

    fn package(self) -> Option<Package> {
        let architecture = self.architecture.unwrap_or_default();
        self.name.filter(|_| self.is_installed).zip(self.version).map(|(name, version)| Package {
            name,
            architecture,
            version,
        })
    }
}

/// What can stand in the name of a file without leading elsewhere.
fn is_name(text: &str) -> bool {
    let is_part =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.');
    (1..=NAME_MAX).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(is_part)
}

/// The packages that these files are of, by file. Lists that cannot be read are handed to `unread`.
pub(crate) fn owners<'p>(
    tree: &Tree,
    packages: &'p [Package],
    files: &[PathBuf],
    mut unread: impl FnMut(&Path, Unread),
) -> BTreeMap<PathBuf, &'p Package> {
    let mut wanted: BTreeMap<&[u8], &PathBuf> = files.iter().map(|file| (merged(file), file)).collect();
    let mut owners = BTreeMap::new();
    let is_likely = |package: &&Package| package.name.contains("ssl") || package.name.contains("crypto");
    let (likely, others): (Vec<&Package>, Vec<&Package>) = packages.iter().partition(is_likely);
    for package in likely.into_iter().chain(others) {
        if wanted.is_empty() {
            break;
        }
        let list = match list(tree, package) {
            Ok(Some(list)) => list,
            Ok(None) => continue,
            Err((path, why)) => {
                let is_end = matches!(why, Unread::Spent);
                unread(&path, why);
                if is_end {
                    break;
                }
                continue;
            }
        };
        for line in list.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"/")) {
            let path = line.get(1..).unwrap_or_default();
            if let Some(file) = wanted.remove(merged(Path::new(OsStr::from_bytes(path)))) {
                owners.insert(file.clone(), package);
            }
        }
    }
    owners
}

fn list(tree: &Tree, package: &Package) -> Result<Option<Vec<u8>>, (PathBuf, Unread)> {
    let names = [format!("{}.list", package.name), format!("{}:{}.list", package.name, package.architecture)];
    for name in names {
        let path = Path::new(LISTS).join(name);
        match tree.read(&path, LIST_BYTES_MAX) {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(Unread::Missing) => {}
            Err(why) => return Err((path, why)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn installed_packages_are_read_and_garbage_is_left_out() {
        let status = b"Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nVersion: 3.0.19-1~deb12u2\nDescription: x\n Version: 9\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: ../../etc\nStatus: install ok installed\nVersion: 1\n\n\
            \xff\xfe:\nVersion\n:::\n\npackage: last\nSTATUS: hold ok installed\nversion: 1:2-3";
        let found: Vec<(String, String)> =
            packages(status).into_iter().map(|one| (one.name, one.version.as_str().to_owned())).collect();
        let expected = [("libssl3", "3.0.19-1~deb12u2"), ("last", "1:2-3")];
        assert_eq!(found, expected.map(|(name, version)| (name.to_owned(), version.to_owned())));
    }

    proptest! {
        #[test]
        fn no_name_leads_out_of_the_folder_of_lists(text in "(Package: [ -~]{0,20}\nStatus: x installed\nVersion: 1\n\n){0,3}") {
            for package in packages(text.as_bytes()) {
                prop_assert!(!package.name.contains('/') && !package.name.starts_with('.'));
            }
        }

        #[test]
        fn what_is_written_is_read(name in "[a-z][a-z0-9+.-]{0,20}", version in "[0-9][a-z0-9.+~]{0,10}-[0-9]{1,3}") {
            let text = format!("Package: {name}\nVersion: {version}\nStatus: install ok installed\n");
            let found = packages(text.as_bytes());
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&found[0].name, &name);
            prop_assert_eq!(found[0].version.as_str(), version);
        }
    }
}
