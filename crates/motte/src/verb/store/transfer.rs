//! `motte store export` and `import`: JSON lines, in the clear.
//!
//! The first line says what it is. Each further line is a record in force: what it says, for people and scripts, and the
//! record itself in Base64, which is what an import takes. The last but
//! one counts them, and the last has the SHA-256 of all lines before.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use motte_config::Config;
use motte_disk::Directory;
use motte_roles::Passphrases;
use motte_server::vault::{self, VaultAccess};
use motte_store::journal::{Content, Exported};
use motte_store::{Batch, Group, Journal, JournalError};
use serde_json::{Value, json};

use crate::cli::KeptArgs;
use crate::state::now_s;
use crate::verb::Fault;
use crate::verb::kept::{Kept, Progress, fault, look};
use crate::verb::serve::ask_passphrase;

/// Version of the export.
const VERSION: u64 = 1;
/// Records of one commit of an import, in bytes.
const COMMIT_BYTES: usize = 4 * 1024 * 1024;

/// Why an export ended.
enum Stop {
    Journal(JournalError),
    File(std::io::Error),
}

impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// Lines with a digest of them.
struct Lines {
    out: BufWriter<File>,
    digest: Context,
}

impl Lines {
    fn put(&mut self, value: &Value) -> std::io::Result<()> {
        let line = format!("{value}\n");
        self.digest.update(line.as_bytes());
        self.out.write_all(line.as_bytes())
    }
}

pub(crate) fn export(args: &KeptArgs, to: &Path) -> Result<(), Fault> {
    let kept = Kept::there(args)?;
    let (journal, _) = look(&kept.state, || kept.keys().map(Some))?;
    let fail = |error: std::io::Error| {
        let what = format!("cannot write {}: {error}", to.display());
        Fault::with_remedy(what, "name a file that is not there, on a disk with room")
    };
    let file = File::options().write(true).create_new(true).mode(0o600).open(to).map_err(fail)?;
    let mut lines = Lines { out: BufWriter::new(file), digest: Context::new(&SHA256) };
    let head = json!({ "motte_export": VERSION, "version": env!("CARGO_PKG_VERSION"), "made_s": now_s() });
    lines.put(&head).map_err(fail)?;
    let written = journal.export(|exported| lines.put(&line(&exported)).map_err(Stop::File));
    let summary = written.map_err(|stop| match stop {
        Stop::Journal(error) => fault(error),
        Stop::File(error) => fail(error),
    })?;
    let (records, unreadable) = (summary.records, summary.unreadable);
    lines.put(&json!({ "kind": "count", "records": records, "unreadable": unreadable })).map_err(fail)?;
    let Lines { mut out, digest } = lines;
    let written = out
        .write_all(end(digest).as_bytes())
        .and_then(|()| out.flush())
        .and_then(|()| out.get_ref().sync_all());
    written.map_err(fail)?;
    if args.json {
        println!(
            "{}",
            json!({ "file": to.display().to_string(), "records": records, "unreadable": unreadable })
        );
    } else {
        println!("{records} records, in the clear, in {}: keep it as you keep the key", to.display());
        if unreadable > 0 {
            println!("{unreadable} could not be read; `motte store check` says why");
        }
    }
    Ok(())
}

/// The last line.
fn end(digest: Context) -> String {
    format!("{}\n", json!({ "kind": "end", "sha256": hex(digest.finish().as_ref()) }))
}

/// What a record says, and the record.
fn line(exported: &Exported) -> Value {
    let mut value = match &exported.content {
        Content::Session(id, record) => json!({
            "kind": "session",
            "session": id.0,
            "identity": record.principal.identity,
            "client_id": record.principal.client_id,
            "subscriptions": record.subscriptions.iter().map(|one| one.filter.as_str()).collect::<Vec<_>>(),
        }),
        Content::Will(id, will) => json!({
            "kind": "will", "session": id.0, "topic": will.topic, "payload": payload(&will.payload), "qos": will.qos,
        }),
        Content::Publication(id, message) => json!({
            "kind": "message",
            "message": id.0,
            "topic": message.topic,
            "payload": payload(&message.payload),
            "qos": message.qos,
            "publisher": message.source.identity,
        }),
        Content::Delivery(id, delivery) => json!({
            "kind": "delivery",
            "session": id.0,
            "seq": delivery.seq,
            "message": delivery.publication.map(|id| id.0),
            "qos": delivery.qos,
        }),
        Content::Inbound(id, packet_id) => {
            json!({ "kind": "inbound", "session": id.0, "packet_id": packet_id })
        }
        Content::Retained(topic, id) => json!({ "kind": "retained", "topic": topic, "message": id.0 }),
        Content::Fact(name, _) => json!({ "kind": "fact", "name": name }),
    };
    if let Some(object) = value.as_object_mut() {
        object.insert("group".into(), exported.group.0.into());
        object.insert("record".into(), STANDARD.encode(&exported.record).into());
    }
    value
}

