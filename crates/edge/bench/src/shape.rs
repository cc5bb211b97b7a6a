//! Who publishes to whom.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The shape of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Publisher n to subscriber n.
    Pairs,
    /// Many publishers to few subscribers: each publisher has one subscriber.
    FanIn,
    /// Few publishers to many subscribers: each subscriber gets everything.
    FanOut,
    /// Of ten subscribers, six take one publisher's topics by name, three by `+`, and one takes everything by `#`.
    Mixed,
    /// Connections made and ended, no messages.
    Connect,
    /// Connections held, no messages.
    Idle,
}

impl Shape {
    /// Whether messages flow.
    pub fn has_messages(self) -> bool {
        match self {
            Self::Pairs | Self::FanIn | Self::FanOut | Self::Mixed => true,
            Self::Connect | Self::Idle => false,
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pairs => "pairs",
            Self::FanIn => "fan-in",
            Self::FanOut => "fan-out",
            Self::Mixed => "mixed",
            Self::Connect => "connect",
            Self::Idle => "idle",
        }
    }
}

/// Topics, filters and who gets what. A stream is what one publisher sends on one topic; the streams of a subscriber are
/// consecutive numbers.
#[derive(Debug)]
pub(crate) struct Topology {
    shape: Shape,
    publishers: u64,
    subscribers: u64,
    topics: u64,
    root: String,
}

impl Topology {
    /// Of a checked plan: counts are at least 1 where messages flow, and pairs and fan-in have the counts they need.
    pub(crate) fn new(shape: Shape, publishers: u64, subscribers: u64, topics: u64, root: String) -> Self {
        Self { shape, publishers, subscribers, topics: topics.max(1), root }
    }

    /// The stream of a publisher on its `topic`-th topic.
    pub(crate) fn stream(&self, publisher: u64, topic: u64) -> u64 {
        publisher * self.topics + topic
    }

    /// The publisher of a stream.
    pub(crate) fn publisher_of(&self, stream: u64) -> u64 {
        stream / self.topics
    }

    /// The Topic Name of a publisher's `topic`-th topic.
    pub(crate) fn topic(&self, publisher: u64, topic: u64) -> String {
        match self.shape {
            Shape::FanOut => format!("{}/{topic}", self.root),
            Shape::FanIn => format!("{}/{}/{topic}", self.root, self.group_of(publisher)),
            Shape::Pairs | Shape::Mixed | Shape::Connect | Shape::Idle => {
                format!("{}/{publisher}/{topic}", self.root)
            }
        }
    }

    /// The Topic Filters of a subscriber.
    pub(crate) fn filters(&self, subscriber: u64) -> Vec<String> {
        let by_name = |first: u64| (0..self.topics).map(|topic| self.topic(first, topic)).collect();
        match self.shape {
            Shape::Pairs => by_name(subscriber),
            Shape::FanIn => by_name(self.group(subscriber).start),
            Shape::FanOut => by_name(0),
            Shape::Mixed => match subscriber % 10 {
                9 => vec![format!("{}/#", self.root)],
                6..=8 => vec![format!("{}/{}/+", self.root, subscriber % self.publishers)],
                _ => by_name(subscriber % self.publishers),
            },
            Shape::Connect | Shape::Idle => Vec::new(),
        }
    }

    /// The streams that a subscriber is to get.
    pub(crate) fn streams(&self, subscriber: u64) -> Range<u64> {
        let publishers = self.publishers_of(subscriber);
        publishers.start * self.topics..publishers.end * self.topics
    }

    /// How many subscribers get what each publisher sends.
    pub(crate) fn fans(&self) -> Vec<u64> {
        if self.shape == Shape::FanOut {
            return (0..self.publishers).map(|_| self.subscribers).collect();
        }
        let mut changes = vec![0_i64; usize::try_from(self.publishers).unwrap_or(0) + 1];
        for subscriber in 0..self.subscribers {
            let range = self.publishers_of(subscriber);
            for (at, change) in [(range.start, 1), (range.end, -1)] {
                if let Some(here) = usize::try_from(at).ok().and_then(|at| changes.get_mut(at)) {
                    *here += change;
                }
            }
        }
        changes.pop();
        let mut now = 0;
        let running = changes.into_iter().map(|change| {
            now += change;
            u64::try_from(now).unwrap_or(0)
        });
        running.collect()
    }

    fn publishers_of(&self, subscriber: u64) -> Range<u64> {
        match self.shape {
            Shape::Pairs => subscriber..subscriber + 1,
            Shape::FanIn => self.group(subscriber),
            Shape::FanOut => 0..self.publishers,
            Shape::Mixed if subscriber % 10 == 9 => 0..self.publishers,
            Shape::Mixed => {
                let publisher = subscriber % self.publishers;
                publisher..publisher + 1
            }
            Shape::Connect | Shape::Idle => 0..0,
        }
    }

    /// The publishers of the subscriber of a fan-in.
    fn group(&self, subscriber: u64) -> Range<u64> {
        let start = |subscriber: u64| subscriber * self.publishers / self.subscribers;
        start(subscriber)..start(subscriber + 1)
    }

    /// The subscriber of a publisher of a fan-in: the last whose group starts at or before it.
    fn group_of(&self, publisher: u64) -> u64 {
        ((publisher + 1) * self.subscribers).saturating_sub(1) / self.publishers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a filter of the few forms used here matches.
    fn matches(filter: &str, topic: &str) -> bool {
        match (filter.strip_suffix("/#"), filter.strip_suffix("/+")) {
            (Some(head), _) => topic.starts_with(&format!("{head}/")),
            (_, Some(head)) => topic.rsplit_once('/').is_some_and(|(parent, _)| parent == head),
            _ => filter == topic,
        }
    }

    #[test]
    fn filters_streams_and_fans_agree_in_every_shape() {
        let cases = [
            (Shape::Pairs, 4, 4),
            (Shape::FanIn, 10, 3),
            (Shape::FanIn, 5, 5),
            (Shape::FanOut, 2, 7),
            (Shape::Mixed, 3, 23),
        ];
        for (shape, publishers, subscribers) in cases {
            let topology = Topology::new(shape, publishers, subscribers, 3, "r".into());
            let mut fans = vec![0_u64; usize::try_from(publishers).unwrap()];
            for subscriber in 0..subscribers {
                let filters = topology.filters(subscriber);
                for publisher in 0..publishers {
                    for topic in 0..3 {
                        let name = topology.topic(publisher, topic);
                        let count = filters.iter().filter(|filter| matches(filter, &name)).count();
                        let expected =
                            topology.streams(subscriber).contains(&topology.stream(publisher, topic));
                        assert_eq!(count, usize::from(expected), "{shape:?} {subscriber} {name}");
                    }
                    fans[usize::try_from(publisher).unwrap()] +=
                        u64::from(topology.streams(subscriber).contains(&topology.stream(publisher, 0)));
                }
            }
            assert_eq!(topology.fans(), fans, "{shape:?}");
            assert_eq!(
                topology.publisher_of(topology.stream(2.min(publishers - 1), 2)),
                2.min(publishers - 1)
            );
        }
    }

    #[test]
    fn shapes_are_named_on_the_command_line_as_in_results() {
        for shape in [Shape::Pairs, Shape::FanIn, Shape::FanOut, Shape::Mixed, Shape::Connect, Shape::Idle] {
            assert_eq!(serde_json::to_string(&shape).unwrap(), format!("\"{}\"", shape.name()));
        }
    }
}
