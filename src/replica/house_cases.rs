//! Cases of keeping house: what a leader trims by itself, and what it leaves alone.

use super::cases::{NOW, append, leader};
use super::condition_cases::{commanded, settle};
use super::replica::Replica;
use crate::command::Command;
use crate::raft::Configuration;
use crate::retention::Retention;
use crate::store::{self, Identity, MemoryDisk, Reader};
use crate::types::{ClusterId, LogNumber, NodeId, Offset};

/// That of a store in which nothing is sealed.
fn reader() -> Reader {
    let disk = MemoryDisk::new();
    let node = NodeId::new(1).unwrap();
    let identity = Identity { cluster: ClusterId::new(7), node };
    let options = store::Options::default();
    store::create_in(&disk, identity, &Configuration::of([node]), &options).unwrap();
    store::open_in(&disk, identity, options).unwrap().0.reader()
}

fn keep(seq: u64, records: u64) -> super::border::Event {
    let retention = Retention { records: Some(records), ..Retention::ALL };
    commanded(seq, seq, Command::Configure(retention))
}

/// A leader of a log with ten records.
fn of_ten() -> Replica {
    let (mut replica, _) = leader();
    for seq in 1..=10 {
        replica.handle(NOW, append(seq, seq, "x"));
    }
    settle(&mut replica);
    replica
}

/// Looks now what is to be done. Says where the log begins afterwards, and with which entry it ends.
fn kept_house(replica: &mut Replica, reader: &Reader) -> (u64, u64) {
    replica.ticks_to_house = 0;
    replica.keep_house(reader);
    settle(replica);
    begins(replica)
}

fn begins(replica: &Replica) -> (u64, u64) {
    let start = replica.reach(LogNumber::MAIN).unwrap().start;
    (start.get(), replica.tip().id.index.get())
}

#[test]
fn a_leader_trims_what_the_retention_lets_go_by_one_entry_and_once() {
    let (mut replica, reader) = (of_ten(), reader());
    let (_, before) = begins(&replica);
    assert_eq!(kept_house(&mut replica, &reader), (0, before), "it keeps everything");
    replica.handle(NOW, keep(11, 4));
    settle(&mut replica);
    assert_eq!(kept_house(&mut replica, &reader), (6, before + 2));
    assert_eq!(kept_house(&mut replica, &reader), (6, before + 2));
    assert_eq!(replica.end_of_reads(LogNumber::MAIN).next_offset, Offset::new(10));
}

/// The simulator found it, seed 78: a trim by what was so stood behind a change that keeps more.
#[test]
fn a_log_whose_retention_is_being_changed_is_left_alone() {
    let (mut replica, reader) = (of_ten(), reader());
    replica.handle(NOW, keep(11, 4));
    settle(&mut replica);
    replica.handle(NOW, keep(12, 8));
    replica.flush();
    let (_, end) = begins(&replica);
    replica.ticks_to_house = 0;
    replica.keep_house(&reader);
    assert_eq!(replica.tip().id.index.get(), end, "nothing is said before it is committed");
    settle(&mut replica);
    assert_eq!(kept_house(&mut replica, &reader), (2, end + 1));
}
