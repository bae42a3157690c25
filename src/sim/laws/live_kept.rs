//! Invariant: nothing is given up that is live: a record at or behind its log's start, of a log that is
//! not deleted.
//!
//! Space comes back by deleting what was acknowledged. One segment too many, and a promise is broken
//! that no crash and no fault has touched.
//!
//! Judged by what disks list, as soon as a list gets shorter from the front; by the entries that the node held for
//! committed then, of which this law has a list of its own, in the plainest way. A node that begins at a head gives
//! up what others did before it, and was judged of.

use std::collections::BTreeMap;

use super::{Law, LawName, Moment, NodeView, What, behind};
use crate::command::Command;
use crate::entry::{Request, SealedEntry};
use crate::types::{Index, LogNumber, NodeId, Offset};

/// A log, as the entries have it.
#[derive(Clone, Debug, Default)]
struct Log {
    /// The entry of each record.
    entries: Vec<Index>,
    /// Where it begins, from which entry on, and that it is gone.
    starts: Vec<(Index, Option<Offset>)>,
}

impl Log {
    /// Where it began behind an entry; `None` if it was deleted by then.
    fn start_at(&self, index: Index) -> Option<Offset> {
        let so_far = self.starts.partition_point(|(at, _)| *at <= index);
        so_far.checked_sub(1).map_or(Some(Offset::ZERO), |last| self.starts[last].1)
    }

    /// Its first record behind an entry that was live by then, if that is before another entry.
    fn live_before(&self, before: Index, as_of: Index) -> Option<Offset> {
        let start = self.start_at(as_of)?;
        let entry = self.entries.get(usize::try_from(start.get()).ok()?)?;
        (*entry < before).then_some(start)
    }
}

/// A node has given up what is before an entry, and held so much for committed by then.
#[derive(Clone, Copy, Debug)]
struct GivenUp {
    node: NodeId,
    before: Index,
    as_of: Index,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct LiveKept {
    /// The last entry that was applied.
    applied: Index,
    logs: BTreeMap<LogNumber, Log>,
    /// Up to where each node has held entries for committed.
    committed: BTreeMap<NodeId, Index>,
    /// The first entry that was on each disk.
    disks: BTreeMap<NodeId, Index>,
    /// Behind which entry a node was about to begin.
    installed: BTreeMap<NodeId, Index>,
    /// What was given up and not judged yet.
    given_up: Vec<GivenUp>,
}

impl LiveKept {
    fn on_turn(&mut self, view: &NodeView<'_>, committed: &[SealedEntry]) -> Result<(), String> {
        if let Some(replica) = view.replica {
            self.committed.insert(view.id, replica.raft().log().commit_index());
        }
        for entry in behind(self.applied, committed) {
            self.applied = entry.id().index;
            for request in entry.requests().unwrap_or_default() {
                self.place(&request);
            }
            let housekeeping = entry.housekeeping().ok().flatten().unwrap_or_default();
            for (log, start) in housekeeping.trims {
                self.trim(log, start);
            }
            for log in housekeeping.expired {
                self.logs.entry(log).or_default().starts.push((self.applied, None));
            }
        }
        self.judge()
    }

    fn place(&mut self, request: &Request) {
        let at = self.applied;
        if let Some(origin) = request.command.as_ref().and_then(Command::origin) {
            let source = self.logs.entry(origin.source).or_default();
            let until = usize::try_from(origin.at.get()).unwrap_or(usize::MAX);
            let entries = source.entries.get(..until).unwrap_or_default().to_vec();
            // Before it was there nothing of it was live.
            let starts = vec![(Index::ZERO, None), (at, source.start_at(at))];
            self.logs.insert(request.log, Log { entries, starts });
        }
        let log = self.logs.entry(request.log).or_default();
        log.entries.extend(request.records.iter().map(|_| at));
        match request.command {
            Some(Command::Trim(before)) => self.trim(request.log, before),
            Some(Command::Delete) => log.starts.push((at, None)),
            _ => {}
        }
    }

    fn trim(&mut self, log: LogNumber, before: Offset) {
        let (at, log) = (self.applied, self.logs.entry(log).or_default());
        let start = log.start_at(at).map(|start| start.max(before));
        log.starts.push((at, start));
    }

    fn on_disk(&mut self, view: &NodeView<'_>) -> Result<(), String> {
        let first = view.platter.first();
        let before = self.disks.insert(view.id, first).unwrap_or_default();
        let has_begun = self.installed.get(&view.id).is_some_and(|tip| tip.next() == first);
        if first <= before.max(Index::new(1)) || has_begun {
            return Ok(());
        }
        let as_of = self.committed.get(&view.id).copied().unwrap_or_default();
        self.given_up.push(GivenUp { node: view.id, before: first, as_of });
        self.judge()
    }

    /// Judges what was given up, as far as the entries are known that it rests on.
    fn judge(&mut self) -> Result<(), String> {
        let applied = self.applied;
        let (known, left) = self.given_up.drain(..).partition(|it| it.as_of <= applied);
        self.given_up = left;
        let known: Vec<GivenUp> = known;
        known.into_iter().try_for_each(|it| self.check(it))
    }

