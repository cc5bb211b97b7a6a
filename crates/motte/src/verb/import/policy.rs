//! From an `acl_file` to a policy.
//!
//! mosquitto looks at a user's lines first, the denying before the others, and at patterns only when none of them spoke. Here a
//! rule that denies always wins. So all is the same but for a denying pattern beside a granting line of a user: it is denied
//! here.

use std::fmt::Write as _;

use motte_access::Policy;

use crate::verb::import::acl::{Access, Acl, Entry};
use crate::verb::import::quoted;
use crate::verb::import::report::{About, Report};

/// Who the clients of an `acl_file` are.
#[derive(Debug, Clone, Default)]
pub(super) struct Holders {
    /// Clients without credentials are let in.
    pub(super) anonymous: bool,
    /// Identities that alone have the patterns; `None`: everybody who logs in.
    pub(super) only: Option<Vec<String>>,
}

/// The policy of an `acl_file`.
pub(super) fn of_acl(acl: &Acl, file: &str, holders: &Holders, report: &mut Report) -> String {
    let mut text = format!("# From {file}.\nversion = 1\n");
    let has_patterns = !acl.patterns.is_empty();
    if has_patterns {
        role(&mut text, "patterns", &acl.patterns, file, report);
    }
    for (name, entries) in &acl.users {
        role(&mut text, &format!("user.{name}"), entries, file, report);
    }
    let of_anonymous: Vec<Entry> = acl
        .patterns
        .iter()
        .filter(|entry| !entry.topic.contains("%u"))
        .chain(&acl.anonymous)
        .cloned()
        .collect();
    if holders.anonymous {
        role(&mut text, "anonymous", &of_anonymous, file, report);
    } else if !acl.anonymous.is_empty() {
        let what = "the lines before the first `user` are for clients without a user name, which are not let in here";
        report.add(About::Stricter, file, what);
    }
    let by_name = |name: &String| holders.only.as_ref().is_some_and(|only| only.contains(name));
    for (name, _) in &acl.users {
        let patterns = if has_patterns && by_name(name) { ", \"patterns\"" } else { "" };
        let role = quoted(&format!("user.{name}"));
        let _ = write!(text, "\n[identity.{}]\nroles = [{role}{patterns}]\n", quoted(name));
    }
    let others = holders.only.iter().flatten().filter(|name| !acl.users.iter().any(|(one, _)| one == *name));
    for name in others.filter(|_| has_patterns) {
        let _ = write!(text, "\n[identity.{}]\nroles = [\"patterns\"]\n", quoted(name));
    }
    if has_patterns && holders.only.is_none() {
        text.push_str("\n[authenticated]\nroles = [\"patterns\"]\n");
    }
    if holders.anonymous {
        text.push_str("\n[anonymous]\nroles = [\"anonymous\"]\n");
    }
    differences(acl, file, report);
    text
}

/// The policy where there is no `acl_file`, which permits everything in mosquitto.
pub(super) fn without_acl(place: &str, holders: &Holders, keep_open: bool, report: &mut Report) -> String {
    report.add(About::Insecure, place, "without acl_file every client may read and write every topic");
    let mut text = "version = 1\n".to_owned();
    if !keep_open {
        report.add(About::Stricter, place, "nothing is permitted until you write rules");
        report.add(
            About::ToDo,
            place,
            "write policy.toml (docs/policy.md), or import again with --keep-open to permit what mosquitto permits",
        );
        text.push_str("# mosquitto had no acl_file and permitted everything. Nothing is permitted here until you write rules:\n");
        text.push_str("# [role.device]\n# rules = [{ allow = [\"publish\", \"subscribe\"], topics = [\"devices/{identity}/#\"] }]\n");
        text.push_str("# [authenticated]\n# roles = [\"device\"]\n");
        return text;
    }
    report.add(About::Insecure, place, "--keep-open: whoever logs in may do everything, as before");
    text.push_str("[role.everything]\nwildcards = \"allow\"\nrules = [{ allow = [\"publish\", \"retain\", \"subscribe\", \"share\"], topics = [\"#\", \"$SYS/#\"] }]\n");
    text.push_str("[authenticated]\nroles = [\"everything\"]\n");
    if holders.anonymous {
        text.push_str("[anonymous]\nroles = [\"everything\"]\n");
    }
    text
}

/// A role with the rules of some lines.
fn role(text: &mut String, name: &str, entries: &[Entry], file: &str, report: &mut Report) {
    // Subscriptions are granted and what they bring is filtered, as in mosquitto.
    let _ = write!(text, "\n[role.{}]\nwildcards = \"allow\"\nrules = [\n", quoted(name));
    for entry in entries {
        let topic = template(entry);
        let place = format!("{file}:{}", entry.line);
        let topic = if can_be_read(&topic) {
            topic
        } else if entry.access == Access::Deny {
            let wider = widened(&topic);
            report.add(
                About::Stricter,
                &place,
                format!("`{}` cannot be said here; `{wider}` is denied", entry.topic),
            );
            wider
        } else {
            report.add(
                About::Stricter,
                &place,
                format!("`{}` cannot be said here and is not granted", entry.topic),
            );
            continue;
        };
        let rules = [
            (
                matches!(entry.access, Access::Read | Access::ReadWrite),
                "allow = [\"subscribe\", \"share\"]",
                ", narrow = true",
            ),
            (
                matches!(entry.access, Access::Write | Access::ReadWrite),
                "allow = [\"publish\", \"retain\"]",
                "",
            ),
            (entry.access == Access::Deny, "deny = [\"publish\", \"subscribe\"]", ""),
        ];
        for (_, verb, more) in rules.into_iter().filter(|(is_said, ..)| *is_said) {
            let _ = writeln!(
                text,
                "    {{ {verb}, topics = [{}]{more} }}, # line {}",
                quoted(&topic),
                entry.line
            );
        }
        broad(entry, &place, report);
    }
    text.push_str("]\n");
}

