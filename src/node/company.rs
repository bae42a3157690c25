//! Tells how many nodes are connected, when that has changed and stays so.
//!
//! Each connection by itself is a matter of debugging: there is one for each pair of nodes, and a
//! cluster that starts or stops has all of them come and go at once.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::limits::COMPANY_STEADY;
use crate::types::NodeId;

/// See the module.
#[derive(Debug)]
pub(super) struct Company {
    /// Who is missing, as it was last seen, and since when.
    missing: BTreeSet<NodeId>,
    since: Option<Instant>,
    /// The same as it was last told; `None`: nothing was told yet.
    told: Option<BTreeSet<NodeId>>,
}

impl Company {
    pub(super) fn new() -> Self {
        Self { missing: BTreeSet::new(), since: None, told: None }
    }

    /// What is to be told now, if anything: there are so many nodes, and these are missing.
    pub(super) fn look(
        &mut self,
        now: Instant,
        count: usize,
        missing: BTreeSet<NodeId>,
    ) -> Option<String> {
        if missing != self.missing {
            self.missing = missing;
            self.since = Some(now);
        }
        let is_steady = self.since.is_none_or(|since| now - since >= COMPANY_STEADY);
        let is_steady = is_steady || self.missing.is_empty();
        if !is_steady || !self.is_news(count) {
            return None;
        }
        self.told = Some(self.missing.clone());
        Some(sentence(count, &self.missing))
    }

    /// A node that starts without a majority has said that it waits for one.
    fn is_news(&self, count: usize) -> bool {
        match &self.told {
            Some(told) => *told != self.missing,
            None => count > 1 && self.missing.len() * 2 < count,
        }
    }
}

fn sentence(count: usize, missing: &BTreeSet<NodeId>) -> String {
    let connected = count - missing.len();
    let names: Vec<_> = missing.iter().map(ToString::to_string).collect();
    match names.as_slice() {
        [] => format!("{connected} of {count} connected"),
        names => format!("{connected} of {count} connected, without {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(numbers: &[u16]) -> BTreeSet<NodeId> {
        numbers.iter().map(|number| NodeId::new(*number).unwrap()).collect()
    }

    #[test]
    fn what_stays_so_is_told_once() {
        let mut company = Company::new();
        let mut now = Instant::now();
        let mut look = |missing: &[u16]| company.look(now, 3, nodes(missing));
        assert_eq!(look(&[2, 3]), None);
        now += COMPANY_STEADY;
        let mut look = |missing: &[u16]| company.look(now, 3, nodes(missing));
        assert_eq!(look(&[2, 3]), None, "it waits for a majority, and says so elsewhere");
        assert_eq!(look(&[]), Some("3 of 3 connected".to_owned()));
        assert_eq!(look(&[]), None);
        assert_eq!(look(&[2]), None, "that may pass");
        assert_eq!(look(&[]), None);
        assert_eq!(look(&[2]), None);
        now += COMPANY_STEADY;
        let mut look = |missing: &[u16]| company.look(now, 3, nodes(missing));
        assert_eq!(look(&[2]), Some("2 of 3 connected, without n2".to_owned()));
        assert_eq!(look(&[2]), None);
        assert_eq!(look(&[]), Some("3 of 3 connected".to_owned()));
    }

    #[test]
    fn a_node_that_is_alone_by_design_has_no_company_to_speak_of() {
        assert_eq!(Company::new().look(Instant::now(), 1, nodes(&[])), None);
    }
}
