//! The laws (thesis, figure 3.2), read off a single state, and the sights that a search must have
//! seen to be worth anything.

use std::collections::BTreeMap;

use annal::raft::{AppendEntries, Message, RequestVote, Role};
use annal::types::{Index, NodeId, Term};
use stateright::Property;

use super::model::Bounds;
use super::state::{Broken, NODES, Node, Sent, State, id_of};

type Condition = fn(&Bounds, &State) -> bool;

/// What every state keeps.
pub(super) fn laws() -> Vec<Property<Bounds>> {
    let laws: [(&str, Condition); 10] = [
        ("no assertion of the core fails", |_, s| {
            !matches!(s.history.broken, Some(Broken::Assertion(_)))
        }),
        ("nothing is said that is not on disk", |_, s| {
            !matches!(s.history.broken, Some(Broken::SaidTooEarly(_)))
        }),
        ("what a follower vouches for, its leader has", |_, s| {
            !matches!(s.history.broken, Some(Broken::VouchedWrongly(_)))
        }),
        ("a leader commits by an entry of its own term", |_, s| {
            !matches!(s.history.broken, Some(Broken::WronglyCommitted(_)))
        }),
        ("a term has one leader", |_, s| one_leader_a_term(s)),
        ("a node votes once in a term", |_, s| {
            !matches!(s.history.broken, Some(Broken::VoteForgotten(..)))
        }),
        ("logs that share an entry share all before it", |_, s| logs_match(s)),
        ("what is committed is on the disks of a majority", |_, s| committed_is_durable(s)),
        ("whoever leads has all that was committed before its term", |_, s| {
            leaders_are_complete(s)
        }),
        ("what is committed is the same everywhere, and what reads see", |_, s| {
            commits_agree(s) && reads_are_current(s)
        }),
    ];
    laws.map(|(name, condition)| Property::always(name, condition)).into()
}

/// What must be seen where two nodes campaign in one term.
pub(super) fn sights_of_elections() -> Vec<Property<Bounds>> {
    sights([
        ELECTED,
        ("two nodes campaign in one term and neither is elected", |_, s| {
            candidates(s).values().any(|of_term| of_term.len() > 1) && !somebody_leads(s)
        }),
        ("a node has crashed after it had voted", |_, s| {
            s.left.crashes == 0 && s.node(0).disk.hard_state.voted_for.is_some()
        }),
    ])
}

/// What must be seen where a second term follows.
pub(super) fn sights_of_two_terms() -> Vec<Property<Bounds>> {
    sights([
        ELECTED,
        ("an entry is committed", |_, s| !s.history.committed.is_empty()),
        ("entries are removed", |_, s| s.history.truncated),
        ("a leader of term 2 has a committed entry of term 1", |_, s| {
            leads_with(s, 2, |node| {
                node.terms().first() == Some(&Term::new(1))
                    && node.raft.log().commit_index() >= Index::new(1)
            })
        }),
    ])
}

/// What must be seen where a leader at work is followed by another.
pub(super) fn sights_of_entries() -> Vec<Property<Bounds>> {
    sights([
        ELECTED,
        ("two proposals of term 1 are committed", |_, s| {
            leads_with(s, 1, |node| node.raft.log().commit_index() == Index::new(3))
        }),
        ("a leader of term 2 has committed a proposal of term 1", |_, s| {
            leads_with(s, 2, |node| {
                node.terms().get(1) == Some(&Term::new(1))
                    && node.raft.log().commit_index() >= Index::new(3)
            })
        }),
        ("entries are removed", |_, s| s.history.truncated),
        ("removed entries are on their way to the disk", |_, s| {
            let writes = s.nodes.iter().flat_map(|node| &node.value.writes);
            writes.filter(|write| write.persist.truncate_from.is_some()).count() > 0
        }),
        ("two nodes lead at once, in different terms", |_, s| {
            leads_with(s, 1, |_| true) && leads_with(s, 2, |_| true)
        }),
        ("a leader that hears nobody steps down", |_, s| {
            s.left.waits == 0 && !somebody_leads(s) && candidates(s).is_empty()
        }),
    ])
}

