//! A directory: whatever it answers, a login ends, and nobody is let in without a bind that succeeded. Whatever somebody calls
//! itself, the name and the filter around it keep their form.

use std::sync::Arc;

use motte_ldap::{
    Filter, Framed, Login, Name, NameTemplate, Next, Op, Outcome, Plan, PlanText, Response, Values, escaped,
    frame,
};

/// Bytes that a conversation may have.
const BYTES_MAX: usize = 64 * 1_024;

fn plan(by_search: bool) -> Plan {
    let text = |text: &str| Some(text.to_owned());
    let groups = PlanText {
        group_base: text("ou=groups"),
        group_filter: text("(|(member={dn})(memberUid={user}))"),
        ..PlanText::default()
    };
    let plan = if by_search {
        let (base, filter) = (text("dc=x"), text("(&(objectClass=person)(uid={user}))"));
        PlanText { search_base: base, search_filter: filter, account: text("cn=m,dc=x"), ..groups }
    } else {
        PlanText { bind_as: text("uid={user},dc=x"), ..groups }
    };
    Plan::parse(&plan).unwrap_or_else(|faults| super::fail(format!("{faults:?}")))
}

/// Leads a conversation in which these bytes are what the directory says.
fn converse(by_search: bool, mut data: &[u8]) {
    let begun = Login::begin(Arc::new(plan(by_search)), b"account", "ann", b"secret", 3);
    let Ok((mut login, _)) = begun else { super::fail("a login that does not begin") };
    let mut bound = 0;
    loop {
        let length = match frame(data, BYTES_MAX) {
            Ok(Framed::Whole(length)) => length,
            Ok(Framed::More | Framed::TooLong) | Err(_) => return,
        };
        let (message, rest) =
            data.split_at_checked(length).unwrap_or_else(|| super::fail("a message beyond its bytes"));
        data = rest;
        let Ok(response) = Response::decode(message) else { return };
        if let Op::Bind(result) = &response.op {
            bound += usize::from(result.code == 0);
        }
        match login.take(&response) {
            Ok(Next::Wait | Next::Send(_)) => {}
            Ok(Next::Done(Outcome::Allowed { groups, .. })) => {
                let needed = if by_search { 3 } else { 1 };
                assert!(bound >= needed, "somebody came in without a bind");
                assert!(groups.len() <= motte_ldap::GROUPS_MAX, "more groups than may be");
                return;
            }
            Ok(Next::Done(Outcome::Denied(_))) | Err(_) => return,
        }
    }
}

/// Takes text for what somebody calls itself, and for a name and a filter.
fn texts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = (Name::parse(text), NameTemplate::parse(text));
    if let Ok(filter) = Filter::parse(text) {
        let _ = filter.encode(Values { user: "ann", entry: "uid=ann" });
    }
    if text.is_empty() {
        return;
    }
    let level = |value: &str| format!("uid={},dc=x", escaped(value));
    let Some(name) = Name::parse(&level(text)) else { super::fail("a value that is none in a name") };
    let folded = Name::parse(&level(&text.to_lowercase()));
    assert!(folded.as_ref() == Some(&name) || !text.is_ascii(), "a value that changes a name");
    let filter = Filter::parse("(uid={user})").unwrap_or_else(|fault| super::fail(fault));
    let encoded = filter.encode(Values { user: text, entry: "" });
    assert!(encoded.ends_with(text.as_bytes()), "a value that changes a filter");
}

/// The first byte says what the others are.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((kind, rest)) if kind % 3 == 2 => texts(rest),
        Some((kind, rest)) => converse(kind % 3 == 1, rest),
        None => {}
    }
}
