//! The tree as it lies on disk: members, manifests and text files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

use crate::Outcome;
use crate::source::Source;

/// Folders that hold nothing written by hand.
const SKIPPED: [&str; 6] = ["target", ".git", "node_modules", "__pycache__", "motte-state", "corpora"];

/// Endings of the files that are read as text, besides Rust.
const TEXT_ENDINGS: [&str; 19] = [
    "toml", "md", "sh", "py", "js", "mjs", "json", "yml", "yaml", "service", "socket", "sysusers", "te",
    "fc", "if", "conf", "html", "css", "txt",
];

/// The whole tree.
pub(crate) struct Workspace {
    /// The folder with the root manifest.
    pub(crate) root: PathBuf,
    /// The root manifest.
    pub(crate) manifest: Table,
    /// The members in the order of the root manifest.
    pub(crate) members: Vec<Member>,
    /// Every Rust file, by path.
    pub(crate) sources: Vec<Source>,
    /// Every other text file, by path relative to the root.
    pub(crate) texts: BTreeMap<String, String>,
}

/// One crate of the workspace.
pub(crate) struct Member {
    /// Folder relative to the root, such as `crates/base/topic`.
    pub(crate) folder: String,
    /// Name of the package.
    pub(crate) name: String,
    /// Its manifest.
    pub(crate) manifest: Table,
}

impl Member {
    /// The names in a table of dependencies, with what stands behind each.
    pub(crate) fn dependencies(&self, table: &str) -> Vec<(&str, &Value)> {
        let tables =
            self.manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
        std::iter::once(self.manifest.get(table))
            .chain(tables.map(|target| target.get(table)))
            .flatten()
            .filter_map(Value::as_table)
            .flatten()
            .map(|(name, value)| (name.as_str(), value))
            .collect()
    }
}

impl Workspace {
    /// Reads the tree this program was built from.
    pub(crate) fn load() -> Outcome<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let manifest = manifest_of(&root)?;
        let folders = manifest
            .get("workspace")
            .and_then(|workspace| workspace.get("members"))
            .and_then(Value::as_array)
            .ok_or("Cargo.toml has no workspace.members")?;
        let mut members = Vec::new();
        for folder in folders.iter().filter_map(Value::as_str) {
            let manifest = manifest_of(&root.join(folder))?;
            let name = manifest
                .get("package")
                .and_then(|package| package.get("name"))
                .and_then(Value::as_str)
                .ok_or_else(|| format!("{folder}/Cargo.toml has no package.name"))?
                .to_owned();
            members.push(Member { folder: folder.to_owned(), name, manifest });
        }
        let mut paths = Vec::new();
        list(&root, &mut paths)?;
        paths.sort();
        let mut sources = Vec::new();
        let mut texts = BTreeMap::new();
        for path in paths {
            let relative = path.strip_prefix(&root)?.to_string_lossy().into_owned();
            let text = read(&path)?;
            if path.extension().is_some_and(|ending| ending == "rs") {
                sources.push(Source::new(relative, text));
            } else {
                texts.insert(relative, text);
            }
        }
        Ok(Self { root, manifest, members, sources, texts })
    }
}

/// The cargo that runs this program, or the one on the path.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The text of a file, with its path in the error.
fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn manifest_of(folder: &Path) -> Outcome<Table> {
    let path = folder.join("Cargo.toml");
    read(&path)?.parse().map_err(|error| format!("{}: {error}", path.display()).into())
}

fn list(folder: &Path, paths: &mut Vec<PathBuf>) -> Outcome<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = entry.file_name();
        if kind.is_dir() {
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                list(&path, paths)?;
            }
        } else if kind.is_file()
            && path
                .extension()
                .is_some_and(|ending| ending == "rs" || TEXT_ENDINGS.iter().any(|text| ending == *text))
        {
            paths.push(path);
        }
    }
    Ok(())
}