/// What must be seen where a third term follows on two different ones.
pub(super) fn sights_of_three_terms() -> Vec<Property<Bounds>> {
    sights([
        ELECTED,
        ("a leader of a third term follows a commit in the second", |_, s| {
            s.history.committed.get(1).is_some_and(|second| second.term == Term::new(2))
                && leads_with(s, 3, |_| true)
        }),
        ("the long log is led in the third term", |_, s| {
            leads_with(s, 3, |node| node.terms().get(2) == Some(&Term::new(1)))
        }),
    ])
}

/// What must be seen where votes come late.
pub(super) fn sights_of_late_votes() -> Vec<Property<Bounds>> {
    sights([
        ("a candidate is elected by votes that were long on their way", |_, s| {
            leads_with(s, 1, |_| true)
        }),
        ("n1 campaigns once more, and has two votes of its first campaign", |_, s| {
            let role = s.node(0).raft.role();
            let old = |sent: &Sent| {
                matches!(sent.message, Message::RequestVoteResponse(_))
                    && sent.message.term() == Term::new(1)
            };
            matches!(role, Role::Candidate(_))
                && s.node(0).raft.current_term() == Term::new(2)
                && s.sent.iter().filter(|sent| old(&sent.value)).count() == 2
        }),
        ("n1 campaigns against the leader of its term", |_, s| {
            matches!(s.node(0).raft.role(), Role::Candidate(_)) && leads_with(s, 2, |_| true)
        }),
    ])
}

/// What must be seen where a read is asked for.
pub(super) fn sights_of_reads() -> Vec<Property<Bounds>> {
    sights([
        ("a read is answered in term 1", |_, s| is_answered(s) && leads_with(s, 1, |_| true)),
        ("a read is answered in term 3", |_, s| {
            let term = Term::new(3);
            is_answered(s) && s.nodes.iter().all(|node| node.value.raft.current_term() == term)
        }),
        ("a read waits where somebody else has committed more", |_, s| {
            s.history
                .read
                .is_some_and(|read| read.answer.is_none() && read.must_see > Index::new(1))
                && leads_with(s, 1, |_| true)
        }),
    ])
}

/// What must be seen behind figure 8.
pub(super) fn sights_of_figure_8() -> Vec<Property<Bounds>> {
    sights([
        ELECTED,
        ("an entry of term 2 is on two disks and not committed", |_, s| {
            let second = |n: &Node| n.disk.terms().get(1) == Some(&Term::new(2));
            s.nodes.iter().filter(|node| second(&node.value)).count() == 2
                && s.history.committed.len() == 1
        }),
        ("it is committed together with one of term 4", |_, s| s.history.committed.len() > 2),
        ("it is removed again, by a leader of term 5", |_, s| {
            s.history.truncated
                && leads_with(s, 5, |node| node.terms().get(1) == Some(&Term::new(3)))
        }),
    ])
}

/// What must be seen where leadership is handed over.
pub(super) fn sights_of_handovers() -> Vec<Property<Bounds>> {
    sights([
        ELECTED,
        ("a successor leads, and has committed its first entry", |_, s| {
            let at_its_wish = |m: &Message| {
                matches!(m, Message::RequestVote(RequestVote { leadership_transfer: true, .. }))
            };
            let asks = s.sent.iter().find(|sent| at_its_wish(&sent.value.message));
            asks.is_some_and(|asks| s.node(asks.value.from).raft.is_ready_leader())
        }),
        ("a read is answered during a handover", |_, s| {
            is_answered(s) && leads_with(s, 1, |node| !node.raft.may_propose())
        }),
    ])
}

