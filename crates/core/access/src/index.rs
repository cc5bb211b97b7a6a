//! The rules of all roles by topic: one trie whose branches are levels, `+`, and levels with placeholders. A branch with a
//! placeholder is followed with what the principal's values make of it, so that ten thousand rules with placeholders cost a
//! decision as little as ten thousand without, and a principal keeps its few values and not a filter for each rule.

use motte_topic::{FilterSet, TopicFilter, TopicRef};
use rustc_hash::FxHashMap;

use crate::policy::Rule;
use crate::principal::{ClientPrincipal, Principal};
use crate::template::{Piece, Placeholder, Template, fill_pieces, safe_value};

/// Stands where there is no node, no entry and no group.
const NONE: u32 = u32::MAX;
/// The branch `+`.
const PLUS: u32 = u32::MAX;
/// Set in the names of branches with placeholders.
const FILLED: u32 = 1 << 31;

/// A node of the trie.
#[derive(Debug)]
struct Node {
    /// The branch that leads here.
    branch: u32,
    /// The child for `+`.
    plus: u32,
    first_child: u32,
    next_sibling: u32,
    /// Rules that end here.
    ends: u32,
    /// Rules that go on with `#`.
    rest: u32,
}

/// Rules that deny, and what they deny where one of their placeholders has no value, or one that could widen the filter.
#[derive(Debug)]
struct Guard {
    placeholders: Vec<Placeholder>,
    /// The placeholder that the first level begins with.
    front: Option<Placeholder>,
    set: FilterSet<Vec<u32>>,
    filters: Vec<(TopicFilter, u32)>,
}

/// What the index knows of a role.
#[derive(Debug)]
struct RoleEntry {
    root: u32,
    /// Levels with placeholders in its rules.
    filled: Vec<u32>,
    guards: Vec<u32>,
}

/// The rules of a policy by topic.
#[derive(Debug, Default)]
pub(crate) struct RuleIndex {
    levels: FxHashMap<Box<str>, u32>,
    filled: Vec<Vec<Piece>>,
    filled_numbers: FxHashMap<Vec<Piece>, u32>,
    edges: FxHashMap<(u32, u32), u32>,
    nodes: Vec<Node>,
    /// Lists of rules: a rule and the next entry.
    lists: Vec<(u32, u32)>,
    guards: Vec<Guard>,
    roles: Vec<RoleEntry>,
}

/// What the placeholders of a principal's rules stand for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    /// Levels as they read for this principal, by text.
    levels: Box<[FilledLevel]>,
    /// Places in `levels`, by branch.
    by_branch: Box<[u32]>,
    /// Guards that are in force.
    guards: Box<[u32]>,
    /// Groups that it is in.
    pub(crate) groups: Box<[String]>,
}

#[derive(Debug, Clone)]
struct FilledLevel {
    text: Box<str>,
    branch: u32,
    /// The group that it was made with: other levels of the same rule go with the same one.
    group: u32,
}

/// Where a walk is.
#[derive(Clone, Copy)]
struct Step {
    node: u32,
    /// Where the next level begins in the text; `None` after the last.
    at: Option<usize>,
    group: u32,
}

impl RuleIndex {
    /// Begins another role; what is added from now on belongs to it.
    pub(crate) fn begin_role(&mut self) {
        let root = self.node(NONE, NONE);
        self.roles.push(RoleEntry { root, filled: Vec::new(), guards: Vec::new() });
    }

    /// Adds a rule to the role begun last.
    pub(crate) fn add(&mut self, number: u32, rule: &Rule) {
        let Some(mut at) = self.roles.last().map(|role| role.root) else { return };
        let levels = rule.topic.levels();
        for (depth, level) in levels.iter().enumerate() {
            if matches!(level.as_slice(), [Piece::Text(text)] if text == "#") && depth + 1 == levels.len() {
                self.push(at, number, |node| &mut node.rest);
                return self.guard(number, rule);
            }
            let branch = self.branch(level);
            at = self.edge(at, branch).unwrap_or_else(|| self.node(at, branch));
        }
        self.push(at, number, |node| &mut node.ends);
        self.guard(number, rule);
    }