/// A topic of a line as a template: `%u` and `%c` are placeholders in patterns alone.
fn template(entry: &Entry) -> String {
    if entry.is_pattern && !entry.topic.contains(['{', '}']) {
        return entry.topic.replace("%u", "{identity}").replace("%c", "{client_id}");
    }
    // Braces of the original are no placeholders; they are found out below.
    entry.topic.replace('{', "{{")
}

/// Whether a policy can hold this filter.
fn can_be_read(topic: &str) -> bool {
    let text = format!(
        "version = 1\n[role.r]\nrules = [{{ allow = [\"publish\"], topics = [{}] }}]\n",
        quoted(topic)
    );
    Policy::parse(&text, "line").is_ok()
}

/// Everything from the first level on that cannot be said.
fn widened(topic: &str) -> String {
    let mut levels: Vec<&str> = topic.split('/').collect();
    while levels.pop().is_some() {
        let wider = if levels.is_empty() { "#".to_owned() } else { format!("{}/#", levels.join("/")) };
        if can_be_read(&wider) {
            return wider;
        }
    }
    "#".to_owned()
}

fn broad(entry: &Entry, place: &str, report: &mut Report) {
    let writes = matches!(entry.access, Access::Write | Access::ReadWrite);
    if entry.access == Access::Deny || !(entry.topic == "#" || entry.topic.starts_with('+')) {
        return;
    }
    let what = if writes {
        "may write to branches of everybody, those that are yet to come too; name the branches"
    } else {
        "may read what everybody says, in branches that are yet to come too; name the branches"
    };
    report.add(About::Insecure, place, format!("`{}` {what}", entry.topic));
}

/// Where decisions differ on purpose.
fn differences(acl: &Acl, file: &str, report: &mut Report) {
    let denying = acl.patterns.iter().find(|entry| entry.access == Access::Deny);
    if let Some(entry) = denying {
        let what =
            "a denying pattern also takes what the lines of a user grant; in mosquitto those go before";
        report.add(About::Stricter, &format!("{file}:{}", entry.line), what);
    }
    if acl.patterns.iter().any(|entry| entry.topic.contains("%u")) {
        let what = "a user name with + # / or a control character has no rights by patterns; mosquitto lets / through, and so other levels";
        report.add(About::Stricter, file, what);
    }
    if acl.patterns.iter().any(|entry| entry.topic.contains("%c")) {
        let what = "patterns with %c: any client can call itself anything in mosquitto, and has the rights of that name";
        report.add(About::Insecure, file, what);
        let what = "a client's identifier is its identity, or begins with it and `-`; others are refused. Where yours differ, set client_ids";
        report.add(About::Stricter, file, what);
    }
    let what = "a subscription that can bring nothing is refused; mosquitto grants it and delivers nothing";
    report.add(About::Stricter, file, what);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(text: &str, holders: &Holders) -> (String, String) {
        let mut report = Report::default();
        let policy = of_acl(&Acl::parse(text, "acl").unwrap(), "acl", holders, &mut report);
        Policy::parse(&policy, "policy.toml").unwrap_or_else(|error| panic!("{error}\n{policy}"));
        (policy, report.to_string())
    }

    #[test]
    fn every_acl_becomes_a_policy_that_can_be_read() {
        let text = "topic read news/#\nuser \"odd\" name\ntopic readwrite b/{x}\ntopic deny c/{x}/d\npattern write $%u/x\npattern read d/%u/%c\n";
        let holders = Holders { anonymous: true, only: None };
        let (policy, report) = converted(text, &holders);
        assert!(policy.contains("topics = [\"d/{identity}/{client_id}\"], narrow = true"), "{policy}");
        assert!(policy.contains("deny = [\"publish\", \"subscribe\"], topics = [\"c/#\"]"), "{policy}");
        assert!(!policy.contains("{x}"), "{policy}");
        assert!(report.contains("acl:4: `c/{x}/d` cannot be said here; `c/#` is denied"), "{report}");
    }

    #[test]
    fn patterns_go_to_nobody_who_could_not_log_in_there() {
        let only = Holders { anonymous: false, only: Some(vec!["a".into(), "b".into()]) };
        let (policy, report) = converted("topic read x\nuser a\ntopic y\npattern %u/#\n", &only);
        assert!(!policy.contains("[authenticated]") && !policy.contains("[anonymous]"), "{policy}");
        assert!(policy.contains("[identity.\"b\"]\nroles = [\"patterns\"]"), "{policy}");
        assert!(report.contains("clients without a user name"), "{report}");
    }

    #[test]
    fn no_acl_permits_nothing_unless_asked() {
        let mut report = Report::default();
        let closed = without_acl("conf", &Holders::default(), false, &mut report);
        assert!(Policy::parse(&closed, "p").is_ok() && !closed.contains("\n[authenticated]"));
        let open = without_acl("conf", &Holders::default(), true, &mut report);
        assert!(Policy::parse(&open, "p").is_ok() && open.contains("[authenticated]"));
    }
}
