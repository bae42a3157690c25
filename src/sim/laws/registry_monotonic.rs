//! Invariant: the registry's `Leader_TermX` never goes back to an older term, and names the node that
//! led the term.
//!
//! The registry is a hint: a wrong one costs a redirection. But it is also the witness of who led
//! when, and a witness that changes its story is none.
//!
//! Judged by each answer of the registry, and by what it knows at each of its starts, against the
//! last one and against who was seen to lead. Its disk loses, tears and fails meanwhile.

use super::{ElectionSafety, Law, LawName, Moment, What};
use crate::types::{NodeId, Term};
use crate::wire::registry::Announcement;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct RegistryMonotonic {
    leaders: ElectionSafety,
    newest: Option<(Term, NodeId)>,
}

impl RegistryMonotonic {
    fn on_answer(&mut self, leader: Option<&Announcement>) -> Result<(), String> {
        let before = self.newest;
        let Some(leader) = leader else {
            return before.map_or(Ok(()), |(term, _)| {
                Err(format!("the registry knew Leader_Term{term}, and knows of none"))
            });
        };
        let (name, term, node) = (leader.name(), leader.term, leader.node);
        if let Some((newest, of)) = before {
            if term < newest {
                return Err(format!("the registry knew Leader_Term{newest}, and says {name}"));
            }
            if term == newest && node != of {
                return Err(format!("the registry says that {name} is {node}, and said {of}"));
            }
        }
        self.newest = Some((term, node));
        match self.leaders.leader_of(term) {
            Some(led) if led == node => Ok(()),
            Some(led) => Err(format!("the registry says that {name} is {node}, and it was {led}")),
            None => {
                Err(format!("the registry says that {name} is {node}, and nobody led term {term}"))
            }
        }
    }
}

impl Law for RegistryMonotonic {
    fn name(&self) -> LawName {
        LawName::RegistryMonotonic
    }

    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        // That a term has one leader is another law's to say.
        let _ = self.leaders.look(moment);
        match moment.what {
            What::Announced { leader } => self.on_answer(leader),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::{LogId, Timestamp};

    /// n1 led term 2, n2 term 3.
    fn law() -> RegistryMonotonic {
        let (stage, mut law) = (Stage::new(), RegistryMonotonic::default());
        for (number, term) in [(1, 2), (2, 3)] {
            stage.sends(&mut law, number, &[(node(3), heartbeat(term, LogId::ZERO))]).unwrap();
        }
        law
    }

    fn answers(law: &mut RegistryMonotonic, number: u16, term: u64) -> Result<(), String> {
        let (node, term, time) = (node(number), Term::new(term), Timestamp::new(1));
        let answer = Announcement { term, node, address: String::new(), time };
        Stage::new().show(law, What::Announced { leader: Some(&answer) })
    }

    #[test]
    fn an_older_term_is_found() {
        let mut law = law();
        Stage::new().show(&mut law, What::Announced { leader: None }).unwrap();
        answers(&mut law, 1, 2).unwrap();
        answers(&mut law, 2, 3).unwrap();
        answers(&mut law, 2, 3).unwrap();
        let older = answers(&mut law.clone(), 1, 2);
        assert_broken(older, "the registry knew Leader_Term3, and says Leader_Term2");
        let none = Stage::new().show(&mut law, What::Announced { leader: None });
        assert_broken(none, "the registry knew Leader_Term3, and knows of none");
    }

    #[test]
    fn a_node_that_did_not_lead_the_term_is_found() {
        let other = answers(&mut law(), 1, 3);
        assert_broken(other, "says that Leader_Term3 is n1, and it was n2");
        let nobody = answers(&mut law(), 1, 4);
        assert_broken(nobody, "says that Leader_Term4 is n1, and nobody led term 4");
        let mut law = law();
        answers(&mut law, 1, 2).unwrap();
        let changed = answers(&mut law, 2, 2);
        assert_broken(changed, "says that Leader_Term2 is n2, and said n1");
    }
}