    /// Ends adding: gives back what was taken in reserve.
    pub(crate) fn finish(&mut self) {
        for role in &mut self.roles {
            role.filled.sort_unstable();
            role.filled.dedup();
            role.filled.shrink_to_fit();
        }
        self.filled_numbers = FxHashMap::default();
        self.levels.shrink_to_fit();
        self.edges.shrink_to_fit();
        self.nodes.shrink_to_fit();
        self.lists.shrink_to_fit();
    }

    fn node(&mut self, parent: u32, branch: u32) -> u32 {
        let number = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        let mut next_sibling = NONE;
        if let Some(above) = self.nodes.get_mut(parent as usize) {
            next_sibling = std::mem::replace(&mut above.first_child, number);
            if branch == PLUS {
                above.plus = number;
            } else {
                self.edges.insert((parent, branch), number);
            }
        }
        self.nodes.push(Node { branch, plus: NONE, first_child: NONE, next_sibling, ends: NONE, rest: NONE });
        number
    }

    fn edge(&self, node: u32, branch: u32) -> Option<u32> {
        if branch == PLUS {
            return self.nodes.get(node as usize).map(|node| node.plus).filter(|child| *child != NONE);
        }
        self.edges.get(&(node, branch)).copied()
    }

    fn push(&mut self, node: u32, rule: u32, list: impl FnOnce(&mut Node) -> &mut u32) {
        let entry = u32::try_from(self.lists.len()).unwrap_or(NONE);
        if let Some(node) = self.nodes.get_mut(node as usize) {
            let next = std::mem::replace(list(node), entry);
            self.lists.push((rule, next));
        }
    }

    fn branch(&mut self, level: &[Piece]) -> u32 {
        let text = match level {
            [] => "",
            [Piece::Text(text)] if text == "+" => return PLUS,
            [Piece::Text(text)] => text,
            _ => return self.filled_branch(level),
        };
        let next = u32::try_from(self.levels.len()).unwrap_or(NONE);
        *self.levels.entry(text.into()).or_insert(next)
    }

    fn filled_branch(&mut self, level: &[Piece]) -> u32 {
        let next = u32::try_from(self.filled.len()).unwrap_or(NONE) & !FILLED;
        let number = *self.filled_numbers.entry(level.to_vec()).or_insert(next);
        if number == next {
            self.filled.push(level.to_vec());
        }
        self.roles.last_mut().into_iter().for_each(|role| role.filled.push(number));
        FILLED | number
    }

    fn guard(&mut self, number: u32, rule: &Rule) {
        let mut placeholders: Vec<Placeholder> = rule.topic.placeholders().collect();
        let Some(filter) = rule.topic.guarded().filter(|_| !rule.allows && !placeholders.is_empty()) else {
            return;
        };
        placeholders.sort_unstable();
        placeholders.dedup();
        let front = rule.topic.front();
        let Some(owner) = self.roles.last_mut() else { return };
        let same = |guard: &Guard| guard.placeholders == placeholders && guard.front == front;
        let known = owner.guards.iter().copied().find(|one| self.guards.get(*one as usize).is_some_and(same));
        let at = known.unwrap_or_else(|| {
            let at = u32::try_from(self.guards.len()).unwrap_or(NONE);
            self.guards.push(Guard { placeholders, front, set: FilterSet::new(), filters: Vec::new() });
            owner.guards.push(at);
            at
        });
        if let Some(guard) = self.guards.get_mut(at as usize) {
            guard.set.entry_or_insert_with(&filter, Vec::new).push(number);
            guard.filters.push((filter, number));
        }
    }

    /// What the placeholders in the rules of some roles stand for.
    pub(crate) fn values(&self, roles: &[u32], principal: &Principal, groups: Vec<String>) -> Values {
        let mut levels = Vec::new();
        let mut guards = Vec::new();
        for role in roles.iter().filter_map(|role| self.roles.get(*role as usize)) {
            guards.extend(role.guards.iter().filter(|one| self.is_in_force(**one, principal, &groups)));
            let Some(client) = principal.client() else { continue };
            for number in &role.filled {
                let Some(pieces) = self.filled.get(*number as usize) else { continue };
                levels.extend(filled_levels(FILLED | number, pieces, client, &groups));
            }
        }
        levels.sort_unstable_by(|a, b| a.text.cmp(&b.text));
        let mut by_branch: Vec<u32> = (0_u32..).take(levels.len()).collect();
        by_branch.sort_by_key(|at| levels.get(*at as usize).map(|level| level.branch));
        Values {
            levels: levels.into(),
            by_branch: by_branch.into(),
            guards: guards.into(),
            groups: groups.into(),
        }
    }