fn sights<const N: usize>(sights: [(&'static str, Condition); N]) -> Vec<Property<Bounds>> {
    sights.map(|(name, condition)| Property::sometimes(name, condition)).into()
}

const ELECTED: (&str, Condition) =
    ("a leader is elected", |_, s| somebody_leads(s) && !candidates(s).is_empty());

fn somebody_leads(s: &State) -> bool {
    s.nodes.iter().any(|node| node.value.raft.role().as_leader().is_some())
}

fn is_answered(s: &State) -> bool {
    s.history.read.is_some_and(|read| read.answer.is_some())
}

fn leads_with(s: &State, term: u64, also: impl Fn(&Node) -> bool) -> bool {
    let leads = |node: &Node| {
        node.raft.role().as_leader().is_some() && node.raft.current_term() == Term::new(term)
    };
    s.nodes.iter().any(|node| leads(&node.value) && also(&node.value))
}

/// Who campaigned in each term.
fn candidates(s: &State) -> BTreeMap<Term, Vec<NodeId>> {
    let mut candidates = BTreeMap::<Term, Vec<NodeId>>::new();
    for sent in s.sent.iter() {
        if let Message::RequestVote(m) = &sent.value.message {
            let of_term = candidates.entry(m.term).or_default();
            if !of_term.contains(&id_of(sent.value.from)) {
                of_term.push(id_of(sent.value.from));
            }
        }
    }
    candidates
}

/// Election Safety (thesis 3.4): from those who lead now and those who spoke as leaders.
fn one_leader_a_term(s: &State) -> bool {
    let mut leaders = BTreeMap::new();
    let lead_now = (0..NODES).filter(|place| s.node(*place).raft.role().as_leader().is_some());
    let now = lead_now.map(|place| (s.node(place).raft.current_term(), place));
    let spoke = s.sent.iter().filter_map(|sent| match &sent.value.message {
        Message::AppendEntries(AppendEntries { term, .. }) => Some((*term, sent.value.from)),
        _ => None,
    });
    now.chain(spoke).all(|(term, place)| *leaders.entry(term).or_insert(place) == place)
}

/// Log Matching (thesis 3.5), over all logs and all disks.
fn logs_match(s: &State) -> bool {
    let mut logs = vec![];
    for node in &s.nodes {
        logs.push(node.value.terms());
        logs.push(node.value.disk.terms());
    }
    let matching = |a: &[Term], b: &[Term]| {
        let shared = a.iter().zip(b).rposition(|(one, other)| one == other);
        shared.is_none_or(|last| a[..last] == b[..last])
    };
    logs.iter().enumerate().all(|(at, a)| logs[at + 1..].iter().all(|b| matching(a, b)))
}

fn committed_terms(s: &State) -> Vec<Term> {
    s.history.committed.iter().map(|committed| committed.term).collect()
}

/// What clients are promised: it stays so whatever becomes of the rest.
fn committed_is_durable(s: &State) -> bool {
    let committed = committed_terms(s);
    let has_all = |node: &Node| node.disk.terms().starts_with(&committed);
    2 * s.nodes.iter().filter(|node| has_all(&node.value)).count() > NODES
        || committed_one_by_one(s, &committed)
}

/// The same for each entry on its own: different majorities may have different parts.
fn committed_one_by_one(s: &State, committed: &[Term]) -> bool {
    (1..=committed.len()).all(|count| {
        let has = |node: &Node| node.disk.terms().starts_with(&committed[..count]);
        2 * s.nodes.iter().filter(|node| has(&node.value)).count() > NODES
    })
}

/// Leader Completeness (thesis 3.6.3).
fn leaders_are_complete(s: &State) -> bool {
    s.nodes.iter().map(|node| &node.value.raft).all(|raft| {
        let before = |by: Term| raft.role().as_leader().is_none() || by >= raft.current_term();
        let has =
            |(at, term): (usize, Term)| raft.log().term_at(Index::new(at as u64 + 1)) == Some(term);
        let mut committed = s.history.committed.iter().enumerate();
        committed.all(|(at, committed)| before(committed.by) || has((at, committed.term)))
    })
}

/// State Machine Safety (thesis 3.6.3): one committed history, of which each node knows a part.
fn commits_agree(s: &State) -> bool {
    let committed = committed_terms(s);
    s.nodes.iter().all(|node| {
        let known = usize::try_from(node.value.raft.log().commit_index().get()).unwrap();
        known <= committed.len() && node.value.terms()[..known] == committed[..known]
    })
}

/// A read sees what was committed when it was asked for (thesis 6.4), and nothing that is not.
fn reads_are_current(s: &State) -> bool {
    let committed = Index::new(s.history.committed.len() as u64);
    s.history.read.is_none_or(|read| {
        read.answer.is_none_or(|index| index >= read.must_see && index <= committed)
    })
}