    fn check(&self, GivenUp { node, before, as_of }: GivenUp) -> Result<(), String> {
        let live =
            |(number, log): (&LogNumber, &Log)| Some((*number, log.live_before(before, as_of)?));
        match self.logs.iter().find_map(live) {
            Some((log, offset)) => Err(format!(
                "{node} gave up what is before entry {before}, and with it the record at offset \
                 {offset} of log {log}, which is live"
            )),
            None => Ok(()),
        }
    }
}

impl Law for LiveKept {
    fn name(&self) -> LawName {
        LawName::LiveKept
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        match moment.what {
            What::Turn { node, committed, .. } => self.on_turn(moment.node(node), committed),
            What::BegunAnew { node } => {
                self.disks.remove(&node);
                Ok(())
            }
            // What its disk lists may have rotted.
            What::Disk { node } if moment.node(node).lost => Ok(()),
            What::Disk { node } => self.on_disk(moment.node(node)),
            What::Installs { node, tip } => {
                self.installed.insert(node, tip.id.index);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::command::{NewLog, Origin};
    use crate::entry::Tip;
    use crate::log_name::LogName;
    use crate::sim::laws::testing::Log as EntryLog;
    use crate::types::{LogId, Term};

    fn command(seq: u64, offset: u64, command: Command) -> Request {
        Request { records: vec![], command: Some(command), ..request(1, seq, offset, 0, "") }
    }

    /// Entries 2 and 3 have a record each of `main`; all of it on three disks, and committed.
    fn stage_of(more: &[Request]) -> (Stage, LiveKept) {
        let mut log = EntryLog::of(&[1]);
        log.requests(1, &[request(1, 1, 0, 1, "")]);
        log.requests(1, &[request(1, 2, 1, 1, "")]);
        for request in more {
            log.requests(1, std::slice::from_ref(request));
        }
        let (mut stage, mut law) = (Stage::new(), LiveKept::default());
        let last = log.entries.len() as u64;
        for number in 1..=3 {
            stage.run(follower(number, &log, 1, last), &log.entries);
            stage.show(&mut law, What::Disk { node: node(number) }).unwrap();
        }
        stage.commits(&mut law, 1, &log.entries).unwrap();
        (stage, law)
    }

    fn gives_up(stage: &mut Stage, law: &mut LiveKept, entries: u64) -> Result<(), String> {
        stage.platter(1).given_up = entries;
        stage.show(law, What::Disk { node: node(1) })
    }

    #[test]
    fn what_is_trimmed_or_of_a_deleted_log_may_go_and_what_is_live_may_not() {
        let (mut stage, law) = stage_of(&[command(3, 2, Command::Trim(Offset::new(1)))]);
        gives_up(&mut stage, &mut law.clone(), 1).unwrap();
        gives_up(&mut stage, &mut law.clone(), 2).unwrap();
        let found = gives_up(&mut stage, &mut law.clone(), 3);
        assert_broken(
            found,
            "n1 gave up what is before entry 4, and with it the record at offset 1",
        );
        let (mut stage, mut law) = stage_of(&[command(3, 2, Command::Delete)]);
        gives_up(&mut stage, &mut law, 4).unwrap();
    }

    #[test]
    fn what_a_fork_has_of_a_log_may_not_go_before_the_fork() {
        let origin = Some(Origin { source: LogNumber::MAIN, at: Offset::new(1), part: 0 });
        let new = NewLog { origin, ..NewLog::from("f".parse::<LogName>().unwrap()) };
        let of_fork = |seq, it| Request { log: LogNumber::new(1), ..command(seq, 1, it) };
        let forked =
            [of_fork(3, Command::create(new)), command(4, 2, Command::Trim(Offset::new(2)))];
        let (mut stage, mut law) = stage_of(&forked);
        gives_up(&mut stage, &mut law.clone(), 1).unwrap();
        let found = gives_up(&mut stage, &mut law.clone(), 2);
        assert_broken(found, "the record at offset 0 of log 1, which is live");
        // Before it was forked that was nobody's but the source's.
        law.committed.insert(node(1), Index::new(3));
        assert_broken(gives_up(&mut stage, &mut law, 2), "the record at offset 0 of log 0");
        let (mut stage, mut law) =
            stage_of(&[&forked[..], &[of_fork(5, Command::Delete)]].concat());
        gives_up(&mut stage, &mut law, 3).unwrap();
    }

    #[test]
    fn what_was_not_committed_yet_makes_nothing_dead() {
        let (mut stage, mut law) = stage_of(&[command(3, 2, Command::Trim(Offset::new(2)))]);
        law.committed.insert(node(1), Index::new(3));
        assert_broken(gives_up(&mut stage, &mut law, 2), "the record at offset 0 of log 0");
        // Nor is it judged before its entries were reported.
        let (mut stage, mut law) = stage_of(&[]);
        law.committed.insert(node(1), Index::new(9));
        gives_up(&mut stage, &mut law, 2).unwrap();
        assert_eq!(law.given_up.len(), 1);
    }

    #[test]
    fn a_node_that_begins_at_a_head_gives_up_what_others_did() {
        let (mut stage, mut law) = stage_of(&[]);
        let tip = Tip { id: LogId::new(Index::new(2), Term::new(1)), ..Tip::default() };
        stage.show(&mut law, What::Installs { node: node(1), tip: &tip }).unwrap();
        gives_up(&mut stage, &mut law, 2).unwrap();
        let found = gives_up(&mut stage, &mut law, 3);
        assert_broken(found, "n1 gave up what is before entry 4");
    }
}
