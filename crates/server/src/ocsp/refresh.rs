//! Answers are asked for anew while somebody is connected whom they are about. Whoever is revoked by then is disconnected.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::clock::unix_ms;
use crate::inbox::{Inbox, Letter};
use crate::log::Log;
use crate::ocsp::held::Next;
use crate::ocsp::{Refused, Responder, Status};
use crate::rules::Rules;

/// A certificate that may not be used any more, and why.
#[derive(Debug)]
pub(crate) struct Distrusted {
    pub(crate) status: Arc<Status>,
    pub(crate) cause: String,
}

/// Looks after what the responders of these rules have answered, a thread for each. It ends with its responder.
pub(crate) fn begin(rules: &Rules, inboxes: &Arc<[Inbox]>, log: &Log) {
    for responder in rules.listeners.iter().flat_map(|listener| listener.responders.all()) {
        if responder.begins_refresh() {
            let (weak, inboxes, log) = (Arc::downgrade(responder), Arc::clone(inboxes), log.clone());
            let thread = std::thread::Builder::new().name("motte-status".into());
            if thread.spawn(move || run(&weak, &inboxes, &log)).is_err() {
                // Tried again at the next reload. Logins are asked about all the same.
                responder.ends_refresh();
            }
        }
    }
}

/// Nobody asks anew any more: the server stops.
pub(crate) fn end(rules: &Rules) {
    rules.listeners.iter().flat_map(|listener| listener.responders.all()).for_each(|one| one.end());
}

fn run(weak: &Weak<Responder>, inboxes: &Arc<[Inbox]>, log: &Log) {
    while let Some(responder) = weak.upgrade() {
        let (held, most, over) = (responder.held(), responder.refreshed_at_once(), responder.over());
        // A responder that is not in force any more ends while this waits.
        drop(responder);
        let is_over = || weak.strong_count() == 0 || over.load(Ordering::Relaxed);
        let due = match held.next(unix_ms() / 1_000, most, &is_over) {
            Next::Due(due) => due,
            Next::Later => continue,
            Next::Never => return,
        };
        let Some(responder) = weak.upgrade() else { return };
        let lane = responder.lane().clone();
        let (inboxes, log) = (Arc::clone(inboxes), log.clone());
        lane.run(Box::new(move || {
            if let Err(Refused { cause, .. }) = responder.renew(&due.status, &|event| log.event(event)) {
                let distrusted = Arc::new(Distrusted { status: Arc::clone(&due.status), cause });
                inboxes.iter().for_each(|inbox| inbox.put(Letter::Distrusted(Arc::clone(&distrusted))));
            }
        }));
    }
}
