//! What one shard gathers before it tells the process.

use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;

use crate::gate::{Authorized, Gate, Subject};
use crate::policy::CompiledPolicy;
use crate::standing::Standing;
use crate::usage::{RuleName, Usage, UsageKey, UsageRecord, Used};

/// Seconds between two times that a shard tells.
const TELL_S: u64 = 10;
/// Entries that a shard gathers before it tells.
const GATHERED_MAX: usize = 1_024;

/// Gathers uses; belongs to one shard.
#[derive(Debug)]
pub struct Recorder {
    record: Arc<Mutex<UsageRecord>>,
    gathered: FxHashMap<(Used, bool), Usage>,
    told_s: u64,
}

impl Recorder {
    /// Tells this record.
    pub fn new(record: Arc<Mutex<UsageRecord>>) -> Self {
        Self { record, gathered: FxHashMap::default(), told_s: 0 }
    }

    /// Notes what a permission used; `quarantined`: the Session was set apart.
    pub fn note<T: Subject>(
        &mut self,
        gate: &Gate,
        who: &Standing,
        decided: &Authorized<T>,
        quarantined: bool,
        now_s: u64,
    ) {
        for used in gate.uses(who, decided) {
            let name = who.principal().name();
            let usage = Usage { count: 1, first_s: now_s, last_s: now_s, who: name.to_owned() };
            self.gathered.entry((used, quarantined)).and_modify(|known| known.add(&usage)).or_insert(usage);
        }
        if self.gathered.len() >= GATHERED_MAX || now_s.saturating_sub(self.told_s) >= TELL_S {
            self.tell(gate.policy(), now_s);
        }
    }

    /// The rules of a policy are watched from now on.
    pub fn watch(&mut self, policy: &CompiledPolicy, now_s: u64) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.watch(policy.rule_names(), now_s);
    }

    /// Tells what was gathered under a policy.
    pub fn tell(&mut self, policy: &CompiledPolicy, now_s: u64) {
        self.told_s = now_s;
        if self.gathered.is_empty() {
            return;
        }
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        for ((used, quarantined), usage) in self.gathered.drain() {
            let Some(rule) = policy.rule_name(used.rule) else { continue };
            let key = UsageKey { rule, action: used.action, quarantined, shape: used.shape };
            record.add(key, &usage);
        }
    }
}

impl CompiledPolicy {
    /// The names of the rules that allow, as records know them.
    pub fn rule_names(&self) -> impl Iterator<Item = RuleName> {
        self.rules.iter().filter(|rule| rule.allows).filter_map(|rule| self.rule_name(rule.id))
    }

    fn rule_name(&self, id: crate::policy::RuleId) -> Option<RuleName> {
        let rule = self.rule(id)?;
        Some(RuleName { role: self.place(id)?.role.to_string(), words: rule.words() })
    }
}
