//! What can be asked for, and by which way.

/// A right. Each call of the Gate names the one it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Action {
    /// Publish to a topic.
    Publish = 1,
    /// Publish there with RETAIN; asked beside [`Action::Publish`].
    Retain = 2,
    /// Leave a Will for that topic.
    SetWill = 4,
    /// Subscribe with a Topic Filter.
    Subscribe = 8,
    /// Subscribe with it as a Shared Subscription.
    Share = 16,
    /// Get a topic's messages.
    Receive = 32,
    /// Administer the broker.
    Administer = 64,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Publish,
        Self::Retain,
        Self::SetWill,
        Self::Subscribe,
        Self::Share,
        Self::Receive,
        Self::Administer,
    ];

    /// Its name in policy files and explanations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Retain => "retain",
            Self::SetWill => "will",
            Self::Subscribe => "subscribe",
            Self::Share => "share",
            Self::Receive => "receive",
            Self::Administer => "administer",
        }
    }
}

impl Action {
    /// The right with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Actions(u8);

impl Actions {
    /// The set with one more right.
    #[must_use]
    pub fn with(self, action: Action) -> Self {
        Self(self.0 | action as u8)
    }

    /// Whether a right is in it.
    pub fn has(self, action: Action) -> bool {
        self.0 & action as u8 != 0
    }

    /// What a word in `allow` grants. `publish` covers the Will, which is a publication of the same client; `subscribe`
    /// covers receiving; retaining and sharing are said apart.
    pub(crate) fn allowed_by(word: &str) -> Option<Self> {
        let none = Self::default();
        Some(match word {
            "publish" => none.with(Action::Publish).with(Action::SetWill),
            "retain" => none.with(Action::Retain),
            "will" => none.with(Action::SetWill),
            "subscribe" => none.with(Action::Subscribe).with(Action::Receive),
            "share" => none.with(Action::Share).with(Action::Receive),
            "receive" => none.with(Action::Receive),
            "administer" => none.with(Action::Administer),
            _ => return None,
        })
    }

    /// What a word in `deny` takes. It takes everything that the right would lead to.
    pub(crate) fn denied_by(word: &str) -> Option<Self> {
        let none = Self::default();
        Some(match word {
            "publish" => none.with(Action::Publish).with(Action::SetWill).with(Action::Retain),
            "subscribe" => none.with(Action::Subscribe).with(Action::Share).with(Action::Receive),
            "receive" => none.with(Action::Receive).with(Action::Subscribe).with(Action::Share),
            "share" => none.with(Action::Share),
            other => return Self::allowed_by(other),
        })
    }

    /// The fewest words that say it.
    pub(crate) fn words(self) -> String {
        let has = |action| self.has(action);
        let sends = [
            (has(Action::Publish), "publish"),
            (has(Action::Retain), "retain"),
            (has(Action::SetWill) && !has(Action::Publish), "will"),
            (has(Action::Subscribe), "subscribe"),
            (has(Action::Share), "share"),
            (has(Action::Receive) && !has(Action::Subscribe) && !has(Action::Share), "receive"),
            (has(Action::Administer), "administer"),
        ];
        let words: Vec<&str> = sends.iter().filter(|(said, _)| *said).map(|(_, word)| *word).collect();
        words.join(", ")
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The words of `allow` and `deny`.
pub(crate) const WORDS: [&str; 7] =
    ["publish", "retain", "will", "subscribe", "share", "receive", "administer"];

/// The way by which a message comes in or goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A client's PUBLISH, and live delivery of it.
    Publish,
    /// A Will, at CONNECT and when it fires.
    Will,
    /// A Retained Message on its way to a new subscription.
    Retained,
    /// A Shared Subscription.
    Shared,
    /// A bridge.
    Bridge,
    /// An operator.
    Admin,
    /// A record from before a restart.
    Restart,
    /// Another node.
    Cluster,
    /// The broker itself.
    System,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Publish,
        Self::Will,
        Self::Retained,
        Self::Shared,
        Self::Bridge,
        Self::Admin,
        Self::Restart,
        Self::Cluster,
        Self::System,
    ];

    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Will => "will",
            Self::Retained => "retained",
            Self::Shared => "shared",
            Self::Bridge => "bridge",
            Self::Admin => "admin",
            Self::Restart => "restart",
            Self::Cluster => "cluster",
            Self::System => "system",
        }
    }
}
