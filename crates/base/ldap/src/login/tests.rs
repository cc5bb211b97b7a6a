//! Conversations as directories lead them, and as they should not.

use asn1_rs::{Class, Tag};

use super::*;
use crate::ber::{message, put, put_number, put_octets};
use crate::plan::PlanText;

const OPS: [(&str, u32); 4] = [("bind", 1), ("done", 5), ("extended", 24), ("reference", 19)];

/// An answer that is a result.
fn result(id: u32, op: &str, code: u32) -> Vec<u8> {
    let mut content = Vec::new();
    put_number(&mut content, Tag::Enumerated, code);
    put_octets(&mut content, b"");
    put_octets(&mut content, b"as it says");
    let tag = OPS.iter().find(|(name, _)| *name == op).expect("known").1;
    let mut out = Vec::new();
    put(&mut out, Class::Application, true, tag, &content);
    message(id, &out).to_vec()
}

/// An answer that is an entry.
fn entry(id: u32, name: &str, attributes: &[(&str, &[&str])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (attribute, values) in attributes {
        let (mut one, mut set) = (Vec::new(), Vec::new());
        for value in *values {
            put_octets(&mut set, value.as_bytes());
        }
        put_octets(&mut one, attribute.as_bytes());
        put(&mut one, Class::Universal, true, Tag::Set.0, &set);
        put(&mut list, Class::Universal, true, Tag::Sequence.0, &one);
    }
    let (mut content, mut out) = (Vec::new(), Vec::new());
    put_octets(&mut content, name.as_bytes());
    put(&mut content, Class::Universal, true, Tag::Sequence.0, &list);
    put(&mut out, Class::Application, true, 4, &content);
    message(id, &out).to_vec()
}

fn plan(fields: [Option<&str>; 8]) -> Arc<Plan> {
    Arc::new(Plan::parse(&PlanText::of(fields.map(|one| one.map(str::to_owned)))).expect("a plan"))
}

fn template(group_filter: Option<&str>) -> Arc<Plan> {
    let base = group_filter.map(|_| "ou=groups");
    let memberships = if base.is_none() { Some("memberOf") } else { None };
    plan([Some("uid={user},dc=x"), None, None, None, None, memberships, base, group_filter])
}

fn found(group_filter: Option<&str>) -> Arc<Plan> {
    let base = group_filter.map(|_| "ou=groups");
    plan([None, Some("dc=x"), Some("(uid={user})"), Some("cn=m"), None, None, base, group_filter])
}

/// What comes of a conversation in which the directory answers so; and what was sent, as text where it is text.
fn converse(
    plan: &Arc<Plan>,
    user: &str,
    password: &str,
    answers: &[Vec<u8>],
) -> (Result<Outcome, Trouble>, String) {
    let begun = Login::begin(Arc::clone(plan), b"of the account", user, password.as_bytes(), 3);
    let (mut login, first) = match begun {
        Ok(begun) => begun,
        Err(cause) => return (Ok(Outcome::Denied(cause)), String::new()),
    };
    let mut sent = String::from_utf8_lossy(&first).into_owned();
    for answer in answers {
        let taken = match Response::decode(answer) {
            Ok(response) => login.take(&response),
            Err(error) => Err(error.into()),
        };
        match taken {
            Ok(Next::Wait) => {}
            Ok(Next::Send(bytes)) => sent += &String::from_utf8_lossy(&bytes),
            Ok(Next::Done(outcome)) => return (Ok(outcome), sent),
            Err(trouble) => return (Err(trouble), sent),
        }
    }
    panic!("the test answers no more: {sent}")
}

fn cause(outcome: Result<Outcome, Trouble>) -> String {
    match outcome {
        Ok(Outcome::Allowed { entry, groups }) => format!("{entry} {}", groups.join(" ")),
        Ok(Outcome::Denied(denial)) => denial.cause().to_owned(),
        Err(trouble) => format!("! {trouble}"),
    }
}

#[test]
fn a_user_binds_by_its_name_and_is_who_its_entry_says() {
    let uid: (&str, &[&str]) = ("uid", &["ann"]);
    let answers = |attributes: &[(&str, &[&str])]| {
        vec![result(2, "bind", 0), entry(3, "uid=ann,dc=x", attributes), result(3, "done", 0)]
    };
    let ask = |user, answers: &[Vec<u8>]| cause(converse(&template(None), user, "secret", answers).0);
    assert_eq!(ask("ann", &answers(&[uid, ("memberOf", &["cn=a", "cn=b"])])), "uid=ann,dc=x cn=a cn=b");
    assert!(ask("Ann", &answers(&[uid])).contains("not written as"));
    assert!(ask("ann", &answers(&[("uid", &["ann", "bob"])])).contains("not written as"));
    assert!(ask("ann", &answers(&[])).contains("not written as"));
    assert!(ask("ann", &[result(2, "bind", 49)]).contains("is wrong"));
    assert!(ask("ann", &[result(2, "bind", 53)]).contains("does not let this user in"));
    assert!(
        ask("ann", &[result(2, "bind", 51)]).starts_with("! the user's bind: result code 51 (as it says)")
    );
    assert!(ask("ann", &[result(2, "bind", 10)]).starts_with("! "), "a referral is not followed");
    assert!(ask("ann", &[result(2, "bind", 0), result(3, "done", 0)]).contains("does not show"));
    assert!(ask("ann", &[result(2, "bind", 0), result(3, "done", 50)]).contains("does not show"));
    let groups = vec![
        result(2, "bind", 0),
        entry(3, "uid=ann,dc=x", &[uid]),
        result(3, "done", 0),
        entry(4, "cn=a", &[]),
        result(4, "reference", 0),
        result(4, "done", 0),
    ];
    let (outcome, sent) = converse(&template(Some("(member={dn})")), "ann", "secret", &groups);
    assert_eq!(cause(outcome), "uid=ann,dc=x cn=a");
    assert!(sent.contains("uid=ann,dc=x") && sent.contains("member"));
}

#[test]
fn a_user_is_searched_for_and_must_be_there_once() {
    let uid: (&str, &[&str]) = ("uid", &["ann"]);
    let one = entry(3, "cn=Ann,dc=x", &[uid]);
    let ask = |answers: &[Vec<u8>]| {
        let (outcome, sent) = converse(&found(None), "ann", "secret", answers);
        (cause(outcome), sent)
    };
    let (bound, done) = (result(2, "bind", 0), result(3, "done", 0));
    let (outcome, sent) = ask(&[bound.clone(), one.clone(), done.clone(), result(4, "bind", 0)]);
    assert_eq!(outcome, "cn=Ann,dc=x ");
    assert!(sent.contains("of the account") && sent.contains("secret") && !sent.contains(NOBODY));
    // Whoever is not found is asked about as long, by a name that nobody has; even where that is let in.
    let twice = [bound.clone(), one.clone(), one.clone(), done.clone(), result(4, "bind", 0)];
    let many = [bound.clone(), one.clone(), result(3, "done", 4), result(4, "bind", 49)];
    let nameless = [bound.clone(), entry(3, "", &[uid]), done.clone(), result(4, "bind", 0)];
    let elsewhere = [bound.clone(), result(3, "reference", 0), done.clone(), result(4, "bind", 49)];
    let otherwise =
        [bound.clone(), entry(3, "cn=Ann", &[("uid", &["Ann"])]), done.clone(), result(4, "bind", 0)];
    for (answers, what) in [
        (&[bound.clone(), done.clone(), result(4, "bind", 0)][..], "no such user"),
        (&twice, "more than one entry"),
        (&many, "more than one entry"),
        (&nameless, "without a name"),
        (&elsewhere, "no such user"),
        (&otherwise, "not written as"),
    ] {
        let (outcome, sent) = ask(answers);
        assert!(outcome.contains(what) && sent.contains("cn=motte-nobody,dc=x"), "{outcome}");
    }
    assert!(ask(&[result(2, "bind", 49)]).0.starts_with("! the account that searches"));
    assert!(ask(&[bound.clone(), result(3, "done", 32)]).0.starts_with("! the search for the user"));
    let again = [
        bound,
        one,
        done,
        result(4, "bind", 0),
        result(5, "bind", 0),
        entry(6, "cn=g", &[]),
        result(6, "done", 0),
    ];
    assert_eq!(cause(converse(&found(Some("(member={dn})")), "ann", "secret", &again).0), "cn=Ann,dc=x cn=g");
}

#[test]
fn nothing_is_asked_with_an_empty_name_or_password_or_a_zero_in_one() {
    for (user, password) in [
        ("ann", ""),
        ("", "secret"),
        ("ann", "\0secret"),
        ("ann", "sec\0ret"),
        ("a\0nn", "secret"),
        (&"a".repeat(USER_BYTES_MAX + 1), "secret"),
        ("ann", &"s".repeat(PASSWORD_BYTES_MAX + 1)),
    ] {
        for plan in [template(None), found(None)] {
            let (outcome, sent) = converse(&plan, user, password, &[]);
            assert!(matches!(outcome, Ok(Outcome::Denied(_))) && sent.is_empty(), "{user:?}");
        }
    }
    let begun = Login::begin(found(None), b"", "ann", b"secret", 3);
    assert!(begun.is_err_and(|denial| denial == Denial::NoAccount), "or it would search as nobody");
}

#[test]
fn an_answer_to_something_else_lets_nobody_in() {
    let ask = |answers: &[Vec<u8>]| cause(converse(&template(None), "ann", "secret", answers).0);
    assert_eq!(ask(&[result(3, "bind", 0)]), "! an answer that was not asked for");
    assert_eq!(ask(&[result(2, "done", 0)]), "! an answer that was not asked for");
    assert!(
        ask(&[result(0, "extended", 52)]).starts_with("! the directory ends the connection: result code 52")
    );
    let endless = vec![result(3, "reference", 0); ANSWERS_MAX + 1];
    let answers = [vec![result(2, "bind", 0)], endless].concat();
    assert_eq!(ask(&answers), "! an answer that was not asked for");
    let crowd: Vec<String> = (0..=GROUPS_MAX).map(|number| format!("cn={number}")).collect();
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    let many = entry(3, "uid=ann", &[("uid", &["ann"]), ("memberOf", &crowd)]);
    assert!(ask(&[result(2, "bind", 0), many, result(3, "done", 0)]).contains("in more groups"));
}
