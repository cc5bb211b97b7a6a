//! `motte import`: the configuration of another broker, as ours; never wider than it was, and every difference said.

mod acl;
mod conf;
mod listener;
mod passwords;
mod policy;
mod report;
mod settings;

use std::path::Path;

use crate::cli::{ImportArgs, ImportFrom, MosquittoArgs};
use crate::verb::Fault;
use crate::verb::connecting::read;

use report::Report;

pub(crate) fn run(args: &ImportArgs) -> Result<(), Fault> {
    match &args.from {
        ImportFrom::Mosquitto(args) => mosquitto(args),
    }
}

/// A file to be written: its name, its text, whether others may read it.
struct Written {
    name: String,
    text: String,
    is_secret: bool,
}

fn mosquitto(args: &MosquittoArgs) -> Result<(), Fault> {
    let occupied = std::fs::read_dir(&args.out).is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        let what = format!("{} is not empty", args.out.display());
        return Err(Fault::with_remedy(what, "name another directory with --out; nothing is overwritten"));
    }
    let mut report = Report::default();
    let conf = conf::Conf::read(&args.file)?;
    let files = conf::convert(&conf, args.keep_open, &mut report)?;
    let cannot = |error: std::io::Error| {
        let what = format!("cannot write below {}: {error}", args.out.display());
        Fault::with_remedy(what, "name a directory that you may write with --out")
    };
    std::fs::create_dir_all(&args.out).map_err(cannot)?;
    for file in &files {
        write(&args.out.join(&file.name), file).map_err(cannot)?;
    }
    print!("{report}");
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    println!("written to {}: {}", args.out.display(), names.join(", "));
    println!("next: motte check --config {}", args.out.join("motte.toml").display());
    Ok(())
}

fn write(path: &Path, file: &Written) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mode = if file.is_secret { 0o600 } else { 0o644 };
    let mut to = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    to.write_all(file.text.as_bytes())
}

/// A file that a configuration names.
fn text_of(path: &Path) -> Result<String, Fault> {
    read(path)
}

/// A text as a TOML string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
