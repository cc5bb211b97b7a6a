//! Where libraries of OpenSSL lie, and which version each says that it is.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::version::{BANNER_MAX, Banner, banner};
use crate::tree::{Identity, Kind, Opened, Tree, Unread};

/// Folders that are looked through, and how many levels below each. `/usr/lib` comes first: where `/lib` is a link to it,
/// files are named by where they are.
const PLACES: [(&str, usize); 11] = [
    ("usr/lib", 4),
    ("usr/lib64", 4),
    ("usr/lib32", 4),
    ("usr/libx32", 4),
    ("lib", 4),
    ("lib64", 4),
    ("lib32", 4),
    ("libx32", 4),
    ("usr/local", 8),
    ("opt", 8),
    ("snap", 8),
];
/// Folders that are looked through in all.
const FOLDERS_MAX: usize = 50_000;
/// Libraries that are looked at.
pub(crate) const LIBRARIES_MAX: usize = 1_000;
/// Bytes that are read of one library; OpenSSL's have 7 MB at most.
const LIBRARY_BYTES_MAX: u64 = 64 * 1_024 * 1_024;
/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 256 * 1_024;
/// How a program or library of Linux begins.
const ELF: &[u8] = b"\x7fELF";

/// A library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Library {
    /// Where it is, below the root.
    pub(crate) path: PathBuf,
    /// What it says of itself, or its libcrypto.
    pub(crate) banner: Option<Banner>,
    /// Whether the version is that of the libcrypto beside it: since 3.0 a libssl has none of its own.
    pub(crate) is_of_libcrypto: bool,
}

impl Library {
    fn is_libcrypto(&self) -> bool {
        self.path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"libcrypto"))
    }
}

/// What was found, and what could not be looked at.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// In the order of the places.
    pub(crate) libraries: Vec<Library>,
    /// Paths and why.
    pub(crate) unread: Vec<(PathBuf, String)>,
}

/// Looks through the places.
pub(crate) fn search(tree: &Tree) -> Search {
    let mut walk = Walk { tree, folders: BTreeSet::new(), files: BTreeSet::new(), search: Search::default() };
    for (place, depth) in PLACES {
        if !walk.folder(Path::new(place), depth) {
            break;
        }
    }
    let mut search = walk.search;
    adopt(&mut search.libraries);
    search
}

/// Whether a file of this name is a library of OpenSSL: `libssl.so.3`, and `libssl-0f1e.so.3` as packages of other languages
/// call the copies that they bring. `libssl3.so` is of NSS.
pub(crate) fn is_library(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let rest = name.strip_prefix(b"libssl").or_else(|| name.strip_prefix(b"libcrypto"));
    let Some(rest) = rest else { return false };
    let rest = if rest.first() == Some(&b'-') {
        let at = rest.windows(3).position(|part| part == b".so");
        at.and_then(|at| rest.get(at..)).unwrap_or_default()
    } else {
        rest
    };
    rest.strip_prefix(b".so").is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
}

struct Walk<'t> {
    tree: &'t Tree,
    folders: BTreeSet<Identity>,
    files: BTreeSet<Identity>,
    search: Search,
}