    /// Whether what a guard says is denied: no choice of values makes a filter of its rules.
    fn is_in_force(&self, guard: u32, principal: &Principal, groups: &[String]) -> bool {
        let Some(guard) = self.guards.get(guard as usize) else { return false };
        let by_group = guard.placeholders.contains(&Placeholder::Group);
        let Some(client) = principal.client() else { return !(by_group && groups.is_empty()) };
        let fits = |group: Option<&str>| {
            let filled = |one: &Placeholder| safe_value(*one, client, group).is_some();
            let front = guard.front.and_then(|front| safe_value(front, client, group));
            guard.placeholders.iter().all(filled) && !front.is_some_and(|value| value.starts_with('$'))
        };
        if !by_group {
            return !fits(None);
        }
        !groups.is_empty() && !groups.iter().any(|group| fits(Some(group)))
    }

    /// Calls `each` with the number of every rule of a role whose filter matches the topic.
    pub(crate) fn for_each_match(
        &self,
        role: u32,
        values: &Values,
        topic: TopicRef<'_>,
        mut each: impl FnMut(u32),
    ) {
        let Some(role) = self.roles.get(role as usize) else { return };
        for guard in values.guards.iter().filter(|guard| role.guards.contains(guard)) {
            if let Some(guard) = self.guards.get(*guard as usize) {
                guard.set.for_each_match(topic, |rules| rules.iter().copied().for_each(&mut each));
            }
        }
        let text = topic.as_str();
        let mut waiting: Vec<Step> = Vec::new();
        let mut next = Some(Step { node: role.root, at: Some(0), group: NONE });
        while let Some(now) = next.take().or_else(|| waiting.pop()) {
            let Some(node) = self.nodes.get(now.node as usize) else { continue };
            // Wildcards and values do not reach topics that begin with `$`.
            let is_open = now.at != Some(0) || !topic.is_dollar();
            if is_open {
                self.list(node.rest, &mut each);
            }
            let Some(at) = now.at else {
                self.list(node.ends, &mut each);
                continue;
            };
            let (level, after) = level_at(text, at);
            let mut go = |child: Option<u32>, group: u32| {
                let Some(node) = child else { return };
                let step = Step { node, at: after, group };
                if next.is_none() {
                    next = Some(step);
                } else {
                    waiting.push(step);
                }
            };
            go(self.levels.get(level).and_then(|branch| self.edge(now.node, *branch)), now.group);
            if is_open {
                go(self.edge(now.node, PLUS), now.group);
                for filled in values.reading(level) {
                    let Some(group) = filled.bind(now.group) else { continue };
                    go(self.edge(now.node, filled.branch), group);
                }
            }
        }
    }

