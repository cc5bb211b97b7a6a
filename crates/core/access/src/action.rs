//! What is asked for, and by which way it comes.

/// A right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// To send an Application Message to a topic.
    Publish,
    /// To leave a Retained Message at a topic (MQTT-3.3.1-5).
    Retain,
    /// To have a Will Message sent to a topic (MQTT-3.1.2-8).
    SetWill,
    /// To subscribe to a Topic Filter.
    Subscribe,
    /// To join a Shared Subscription (MQTT 5.0 section 4.8.2).
    Share,
    /// To be sent the Application Messages of a topic.
    Receive,
    /// To administer the broker.
    Administer,
}

impl Action {
    /// Every right.
    pub const ALL: [Self; 7] = [
        Self::Publish,
        Self::Retain,
        Self::SetWill,
        Self::Subscribe,
        Self::Share,
        Self::Receive,
        Self::Administer,
    ];

    /// The right as a word for a log or a sentence.
    pub const fn name(self) -> &'static str {
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

/// The way by which a message or a request reaches the Gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// A live client's own packet: PUBLISH, SUBSCRIBE, or delivery for its subscription.
    Publish,
    /// A Will: at CONNECT, and again when it is sent.
    Will,
    /// A Retained Message that is replayed.
    Retained,
    /// A Shared Subscription.
    Shared,
    /// A bridge to another broker.
    Bridge,
    /// An operator.
    Admin,
    /// A record from before a restart.
    Restart,
    /// Another node of the cluster.
    Cluster,
    /// The broker itself.
    System,
}

impl Origin {
    /// Every way.
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

    /// The way as a word for a log or a sentence.
    pub const fn name(self) -> &'static str {
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
