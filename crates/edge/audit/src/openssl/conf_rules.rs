//! What an `openssl.cnf` has in force for every program that reads it, and what of that is too weak.
//!
//! Only what can be reached counts: `openssl_conf` names a section, that names others for `ssl_conf` and `providers`. A
//! section that nothing leads to is text.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use motte_access::analysis::Severity;

use super::conf::{CONF_BYTES_MAX, Says, parse};
use crate::finding::{Check, Finding};
use crate::tree::{Identity, Tree, Unread, below, shown};

/// Where builds and distributors put it.
const FILES: [&str; 9] = [
    "etc/ssl/openssl.cnf",
    "etc/pki/tls/openssl.cnf",
    "usr/lib/ssl/openssl.cnf",
    "usr/local/ssl/openssl.cnf",
    "usr/local/etc/ssl/openssl.cnf",
    "usr/local/etc/openssl/openssl.cnf",
    "usr/local/etc/openssl@3/openssl.cnf",
    "usr/local/lib/ssl/openssl.cnf",
    "usr/ssl/openssl.cnf",
];
/// How deep files include others.
const DEPTH_MAX: usize = 8;
/// Files that one configuration is read from.
const FILES_MAX: usize = 256;
/// Lines of all of them that say something; Debian's file has some two hundred.
const STATEMENTS_MAX: usize = 10_000;
/// Where values stand before the first section.
const DEFAULT: &str = "default";

/// A value, and where it stands.
#[derive(Debug, Clone)]
struct Value {
    file: PathBuf,
    line: usize,
    text: String,
}

/// A configuration with what it includes. Of two values of one name in one section, the last counts.
#[derive(Debug, Default)]
struct Configuration {
    /// By section and name; a section keeps the order of its names.
    sections: BTreeMap<String, Vec<(String, Value)>>,
    section: String,
    files: usize,
    statements: usize,
    findings: Vec<Finding>,
}

/// What was looked at, and what is too weak.
#[derive(Debug, Default)]
pub(crate) struct Configurations {
    /// Every file that was found in its place.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) findings: Vec<Finding>,
}

/// Looks at each that is there.
pub(crate) fn configurations(tree: &Tree) -> Configurations {
    let mut seen: BTreeSet<Identity> = BTreeSet::new();
    let mut found = Configurations::default();
    for path in FILES.map(Path::new) {
        match tree.file(path) {
            Ok(opened) if seen.insert(opened.identity) => {}
            Ok(_) | Err(Unread::Missing) => continue,
            Err(why) => {
                found.findings.push(unread(path, 0, path, &why));
                continue;
            }
        }
        let mut configuration = Configuration { section: DEFAULT.to_owned(), ..Configuration::default() };
        configuration.read(tree, path, None, 0);
        configuration.judge();
        found.files.push(path.to_owned());
        found.findings.append(&mut configuration.findings);
    }
    found
}

fn unread(file: &Path, line: usize, path: &Path, why: &Unread) -> Finding {
    Finding {
        check: Check::Incomplete,
        severity: Severity::Warning,
        file: shown(file),
        line,
        what: format!("{} cannot be read: {why}; what it sets is not known", shown(path)),
        remedy: "run the audit as a user who may read it, or mend the file".to_owned(),
        details: Vec::new(),
    }
}

impl Configuration {
    fn read(&mut self, tree: &Tree, path: &Path, from: Option<(&Path, usize)>, depth: usize) {
        let (file, line) = from.unwrap_or((path, 0));
        if self.files > FILES_MAX {
            // That was told when it came to be.
            return;
        }
        self.files += 1;
        if depth > DEPTH_MAX || self.files > FILES_MAX {
            return self.findings.push(unread(file, line, path, &Unread::Spent));
        }
        let bytes = match tree.read(path, CONF_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(why) => return self.findings.push(unread(file, line, path, &why)),
        };
        for statement in parse(&bytes) {
            let line = statement.line;
            if self.statements > STATEMENTS_MAX {
                return;
            }
            self.statements += 1;
            if self.statements > STATEMENTS_MAX {
                return self.findings.push(unread(path, line, path, &Unread::Spent));
            }
            match statement.says {
                Says::Section(name) => self.section = name,
                Says::Value { section, name, value } => {
                    let section = section.unwrap_or_else(|| self.section.clone());
                    let value = Value { file: path.to_owned(), line, text: value };
                    let values = self.sections.entry(section).or_default();
                    values.retain(|(known, _)| *known != name);
                    values.push((name, value));
                }
                Says::Include(target) => self.include(tree, &target, (path, line), depth),
                Says::Fault(what) => self.fault(path, line, format!("this line is {what}")),
            }
        }
    }