    /// Calls `each` with the number of every rule of a role whose filter can have a topic in common with `filter`, and the
    /// group that its filter is made with; and with filters that stand in place of a rule's own. Some that have none may be
    /// among them.
    pub(crate) fn for_each_near(
        &self,
        role: u32,
        values: &Values,
        filter: &TopicFilter,
        mut each: impl FnMut(u32, Near<'_>),
    ) {
        let Some(role) = self.roles.get(role as usize) else { return };
        for guard in values.guards.iter().filter(|guard| role.guards.contains(guard)) {
            let filters = self.guards.get(*guard as usize).map(|guard| guard.filters.as_slice());
            filters.unwrap_or_default().iter().for_each(|(filter, rule)| each(*rule, Near::Guard(filter)));
        }
        let text = filter.as_str();
        // The other steps are below a `#`.
        let mut waiting = vec![(Step { node: role.root, at: Some(0), group: NONE }, false)];
        while let Some((now, below)) = waiting.pop() {
            let Some(node) = self.nodes.get(now.node as usize) else { continue };
            let group = values.groups.get(now.group as usize).map(String::as_str);
            self.list(node.rest, |rule| each(rule, Near::Own(group)));
            let (level, after) = match now.at {
                None => {
                    self.list(node.ends, |rule| each(rule, Near::Own(group)));
                    continue;
                }
                Some(_) if below => ("#", None),
                Some(at) => level_at(text, at),
            };
            let is_rest = level == "#";
            if is_rest {
                self.list(node.ends, |rule| each(rule, Near::Own(group)));
            }
            let after = if is_rest { now.at } else { after };
            let mut go = |node: u32, group: u32| waiting.push((Step { node, at: after, group }, is_rest));
            if is_rest || level == "+" {
                let mut child = node.first_child;
                while let Some(one) = self.nodes.get(child as usize) {
                    if one.branch == PLUS || one.branch & FILLED == 0 {
                        go(child, now.group);
                    } else {
                        let read = values.of_branch(one.branch).filter_map(|level| level.bind(now.group));
                        read.for_each(|group| go(child, group));
                    }
                    child = one.next_sibling;
                }
                continue;
            }
            let edge = |branch: u32| self.edge(now.node, branch);
            let literal = self.levels.get(level).and_then(|branch| edge(*branch));
            literal.into_iter().chain(edge(PLUS)).for_each(|child| go(child, now.group));
            for filled in values.reading(level) {
                let Some(child) = edge(filled.branch) else { continue };
                filled.bind(now.group).into_iter().for_each(|group| go(child, group));
            }
        }
    }

    fn list(&self, mut entry: u32, mut each: impl FnMut(u32)) {
        while let Some((rule, next)) = self.lists.get(entry as usize) {
            each(*rule);
            entry = *next;
        }
    }
}

/// How the filter of a rule near another filter is made.
#[derive(Clone, Copy)]
pub(crate) enum Near<'a> {
    /// From its template, with this group.
    Own(Option<&'a str>),
    /// It is this one.
    Guard(&'a TopicFilter),
}

impl Values {
    /// Levels that read like this one.
    fn reading(&self, text: &str) -> impl Iterator<Item = &FilledLevel> {
        let from = self.levels.partition_point(|level| *level.text < *text);
        self.levels.iter().skip(from).take_while(move |level| *level.text == *text)
    }

    /// What a branch reads like.
    fn of_branch(&self, branch: u32) -> impl Iterator<Item = &FilledLevel> {
        let level = |at: u32| self.levels.get(at as usize);
        let from = self.by_branch.partition_point(|at| level(*at).is_some_and(|level| level.branch < branch));
        let found = self.by_branch.iter().skip(from).filter_map(move |at| level(*at));
        found.take_while(move |level| level.branch == branch)
    }
}

impl FilledLevel {
    /// The group of a walk that goes on here; `None` when the walk is bound to another one.
    fn bind(&self, walk: u32) -> Option<u32> {
        match (self.group, walk) {
            (NONE, bound) => Some(bound),
            (own, NONE) => Some(own),
            (own, bound) => (own == bound).then_some(own),
        }
    }
}

fn filled_levels(
    branch: u32,
    pieces: &[Piece],
    client: &ClientPrincipal,
    groups: &[String],
) -> Vec<FilledLevel> {
    let by_group = pieces.contains(&Piece::Placeholder(Placeholder::Group));
    let level = |group: u32, name: Option<&str>| {
        let text = fill_pieces(pieces, |one| safe_value(one, client, name))?;
        Some(FilledLevel { text: text.into(), branch, group })
    };
    if !by_group {
        return level(NONE, None).into_iter().collect();
    }
    (0_u32..).zip(groups).filter_map(|(number, name)| level(number, Some(name))).collect()
}

/// The level that begins at a byte, and where the next one does.
fn level_at(text: &str, at: usize) -> (&str, Option<usize>) {
    let rest = text.get(at..).unwrap_or_default();
    match rest.find('/') {
        Some(end) => (rest.get(..end).unwrap_or_default(), Some(at + end + 1)),
        None => (rest, None),
    }
}

/// The filter of a rule for a principal, made with one group.
pub(crate) fn filter_of(
    template: &Template,
    fixed: Option<&TopicFilter>,
    principal: &Principal,
    near: Near<'_>,
) -> Option<TopicFilter> {
    match near {
        Near::Guard(filter) => Some(filter.clone()),
        Near::Own(group) => match fixed {
            Some(filter) => Some(filter.clone()),
            None => template.resolve_one(principal.client()?, group),
        },
    }
}

#[cfg(test)]
mod tests;