impl Walk<'_> {
    fn unread(&mut self, path: &Path, why: &Unread) {
        self.search.unread.push((path.to_owned(), why.to_string()));
    }

    /// Looks through a folder; false once a bound of the audit is reached.
    fn folder(&mut self, path: &Path, depth: usize) -> bool {
        if self.folders.len() >= FOLDERS_MAX {
            self.unread(path, &Unread::Spent);
            return false;
        }
        let (identity, mut entries) = match self.tree.folder(path) {
            Ok(found) => found,
            Err(Unread::Missing) => return true,
            Err(why) => {
                self.unread(path, &why);
                return !matches!(why, Unread::Spent);
            }
        };
        if !self.folders.insert(identity) {
            return true;
        }
        // Files before links: a library is named by where it is, not by a link to it.
        entries.sort_by_key(|entry| entry.kind);
        for entry in entries {
            let below = path.join(&entry.name);
            let goes_on = match entry.kind {
                Kind::Folder if depth > 0 => self.folder(&below, depth - 1),
                Kind::File | Kind::Link if is_library(&entry.name) => self.file(below),
                Kind::Folder | Kind::File | Kind::Link | Kind::Other => true,
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    fn file(&mut self, path: PathBuf) -> bool {
        if self.search.libraries.len() >= LIBRARIES_MAX {
            self.unread(&path, &Unread::Spent);
            return false;
        }
        let opened = match self.tree.file(&path) {
            Ok(opened) => opened,
            // A link to nothing, a folder with the name of a library.
            Err(Unread::Missing | Unread::Kind) => return true,
            Err(why) => {
                self.unread(&path, &why);
                return true;
            }
        };
        if !self.files.insert(opened.identity) {
            return true;
        }
        let banner = match scan(opened) {
            Ok(Scanned::Says(banner)) => Some(banner),
            Ok(Scanned::Silent) => None,
            Ok(Scanned::Other) => return true,
            Err(why) => {
                let is_end = matches!(why, Unread::Spent);
                self.unread(&path, &why);
                return !is_end;
            }
        };
        self.search.libraries.push(Library { path, banner, is_of_libcrypto: false });
        true
    }
}

/// What a file turned out to be.
enum Scanned {
    /// A library that says its version.
    Says(Banner),
    /// A library that does not.
    Silent,
    /// No library, whatever it is called.
    Other,
}

/// Reads a file until it says what it is.
fn scan(mut opened: Opened<'_>) -> Result<Scanned, Unread> {
    let mut window: Vec<u8> = Vec::with_capacity(CHUNK_BYTES + BANNER_MAX * 2);
    let (mut total, mut is_elf) = (0_u64, false);
    loop {
        let kept = window.len();
        let read = opened.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut window)?;
        if total == 0 {
            is_elf = window.starts_with(ELF);
        }
        total += read as u64;
        if let Some(found) = banner(&window) {
            return Ok(Scanned::Says(found));
        }
        if read == 0 || kept + read == 0 {
            return if opened.is_spent() {
                Err(Unread::Spent)
            } else {
                Ok(if is_elf { Scanned::Silent } else { Scanned::Other })
            };
        }
        if total >= LIBRARY_BYTES_MAX {
            return Err(Unread::TooLarge(LIBRARY_BYTES_MAX));
        }
        // A text may lie across two chunks.
        window.drain(..window.len().saturating_sub(BANNER_MAX * 2));
    }
}

/// Gives a libssl without a version that of the libcrypto beside it: of the same suffix, or the only one there.
fn adopt(libraries: &mut [Library]) {
    let known: Vec<Library> =
        libraries.iter().filter(|one| one.is_libcrypto() && one.banner.is_some()).cloned().collect();
    for library in libraries.iter_mut().filter(|one| !one.is_libcrypto() && one.banner.is_none()) {
        let folder = library.path.parent();
        let beside: Vec<&Library> = known.iter().filter(|one| one.path.parent() == folder).collect();
        let suffix = |path: &Path| {
            let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
            name.windows(3).position(|part| part == b".so").and_then(|at| name.get(at..)).map(<[u8]>::to_vec)
        };
        let same = beside.iter().find(|one| suffix(&one.path) == suffix(&library.path));
        let only = if let [only] = beside.as_slice() { Some(only) } else { None };
        if let Some(found) = same.or(only) {
            library.banner.clone_from(&found.banner);
            library.is_of_libcrypto = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_by_their_names() {
        for name in
            ["libssl.so", "libssl.so.3", "libcrypto.so.1.1", "libssl-3e69114b.so.1.1.1k", "libcrypto-a.so"]
        {
            assert!(is_library(OsStr::new(name)), "{name}");
        }
        for name in [
            "libssl3.so",
            "libssl.a",
            "libssl",
            "libssl.sock",
            "libcrypto-x",
            "xlibssl.so",
            "libcryptopp.so.8",
            "libssl.soX",
        ] {
            assert!(!is_library(OsStr::new(name)), "{name}");
        }
    }
}
