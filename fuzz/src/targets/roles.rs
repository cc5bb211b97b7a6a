//! Messages between the processes of a broker, and on its control socket: what is taken is within its bound and is written again as the same.

use motte_roles::{
    AdminAsks, AdminOrder, AdminSays, Answer, Ask, ControlAnswer, ControlRequest, CoreReply, DirectoryAnswer,
    DirectoryQuestion, Greeting, Hello, Message, Order, Outcome, OutwardOrder, OutwardOutcome, Report,
    Request, Task, Told,
};

fn one<M: Message>(data: &[u8]) {
    let Ok(message) = M::decode(data) else { return };
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    assert!(bytes.len() <= M::BYTES_MAX, "a message above its bound");
    assert!(bytes == data, "a message with two encodings");
}

/// The first byte says the direction, the others are the message.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(data: &[u8]) {
    let Some((direction, message)) = data.split_first() else { return };
    match direction % 20 {
        0 => one::<Hello>(message),
        1 => one::<Request>(message),
        2 => one::<Answer>(message),
        3 => one::<Order>(message),
        4 => one::<Outcome>(message),
        5 => one::<Task>(message),
        6 => one::<Report>(message),
        7 => one::<Ask>(message),
        8 => one::<Told>(message),
        9 => one::<OutwardOrder>(message),
        10 => one::<OutwardOutcome>(message),
        11 => one::<Greeting>(message),
        12 => one::<ControlRequest>(message),
        13 => one::<ControlAnswer>(message),
        14 => one::<AdminOrder>(message),
        15 => one::<AdminAsks>(message),
        16 => one::<AdminSays>(message),
        17 => one::<DirectoryQuestion>(message),
        18 => one::<DirectoryAnswer>(message),
        _ => one::<CoreReply>(message),
    }
}