    fn include(&mut self, tree: &Tree, target: &str, from: (&Path, usize), depth: usize) {
        if target.contains('$') {
            return self.fault(from.0, from.1, format!("the include `{target}` depends on a variable"));
        }
        let target = below(target.as_bytes());
        match tree.folder(&target) {
            Ok((_, entries)) => {
                for entry in entries {
                    let name = entry.name.as_bytes();
                    if name.ends_with(b".cnf") || name.ends_with(b".conf") {
                        self.read(tree, &target.join(&entry.name), Some(from), depth + 1);
                    }
                }
            }
            Err(_) => self.read(tree, &target, Some(from), depth + 1),
        }
    }

    fn fault(&mut self, file: &Path, line: usize, what: String) {
        self.findings.push(Finding {
            check: Check::ConfigFault,
            severity: Severity::Note,
            file: shown(file),
            line,
            what,
            remedy: "write it so that it can be read, or look at it yourself".to_owned(),
            details: Vec::new(),
        });
    }

    fn value(&self, section: &str, name: &str) -> Option<&Value> {
        let values = self.sections.get(section)?;
        values.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The values of the sections that a section of lists names, each with its name there.
    fn named(&self, list: &str) -> Vec<(String, Vec<(String, Value)>)> {
        let Some(entries) = self.sections.get(list) else { return Vec::new() };
        let section = |target: &Value| self.sections.get(target.text.as_str()).cloned().unwrap_or_default();
        entries.iter().map(|(name, target)| (name.clone(), section(target))).collect()
    }

    fn judge(&mut self) {
        let Some(main) = self.value(DEFAULT, "openssl_conf").map(|value| value.text.clone()) else { return };
        let list = |name| self.value(&main, name).map(|value| value.text.clone());
        let (tls, providers) = (list("ssl_conf"), list("providers"));
        for (name, commands) in tls.map(|list| self.named(&list)).unwrap_or_default() {
            for (command, value) in commands {
                // `1.Options` and `2.Options` are one command, twice.
                let command = command.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
                self.command(&name, &command, &value);
            }
        }
        for (name, values) in providers.map(|list| self.named(&list)).unwrap_or_default() {
            self.provider(&name, &values);
        }
    }

    fn command(&mut self, section: &str, command: &str, value: &Value) {
        let text = value.text.as_str();
        if text.contains('$') {
            return self.fault(
                &value.file,
                value.line,
                format!("`{text}` depends on a variable, and is not judged"),
            );
        }
        match command {
            "minprotocol" if is_old(text) => {
                let what = format!(
                    "`{section}` permits {text} and later: before TLS 1.2 and DTLS 1.2, connections can be attacked"
                );
                self.weak(
                    value,
                    Check::MinProtocol,
                    what,
                    "set MinProtocol = TLSv1.2 (DTLSv1.2 for DTLS), or remove the line",
                );
            }
            "protocol"
                if text
                    .split(',')
                    .any(|part| is_old(part.trim().trim_start_matches('+')) || part.trim() == "ALL") =>
            {
                let what = format!(
                    "`{section}` permits the protocols `{text}`, of which some are older than TLS 1.2"
                );
                self.weak(value, Check::MinProtocol, what, "remove the line and set MinProtocol = TLSv1.2");
            }
            "cipherstring" => self.ciphers(section, value),
            "options" => {
                for option in text.split(',').map(|option| option.trim().trim_start_matches('+')) {
                    if option.eq_ignore_ascii_case("UnsafeLegacyRenegotiation")
                        || option.eq_ignore_ascii_case("UnsafeLegacyServerConnect")
                    {
                        let what = format!(
                            "`{section}` sets {option}: bytes of an attacker can be put in front of a connection (CVE-2009-3555)"
                        );
                        self.weak(
                            value,
                            Check::UnsafeRenegotiation,
                            what,
                            "remove the option, and mend the peers that need it",
                        );
                    }
                }
            }
            _ => {}
        }
    }

    fn ciphers(&mut self, section: &str, value: &Value) {
        const WEAK: [&str; 14] = [
            "NULL",
            "eNULL",
            "aNULL",
            "ADH",
            "AECDH",
            "EXP",
            "EXPORT",
            "LOW",
            "DES",
            "3DES",
            "RC4",
            "MD5",
            "COMPLEMENTOFALL",
            "ALL",
        ];
        let words = || value.text.split([':', ',', ' ', ';']).filter(|word| !word.is_empty());
        let level =
            words().filter_map(|word| word.split_once("@SECLEVEL=")?.1.parse::<u32>().ok()).next_back();
        if let Some(level @ 0..=1) = level {
            let severity = if level == 0 { Severity::Error } else { Severity::Warning };
            let what = format!(
                "`{section}` sets security level {level}, which accepts keys, signatures and protocols that can be broken"
            );
            self.found(
                value,
                Check::SecurityLevel,
                severity,
                what,
                "set @SECLEVEL=2, and give the peers that need less new certificates",
            );
        }
        let word = |word: &str| word.split('@').next().unwrap_or_default().trim_start_matches('+').to_owned();
        let excluded: BTreeSet<&str> = words().filter_map(|word| word.strip_prefix(['!', '-'])).collect();
        let weak: Vec<String> = words().map(word).filter(|word| WEAK.contains(&word.as_str())).collect();
        // ALL leaves out what encrypts nothing, and is weak where nothing takes the rest away.
        let weak: Vec<String> = weak
            .into_iter()
            .filter(|word| word != "ALL" || !(excluded.contains("aNULL") || excluded.contains("ADH")))
            .collect();
        if !weak.is_empty() {
            let what = format!("`{section}` permits {}", weak.join(", "));
            self.weak(value, Check::WeakCiphers, what, "set CipherString = DEFAULT@SECLEVEL=2");
        }
    }

    fn provider(&mut self, name: &str, values: &[(String, Value)]) {
        let value = |wanted: &str| values.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
        let identity = value("identity").map_or(name, |value| value.text.as_str());
        let Some(activate) = value("activate").filter(|_| identity == "legacy") else { return };
        let is_off = ["0", "no", "off", "false"].iter().any(|off| activate.text.eq_ignore_ascii_case(off));
        let what = if is_off {
            format!(
                "the legacy provider has `activate = {}`: before OpenSSL 3.2 that activates it",
                activate.text
            )
        } else {
            "the legacy provider is active: MD4, RC4, DES and others are available to every program"
                .to_owned()
        };
        let severity = if is_off { Severity::Note } else { Severity::Warning };
        self.found(
            activate,
            Check::LegacyProvider,
            severity,
            what,
            "remove the line, and load the provider in the one program that needs it",
        );
    }

    fn weak(&mut self, value: &Value, check: Check, what: String, remedy: &str) {
        self.found(value, check, Severity::Warning, what, remedy);
    }

    fn found(&mut self, value: &Value, check: Check, severity: Severity, what: String, remedy: &str) {
        let (file, line) = (shown(&value.file), value.line);
        self.findings.push(Finding {
            check,
            severity,
            file,
            line,
            what,
            remedy: remedy.to_owned(),
            details: Vec::new(),
        });
    }
}

/// Whether a name of a protocol is that of one before TLS 1.2 or DTLS 1.2; `None` is no bound at all.
fn is_old(name: &str) -> bool {
    ["None", "SSLv2", "SSLv3", "TLSv1", "TLSv1.0", "TLSv1.1", "DTLSv1", "DTLSv1.0"]
        .iter()
        .any(|old| name.eq_ignore_ascii_case(old))
}