/// A payload as text where it is text, in Base64 elsewhere.
fn payload(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

pub(crate) fn import(args: &KeptArgs, from: &Path) -> Result<(), Fault> {
    let records = verify(from)?;
    let kept = Kept::of(args)?;
    let _lock = kept.lock()?;
    let directory = Directory::open(&kept.state).map_err(fault)?;
    if !motte_store::journal::segments_of(&directory).map_err(fault)?.is_empty() {
        let what = format!("{} keeps something already", kept.state.display());
        return Err(Fault::with_remedy(what, "import into a new state directory"));
    }
    let access = VaultAccess::read(&kept.config, &mut Passphrases::new(Some(ask_passphrase())));
    let access = access.map_err(fault)?.ok_or_else(|| Fault::new("there is no state directory"))?;
    let opened = vault::open(&kept.state, &access).map_err(fault)?;
    let (mut journal, _) = kept.journal(opened.keyring)?;
    let mut importer =
        Importer { kept: &kept.config, state: &kept.state, journal: &mut journal, batch: Batch::new() };
    let mut progress = Progress::new("importing");
    let mut done = 0;
    for_each_record(from, |group, record| {
        done += 1;
        progress.tell(done, records);
        importer.put(group, record)
    })?;
    importer.commit()?;
    journal.sync().map_err(fault)?;
    journal.close().map_err(fault)?;
    if args.json {
        println!("{}", json!({ "state": kept.state.display().to_string(), "records": records }));
    } else {
        println!(
            "{records} records are in {} now; remove {}, which anybody can read",
            kept.state.display(),
            from.display()
        );
    }
    Ok(())
}

/// Takes records into a journal.
struct Importer<'i> {
    kept: &'i Config,
    state: &'i Path,
    journal: &'i mut Journal<Directory>,
    batch: Batch,
}

impl Importer<'_> {
    fn put(&mut self, group: Group, record: &[u8]) -> Result<(), Fault> {
        self.know(group)?;
        let is_message = self.batch.put_exported(group, record).map_err(fault)?;
        if !is_message && self.batch.bytes() >= COMMIT_BYTES {
            self.commit()?;
        }
        Ok(())
    }

    /// Gives a group its key, and has it in the vault before it is used.
    fn know(&mut self, group: Group) -> Result<(), Fault> {
        let is_known = self.journal.with_keyring(|keys| keys.current(group.0).is_some()).unwrap_or(true);
        if is_known {
            return Ok(());
        }
        let directory = Directory::open(self.state).map_err(fault)?;
        let state = self.kept.state_dir.as_deref().unwrap_or(self.state);
        let written = self.journal.with_keyring(|keys| {
            keys.add_group(group.0).map_err(fault)?;
            vault::write(&directory, state, keys).map_err(fault)
        });
        written.unwrap_or(Ok(()))
    }

    fn commit(&mut self) -> Result<(), Fault> {
        self.journal.append([&self.batch]).map_err(fault)?;
        self.batch.clear();
        Ok(())
    }
}

fn not_whole(from: &Path, what: &str) -> Fault {
    let what = format!("{} is no whole export: {what}", from.display());
    Fault::with_remedy(what, "export again with `motte store export`")
}

/// Whether the file is what was exported; gives how many records it has.
fn verify(from: &Path) -> Result<u64, Fault> {
    let mut digest = Context::new(&SHA256);
    // The last two lines: the digest is of all before the last.
    let (mut count, mut last) = (String::new(), String::new());
    for_each_line(from, |line| {
        digest.update(last.as_bytes());
        std::mem::swap(&mut count, &mut last);
        line.clone_into(&mut last);
        Ok(())
    })?;
    if last != end(digest) {
        return Err(not_whole(from, "its digest is another, or it was cut short"));
    }
    let count: Value = serde_json::from_str(&count).unwrap_or_default();
    count
        .get("records")
        .and_then(Value::as_u64)
        .ok_or_else(|| not_whole(from, "it does not count its records"))
}

/// Hands the records of a verified export to `take`.
fn for_each_record(
    from: &Path,
    mut take: impl FnMut(Group, &[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut is_first = true;
    for_each_line(from, |line| {
        let value: Value = serde_json::from_str(line).map_err(|error| not_whole(from, &error.to_string()))?;
        if std::mem::take(&mut is_first) {
            let version = value.get("motte_export").and_then(Value::as_u64);
            return if version == Some(VERSION) {
                Ok(())
            } else {
                Err(not_whole(from, "it is of another version"))
            };
        }
        if matches!(value.get("kind").and_then(Value::as_str), Some("count" | "end")) {
            return Ok(());
        }
        let group = value.get("group").and_then(Value::as_u64).and_then(|group| u32::try_from(group).ok());
        let record = value.get("record").and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
        match (group, record) {
            (Some(group), Some(record)) => take(Group(group), &record),
            _ => Err(not_whole(from, "a line without group or record")),
        }
    })
}

fn for_each_line(from: &Path, mut take: impl FnMut(&str) -> Result<(), Fault>) -> Result<(), Fault> {
    let fail = |error: std::io::Error| {
        let what = format!("cannot read {}: {error}", from.display());
        Fault::with_remedy(what, "name a file that `motte store export` wrote")
    };
    let mut reader = BufReader::new(File::open(from).map_err(fail)?);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).map_err(fail)? == 0 {
            return Ok(());
        }
        take(&line)?;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
