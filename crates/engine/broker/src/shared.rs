//! Shared Subscriptions: groups of Sessions, on any shard, of which one gets each message (5.0 section 4.8.2).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use motte_topic::{ShareName, TopicFilter};

use crate::input::ShardId;
use crate::sessions::SessionKey;

/// What names a group: Share Name and Topic Filter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// Share Name.
    pub share: ShareName,
    /// Topic Filter without the prefix.
    pub filter: TopicFilter,
}

/// One Session in a group.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its shard.
    pub shard: ShardId,
    /// The Session there.
    pub session: SessionKey,
    /// Whether the Session is kept.
    pub is_kept: bool,
    /// Whether it is connected; shared with the Session, which keeps it true or false.
    pub online: Arc<AtomicBool>,
}

/// A group as it stands; a change makes a new one.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub key: Arc<GroupKey>,
    members: Vec<Member>,
    /// Whose turn it is; kept when the group changes.
    turn: Arc<AtomicUsize>,
}

/// How far the search for a member that takes a message has come. It names the members that were tried: the group may
/// change while the message is on its way, and nobody may be passed over because somebody else left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    start: usize,
    first: Option<(ShardId, SessionKey)>,
    more: Vec<(ShardId, SessionKey)>,
}

impl Attempt {
    fn has_tried(&self, member: &Member) -> bool {
        let key = (member.shard, member.session);
        self.first == Some(key) || self.more.contains(&key)
    }

    fn note(&mut self, member: &Member) {
        let key = (member.shard, member.session);
        if self.first.is_none() {
            self.first = Some(key);
        } else {
            self.more.push(key);
        }
    }
}

impl Group {
    /// A group with its first member.
    pub fn new(key: Arc<GroupKey>, member: Member) -> Self {
        Self { key, members: vec![member], turn: Arc::default() }
    }

    /// The group with one more member, or with the member's entry replaced.
    #[must_use]
    pub fn with(&self, member: Member) -> Self {
        let mut members = self.without_entry(member.shard, member.session);
        members.push(member);
        Self { key: Arc::clone(&self.key), members, turn: Arc::clone(&self.turn) }
    }

    /// The group with one member less; `None` when nobody is left.
    pub fn without(&self, shard: ShardId, session: SessionKey) -> Option<Self> {
        let members = self.without_entry(shard, session);
        (!members.is_empty()).then(|| Self {
            key: Arc::clone(&self.key),
            members,
            turn: Arc::clone(&self.turn),
        })
    }

    /// Begins the search for the member whose turn it is.
    pub fn begin(&self) -> Attempt {
        Attempt { start: self.turn.fetch_add(1, Ordering::Relaxed), first: None, more: Vec::new() }
    }

    /// The next member to try: connected ones in turn, then those that are away. `None`: all were tried.
    pub fn next(&self, attempt: &mut Attempt) -> Option<&Member> {
        let len = self.members.len();
        for online in [true, false] {
            for step in 0..len {
                let index = attempt.start.wrapping_add(step) % len;
                let Some(member) = self.members.get(index) else { continue };
                if member.online.load(Ordering::Relaxed) == online && !attempt.has_tried(member) {
                    attempt.note(member);
                    return Some(member);
                }
            }
        }
        None
    }

    /// Whether another member than this one is connected.
    pub fn others_online(&self, shard: ShardId, session: SessionKey) -> bool {
        self.members
            .iter()
            .any(|m| (m.shard, m.session) != (shard, session) && m.online.load(Ordering::Relaxed))
    }

    /// Whether a Session that is kept is among them.
    pub fn is_kept(&self) -> bool {
        self.members.iter().any(|member| member.is_kept)
    }

    /// Members.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    fn without_entry(&self, shard: ShardId, session: SessionKey) -> Vec<Member> {
        self.members.iter().filter(|m| (m.shard, m.session) != (shard, session)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(slot: u32, online: bool) -> Member {
        Member {
            shard: ShardId(0),
            session: SessionKey { slot, epoch: 1 },
            is_kept: false,
            online: Arc::new(AtomicBool::new(online)),
        }
    }

    fn group(members: &[(u32, bool)]) -> Group {
        let key = Arc::new(GroupKey {
            share: ShareName::parse("g").unwrap(),
            filter: TopicFilter::parse("a/#").unwrap(),
        });
        let mut group = Group::new(key, member(members[0].0, members[0].1));
        for (slot, online) in &members[1..] {
            group = group.with(member(*slot, *online));
        }
        group
    }

    #[test]
    fn connected_members_take_turns() {
        let group = group(&[(1, true), (2, true), (3, true)]);
        let picks: Vec<u32> = (0..6).map(|_| group.next(&mut group.begin()).unwrap().session.slot).collect();
        assert_eq!(picks, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn nobody_is_passed_over_when_a_member_leaves_while_a_message_is_on_its_way() {
        let whole = group(&[(1, true), (2, true)]);
        let mut attempt = whole.begin();
        let first = whole.next(&mut attempt).unwrap().session;
        let left = whole.without(ShardId(0), first).unwrap();
        assert_eq!(left.next(&mut attempt).unwrap().session.slot, 2);
        assert!(left.next(&mut attempt).is_none());
    }

    #[test]
    fn members_that_are_away_come_last_and_each_is_tried_once() {
        let group = group(&[(1, false), (2, true), (3, false)]);
        let mut attempt = group.begin();
        let mut order = Vec::new();
        while let Some(member) = group.next(&mut attempt) {
            order.push(member.session.slot);
        }
        assert_eq!(order, [2, 1, 3]);
    }
}
