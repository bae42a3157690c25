//! What clients did and were told, for the checker at the end of a run.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::time::Time;
use crate::types::{ClientId, Offset, Seq};
use crate::wire::api::{Appended, Read, Records};

/// A request, as its client saw it.
#[derive(Clone, Debug)]
pub(super) struct AppendSeen {
    pub(super) began: Time,
    pub(super) records: Vec<Bytes>,
    pub(super) outcome: Outcome,
}

/// What a client was told of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing, or that nobody knows.
    Unknown,
    /// It is in the log.
    Acknowledged(Time, Appended),
    /// It is not, for certain.
    Rejected,
}

/// A read that was answered.
#[derive(Clone, Debug)]
pub(super) struct ReadSeen {
    pub(super) began: Time,
    pub(super) ended: Time,
    pub(super) client: usize,
    pub(super) linearizable: bool,
    pub(super) first: Offset,
    pub(super) records: Vec<Bytes>,
    /// The answer reached the end of the log, not only the limit of the read.
    pub(super) reached_end: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) appends: BTreeMap<(ClientId, Seq), AppendSeen>,
    pub(super) reads: Vec<ReadSeen>,
}

impl Journal {
    pub(super) fn begin_append(&mut self, now: Time, id: (ClientId, Seq), records: &[Bytes]) {
        let seen = AppendSeen { began: now, records: records.to_vec(), outcome: Outcome::Unknown };
        let before = self.appends.insert(id, seen);
        assert!(before.is_none(), "a client numbers its requests once");
    }

    pub(super) fn acknowledge(&mut self, now: Time, id: (ClientId, Seq), appended: Appended) {
        let seen = self.appends.get_mut(&id).expect("only what began is acknowledged");
        seen.outcome = Outcome::Acknowledged(now, appended);
    }

    pub(super) fn reject(&mut self, id: (ClientId, Seq)) {
        let seen = self.appends.get_mut(&id).expect("only what began is rejected");
        // A request that is repeated by its token may be in the log since its first life.
        seen.outcome = Outcome::Rejected;
    }

    pub(super) fn read(
        &mut self,
        (began, ended): (Time, Time),
        client: usize,
        read: &Read,
        (header, records): (&Records, &[Bytes]),
    ) {
        let limit = read.limit.unwrap_or(u64::MAX);
        self.reads.push(ReadSeen {
            began,
            ended,
            client,
            linearizable: read.linearizable,
            first: header.first_offset,
            records: records.to_vec(),
            reached_end: (records.len() as u64) < limit,
        });
    }
}
