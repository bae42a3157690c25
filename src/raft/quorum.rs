//! Majority arithmetic, in one place.

use crate::types::Index;

/// Whether `count` of `total` voters are a majority. Nobody is no majority.
pub fn is_majority(count: usize, total: usize) -> bool {
    assert!(count <= total, "{count} of {total}");
    count > total / 2
}

/// The highest index that a majority has reached, given how far each voter has come.
pub fn majority_index(mut reached: Vec<Index>) -> Index {
    assert!(!reached.is_empty(), "a majority of nobody has reached nothing");
    reached.sort_unstable();
    // The voter with as many behind it as a minority has: it and all ahead of it are a majority.
    let slowest_of_majority = (reached.len() - 1) / 2;
    reached[slowest_of_majority]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn majorities_of_one_to_seven() {
        let needed = [1, 2, 2, 3, 3, 4, 4];
        for (total, needed) in (1..=7).zip(needed) {
            assert!(is_majority(needed, total));
            assert!(!is_majority(needed - 1, total));
        }
    }

    #[test]
    fn a_majority_index_is_reached_by_a_majority_and_the_next_is_not() {
        for case in [vec![5], vec![3, 9], vec![1, 2, 3], vec![4, 4, 1, 9], vec![1, 9, 9, 0, 2]] {
            let reached: Vec<Index> = case.iter().map(|n| Index::new(*n)).collect();
            let found = majority_index(reached.clone());
            let at_least = |i: Index| reached.iter().filter(|r| **r >= i).count();
            assert!(is_majority(at_least(found), reached.len()), "{case:?}: {found}");
            assert!(!is_majority(at_least(found.next()), reached.len()), "{case:?}: {found}");
        }
    }
}
