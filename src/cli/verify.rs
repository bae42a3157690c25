//! `annal verify`: reads all that a stopped node has, or all of a backup, once, and says whether it is what
//! was written.
//!
//! Beyond what a start and `annal node inspect` look at, it goes through every entry as a node does that takes
//! it, and compares what they come to with the head of each segment.

use std::path::{Path, PathBuf};

use super::args;
use super::failure::{End, Failure};
use super::node::no_inspection;
use super::output::Printer;
use super::rows::VerifyRow;
use crate::entry::{RunHead, SealedEntry, Tip};
use crate::limits::SEGMENT_BYTES_DEFAULT;
use crate::outcome::Outcome;
use crate::replica::Derived;
use crate::store::{self, Backup, Beginning, Head, Seen};

/// Says what there is, or what is wrong with it.
pub(super) fn run(args: &args::Verify, printer: &mut Printer) -> Result<(), End> {
    match &args.data {
        Some(data) => of_node(data, printer),
        None => of_backups(&args.files, printer),
    }
}

/// Goes through backups, each of which follows on the one before it.
fn of_backups(files: &[PathBuf], printer: &mut Printer) -> Result<(), End> {
    let mut sum = Sum::default();
    let mut read: Option<(Beginning, Tip)> = None;
    for file in files {
        let mut backup = Backup::open(file)?;
        match &read {
            Some((_, tip)) => backup.check_follows(tip)?,
            None => backup.head().into_iter().for_each(|head| sum.take(Seen::Head(head))),
        }
        while let Some(entry) = backup.next_entry()? {
            sum.take(Seen::Entry(&entry));
        }
        let tip = backup.end().tip;
        read = Some((read.map_or_else(|| backup.beginning().clone(), |(first, _)| first), tip));
    }
    let (Beginning { cluster, after, .. }, tip) = read.expect("one file at least is named");
    let is_damaged = !sum.contradictions.is_empty();
    printer.print_now(&VerifyRow {
        cluster,
        node: None,
        first_index: after.id.index.next(),
        last_index: tip.id.index,
        entries: sum.entries,
        segments: None,
        logs: sum.derived.map(|derived| derived.logs()),
        records: sum.records,
        chain: Some(tip.chain.to_string()),
        damage: sum.contradictions,
    })?;
    if is_damaged {
        let sentence = "what the entries say does not fit together";
        let hint = "another version of annal may have written them: see `annal --version`";
        return Err(Failure::new(Outcome::Damage, sentence, hint).into());
    }
    Ok(())
}

fn of_node(data: &Path, printer: &mut Printer) -> Result<(), End> {
    let mut sum = Sum::default();
    let found = store::inspect_each(data, None, |seen| sum.take(seen));
    let found = found.map_err(|error| no_inspection(data, &error))?;
    let damage: Vec<_> = found.damage.into_iter().chain(sum.contradictions).collect();
    let is_damaged = !damage.is_empty();
    printer.print_now(&VerifyRow {
        cluster: found.identity.cluster,
        node: Some(found.identity.node),
        first_index: found.first_index,
        last_index: found.last.id.index,
        entries: sum.entries,
        segments: Some(found.segments),
        logs: sum.derived.map(|derived| derived.logs()),
        records: sum.records,
        chain: found.chain.map(|chain| chain.to_string()),
        damage,
    })?;
    if is_damaged {
        let sentence = "the folder is damaged, and was left as it is";
        let hint = "keep it, and let the other nodes carry on without this one";
        return Err(Failure::new(Outcome::Damage, sentence, hint).into());
    }
    Ok(())
}

/// What entries come to.
#[derive(Default)]
struct Sum {
    entries: u64,
    records: u64,
    /// Nothing behind an entry that cannot be taken, until the next head.
    derived: Option<Derived>,
    /// What does not fit together though it is what was written, a sentence each.
    contradictions: Vec<String>,
}

impl Sum {
    fn take(&mut self, seen: Seen<'_>) {
        match seen {
            Seen::Head(head) => self.take_head(head),
            Seen::Entry(entry) => self.take_entry(entry),
        }
    }

    fn take_head(&mut self, head: &Head) {
        let first = head.tip.id.index.next();
        let before = self.derived.take().filter(|derived| derived.tip() == head.tip);
        if before.is_some_and(|derived| derived.head() != *head) {
            let what = "begins with another state than the entries before it come to";
            self.contradictions.push(format!("the segment that begins at {first} {what}"));
        }
        // Where segments end is not asked: their size is the cluster's.
        match Derived::of(head, SEGMENT_BYTES_DEFAULT) {
            Ok(derived) => self.derived = Some(derived),
            Err(error) => {
                self.contradictions.push(format!("the segment that begins at {first}: {error}"));
            }
        }
    }

    fn take_entry(&mut self, entry: &SealedEntry) {
        self.entries += 1;
        self.records += entry.runs().iter().flatten().map(RunHead::records).sum::<u64>();
        if let Some(derived) = &mut self.derived
            && let Err(error) = derived.take(entry)
        {
            self.contradictions.push(error.to_string());
            self.derived = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{ElectionReason, EntryKind, NoOp};
    use crate::raft::Configuration;
    use crate::types::{NodeId, Term, Timestamp};

    /// The head of an empty log, an entry, and the head behind it.
    fn begun() -> (Head, SealedEntry, Head) {
        let leader = NodeId::new(1).unwrap();
        let head = Head {
            tip: Tip::default(),
            next_offsets: vec![],
            configuration: Configuration::of([leader]),
            terms: vec![],
            sessions: bytes::Bytes::new(),
        };
        let no_op = NoOp { leader, reason: ElectionReason::FirstStart, voters: vec![leader] };
        let (term, now) = (Term::new(1), Timestamp::new(5));
        let entry = SealedEntry::seal(&head.tip, EntryKind::NoOp, term, now, &no_op.encode());
        let mut derived = Derived::of(&head, SEGMENT_BYTES_DEFAULT).unwrap();
        derived.take(&entry).unwrap();
        (head, entry, derived.head())
    }

    fn contradictions(seen: &[Seen<'_>]) -> Vec<String> {
        let mut sum = Sum::default();
        for seen in seen {
            sum.take(*seen);
        }
        sum.contradictions
    }

    #[test]
    fn what_entries_come_to_is_what_the_next_segment_begins_with() {
        let (head, entry, next) = begun();
        let with = |behind: &Head| {
            contradictions(&[Seen::Head(&head), Seen::Entry(&entry), Seen::Head(behind)])
        };
        assert_eq!(with(&next), [""; 0]);
        let other = Head { terms: vec![], ..next.clone() };
        let [found] = &with(&other)[..] else { panic!("{:?}", with(&other)) };
        assert!(found.starts_with("the segment that begins at 2 begins with another"), "{found}");
        let unreadable = Head { sessions: bytes::Bytes::from_static(b"x"), ..next };
        assert_eq!(with(&unreadable).len(), 2);
    }

    #[test]
    fn an_entry_that_does_not_follow_is_named_once_and_the_rest_is_counted() {
        let (head, entry, next) = begun();
        let seen =
            [Seen::Head(&head), Seen::Entry(&entry), Seen::Entry(&entry), Seen::Entry(&entry)];
        assert_eq!(contradictions(&seen), ["entry 1@1 is not of its form"]);
        let mut sum = Sum::default();
        for seen in [&seen[..], &[Seen::Head(&next)]].concat() {
            sum.take(seen);
        }
        assert_eq!((sum.entries, sum.derived.map(|derived| derived.logs())), (3, Some(1)));
    }
}
