//! What has changed from one look at a cluster to the next, a sentence each.

use crate::client::{NodeStatus, Status, Welcome};

/// What is to be told of `after`, which was seen after `before`, if that was seen at all.
pub(super) fn between(before: Option<&Status>, after: &Status) -> Vec<String> {
    let mut news = vec![];
    let led = before.and_then(|before| before.leader);
    match after.leader {
        Some(leading) if led != Some(leading) => {
            news.push(format!("{} leads term {}", leading.node, leading.term));
        }
        None if led.is_some() || before.is_none() => news.push("nobody leads".to_owned()),
        _ => {}
    }
    let Some(before) = before else { return news };
    for node in &after.nodes {
        let known = before.nodes.iter().find(|known| known.node == node.node);
        news.extend(known.and_then(|known| of_node(known, node)));
    }
    let answers = |status: &Status| status.registry.as_ref().map(|registry| registry.said.is_ok());
    match (answers(before), answers(after)) {
        (Some(true), Some(false)) => news.push("the registry does not answer".to_owned()),
        (Some(false), Some(true)) => news.push("the registry answers again".to_owned()),
        _ => {}
    }
    news
}

/// What has become of a node: of several things the one that explains the others.
fn of_node(before: &NodeStatus, after: &NodeStatus) -> Option<String> {
    let node = after.node;
    match (&before.said, &after.said) {
        (Ok(_), Err(_)) => Some(format!("{node} does not answer")),
        (Err(_), Ok(_)) => Some(format!("{node} answers again")),
        (Ok(before), Ok(after)) => of_process(before, after).map(|what| format!("{node} {what}")),
        (Err(_), Err(_)) => None,
    }
}

fn of_process(before: &Welcome, after: &Welcome) -> Option<&'static str> {
    if before.incarnation != after.incarnation {
        return Some("has started anew");
    }
    match (before.disk_full, after.disk_full) {
        (None, Some(_)) => Some("has a full disk"),
        (Some(_), None) => Some("has room on its disk again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::testing::{status, unreachable};
    use super::*;

    #[test]
    fn what_stays_the_same_is_no_news() {
        let first = status(Some(1), 3, 10);
        assert_eq!(between(None, &first), ["n1 leads term 3"]);
        assert_eq!(between(Some(&first), &status(Some(1), 3, 20)), [""; 0]);
        assert_eq!(between(None, &status(None, 3, 10)), ["nobody leads"]);
    }

    #[test]
    fn who_leads_who_is_silent_and_who_comes_back_is() {
        let first = status(Some(1), 3, 10);
        let crashed = unreachable(status(None, 3, 10), 1);
        assert_eq!(between(Some(&first), &crashed), ["nobody leads", "n1 does not answer"]);
        let elected = unreachable(status(Some(2), 4, 10), 1);
        assert_eq!(between(Some(&crashed), &elected), ["n2 leads term 4"]);
        let back = status(Some(2), 4, 10);
        assert_eq!(between(Some(&elected), &back), ["n1 answers again"]);
        let mut anew = back.clone();
        anew.nodes[0].said.as_mut().unwrap().incarnation = crate::types::Incarnation::new(99);
        assert_eq!(between(Some(&back), &anew), ["n1 has started anew"]);
    }
}
