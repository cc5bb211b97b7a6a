//! `openssl.cnf` as written: sections, values and what it includes (config(5) of OpenSSL).

/// Bytes of a file that are read.
pub(crate) const CONF_BYTES_MAX: u64 = 1_024 * 1_024;
/// Lines that may be joined by a backslash at the end.
const JOINED_MAX: usize = 100;

/// A line that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its line, from 1; of several that are joined, the first.
    pub line: usize,
    /// What it says.
    pub says: Says,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// `[ name ]`: what follows is in this section.
    Section(String),
    /// `name = value`, or `section::name = value`.
    Value {
        /// The section, where it is said.
        section: Option<String>,
        /// The name.
        name: String,
        /// The value, without quotes and comment.
        value: String,
    },
    /// `.include path`: what stands in that file, or in the files of that folder.
    Include(String),
    /// It cannot be read.
    Fault(&'static str),
}

/// Reads a file. Any bytes are taken: what is not UTF-8 is replaced, what cannot be read is a [`Says::Fault`].
pub fn parse(bytes: &[u8]) -> Vec<Statement> {
    let text = String::from_utf8_lossy(bytes);
    let mut statements = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, first)) = lines.next() {
        let mut joined = first.to_owned();
        for _ in 0..JOINED_MAX {
            if !ends_in_backslash(&joined) {
                break;
            }
            joined.pop();
            joined.push_str(lines.next().map_or("", |(_, next)| next));
        }
        statements.extend(says(&joined).map(|says| Statement { line: at + 1, says }));
    }
    statements
}

/// Whether the last backslash is one that joins, and not the second of a pair.
fn ends_in_backslash(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn says(line: &str) -> Option<Says> {
    let line = line.trim_start_matches('\u{feff}').trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    if let Some(rest) = line.strip_prefix('[') {
        let name = rest.split_once(']').map(|(name, _)| name.trim());
        let name = name.filter(|name| !name.is_empty());
        return Some(name.map_or(Says::Fault("a section without an end or a name"), |name| {
            Says::Section(name.to_owned())
        }));
    }
    if let Some(rest) = line.strip_prefix(".include") {
        let path = rest.trim_start();
        let path = unquoted(path.strip_prefix('=').unwrap_or(path).trim());
        return Some(if path.is_empty() {
            Says::Fault("an include of nothing")
        } else {
            Says::Include(path)
        });
    }
    if line.starts_with(".pragma") {
        return None;
    }
    let Some((name, value)) = line.split_once('=') else {
        return Some(Says::Fault("neither a section nor a value"));
    };
    let (section, name) = match name.split_once("::") {
        Some((section, name)) => (Some(section.trim().to_owned()), name.trim()),
        None => (None, name.trim()),
    };
    if name.is_empty() {
        return Some(Says::Fault("a value without a name"));
    }
    Some(Says::Value { section, name: name.to_owned(), value: unquoted(value.trim()) })
}

/// A value without its quotes, escapes and comment.
fn unquoted(text: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => out.extend(chars.next()),
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => out.push(c),
            ('"' | '\'' | '`', None) => quote = Some(c),
            ('#', None) => break,
            (c, None) => out.push(c),
        }
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(section: Option<&str>, name: &str, value: &str) -> Says {
        Says::Value { section: section.map(str::to_owned), name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn lines_are_read_as_openssl_reads_them() {
        let text = b"# comment\nopenssl_conf = init # behind\n[ init ]\na = \"x # y\" z\nb = one\\\n two\nt::c=\\#3\n\n\
            .include /etc/a.cnf\n.include = 'b c'\n.pragma = dollarid:on\n[open\n[]\nnothing\n= 1\nwin = \\\\\nlast = 'a\\b'\r\n";
        let found: Vec<(usize, Says)> = parse(text).into_iter().map(|one| (one.line, one.says)).collect();
        let expected = vec![
            (2, value(None, "openssl_conf", "init")),
            (3, Says::Section("init".to_owned())),
            (4, value(None, "a", "x # y z")),
            (5, value(None, "b", "one two")),
            (7, value(Some("t"), "c", "#3")),
            (9, Says::Include("/etc/a.cnf".to_owned())),
            (10, Says::Include("b c".to_owned())),
            (12, Says::Fault("a section without an end or a name")),
            (13, Says::Fault("a section without an end or a name")),
            (14, Says::Fault("neither a section nor a value")),
            (15, Says::Fault("a value without a name")),
            (16, value(None, "win", "\\")),
            (17, value(None, "last", "a\\b")),
        ];
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn lines_stay_in_order_and_in_the_file(bytes in proptest::collection::vec(prop_oneof![
            Just(b'\n'), Just(b'\\'), Just(b'='), Just(b'['), Just(b']'), Just(b'"'), Just(b'#'), Just(b':'), any::<u8>()], 0..200)) {
            let count = bytes.split(|byte| *byte == b'\n').count();
            let lines: Vec<usize> = parse(&bytes).iter().map(|one| one.line).collect();
            prop_assert!(lines.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(lines.iter().all(|line| (1..=count).contains(line)));
        }

        #[test]
        fn what_is_written_is_read(section in "[a-z_]{1,8}", name in "[A-Za-z]{1,8}", text in "[A-Za-z0-9@=:,!-]{1,20}") {
            let found = parse(format!("[{section}]\n{name} = {text}\n").as_bytes());
            prop_assert_eq!(&found[0].says, &Says::Section(section));
            prop_assert_eq!(&found[1].says, &value(None, &name, &text));
        }
    }
}
