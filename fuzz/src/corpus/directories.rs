//! What directories answer, behind a byte that says how they are asked; and texts that somebody calls itself.

use super::Input;

/// An element of BER of less than 128 bytes.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap_or(0x7f);
    [&[tag, length], content].concat()
}

fn message(id: u8, op: &[u8]) -> Vec<u8> {
    element(0x30, &[&[2, 1, id], op].concat())
}

/// A result: of a bind 0x61, of a search 0x65, of an extended operation 0x78.
fn result(id: u8, op: u8, code: u8) -> Vec<u8> {
    message(id, &element(op, &[10, 1, code, 4, 0, 4, 0]))
}

fn entry(id: u8, name: &str, attribute: &str, value: &str) -> Vec<u8> {
    let values = element(0x31, &element(4, value.as_bytes()));
    let attribute = element(0x30, &[element(4, attribute.as_bytes()), values].concat());
    message(id, &element(0x64, &[element(4, name.as_bytes()), element(0x30, &attribute)].concat()))
}

/// Conversations, whole and broken, and texts.
pub(super) fn answers() -> Vec<Input> {
    let bound = |id| result(id, 0x61, 0);
    let own = |id| entry(id, "uid=ann,dc=x", "uid", "ann");
    let done = |id| result(id, 0x65, 0);
    let by_name = [bound(2), own(3), done(3), entry(4, "cn=g,ou=groups", "cn", "g"), done(4)].concat();
    let by_search =
        [bound(2), own(3), done(3), bound(4), bound(5), entry(6, "cn=g", "cn", "g"), done(6)].concat();
    let unknown = [bound(2), done(3), result(4, 0x61, 49)].concat();
    let text = |text: &str| [&[2], text.as_bytes()].concat();
    let of = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();
    vec![
        ("by_name", of(0, &by_name)),
        ("by_search", of(1, &by_search)),
        ("ended_by_the_directory", of(0, &result(0, 0x78, 52))),
        ("filter_text", text("(&(objectClass=person)(|(uid={user})(mail={user}@*))(!(m:1.2:={dn})))")),
        ("length_of_four_bytes", of(0, &[0x30, 0x84, 0, 0, 0, 12, 2, 1, 2, 0x61, 7, 10, 1, 0, 4, 0, 4, 0])),
        ("length_without_end", of(0, &[0x30, 0x80, 2, 1, 2])),
        ("name_text", text("uid=o\\2ca+cn=A \\,b,ou=people,dc=x")),
        ("two_entries", of(1, &[bound(2), own(3), own(3), done(3), bound(4)].concat())),
        ("unknown_user", of(1, &unknown)),
        ("user_name_text", text("*)(uid=*,ou=\\ x#+\"")),
        ("wrong_password", of(0, &result(2, 0x61, 49))),
    ]
}
