//! The files that an audit of a host reads: whoever wrote them, they are read to their end, and what is taken keeps its promises.

use motte_audit::openssl::debian::DebianVersion;
use motte_audit::openssl::table::Table;
use motte_audit::openssl::version::Version;
use motte_audit::openssl::{conf, dpkg, processes, version};

/// The first byte says which file the rest is.
pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 5 {
        0 => packages(data),
        1 => configuration(data),
        2 => table(data),
        3 => maps(data),
        _ => banner(data),
    }
}

fn packages(data: &[u8]) {
    for package in dpkg::packages(data) {
        if package.name.contains(['/', '\0'])
            || package.name.starts_with('.')
            || package.architecture.contains('/')
        {
            super::fail(format!("a name that leads elsewhere: {package:?}"));
        }
        if DebianVersion::parse(package.version.as_str()) != Some(package.version.clone()) {
            super::fail(format!("a version that is another one: {package:?}"));
        }
    }
}

fn configuration(data: &[u8]) {
    let lines = String::from_utf8_lossy(data).lines().count();
    let mut last = 0;
    for statement in conf::parse(data) {
        if statement.line <= last || statement.line > lines {
            super::fail(format!("a line out of its place: {statement:?}"));
        }
        last = statement.line;
    }
}

fn table(data: &[u8]) {
    let Some(table) = std::str::from_utf8(data).ok().and_then(|text| Table::parse(text).ok()) else { return };
    for cve in &table.cves {
        if cve.published > table.date {
            super::fail(format!("an advisory after its table: {cve:?}"));
        }
        for (first, mended) in &cve.affected {
            let is_told = |version| table.of(version).iter().any(|(one, _)| one.id == cve.id);
            if first >= mended || !is_told(first) {
                super::fail(format!("a range that says nothing: {cve:?}"));
            }
        }
    }
}

fn maps(data: &[u8]) {
    for (path, _) in processes::mapped(data) {
        if path.is_absolute() {
            super::fail(format!("a path that is not below a root: {}", path.display()));
        }
    }
}

fn banner(data: &[u8]) {
    let Some(found) = version::banner(data) else { return };
    if Version::parse(&found.version.to_string()).as_ref() != Some(&found.version) {
        super::fail(format!("a version that is another one: {found:?}"));
    }
}
