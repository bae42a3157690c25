//! What somebody is to be allowed, as it is typed and shown: for tokens and for certificates.

use serde::Serialize;

use super::args::Allowed;
use super::failure::Failure;
use crate::access::{Grant, Grants, LogPattern, Right, Rights};
use crate::limits;
use crate::outcome::Outcome;

/// What was said that is to be allowed.
pub(super) fn of(logs: Vec<LogPattern>, allow: &[Allowed]) -> Result<Grants, Failure> {
    let right = |allowed: &Allowed| match allowed {
        Allowed::Read => Some(Right::Read),
        Allowed::Append => Some(Right::Append),
        Allowed::Manage => Some(Right::Manage),
        Allowed::Observe => None,
    };
    let observe = allow.contains(&Allowed::Observe);
    let usage = |sentence, hint| Failure::new(Outcome::Usage, sentence, hint);
    match (Rights::of(allow.iter().filter_map(right)), logs.as_slice()) {
        (None, []) => Ok(Grants { logs: vec![], observe }),
        (None, _) => {
            let sentence = "nothing is allowed with these logs";
            Err(usage(sentence.to_owned(), "--allow read, append, manage, or several with commas"))
        }
        (Some(rights), []) => {
            let sentence = format!("it is not said which logs --allow {rights} is for");
            Err(usage(sentence, "as --log 'orders/*', or --log '*' for all"))
        }
        (Some(_), many) if many.len() > limits::GRANTS_MAX => {
            let sentence = format!("there are {} patterns at most", limits::GRANTS_MAX);
            Err(usage(sentence, "one pattern means many logs, as 'orders/*'"))
        }
        (Some(rights), _) => {
            let grant = |logs| Grant { logs, rights };
            Ok(Grants { logs: logs.into_iter().map(grant).collect(), observe })
        }
    }
}

/// What is allowed with some logs.
#[derive(Serialize)]
pub(super) struct GrantRow {
    /// Which.
    pub(super) log: String,
    /// What.
    pub(super) allow: String,
}

/// What is allowed with logs.
pub(super) fn rows(grants: &Grants) -> Vec<GrantRow> {
    let row =
        |grant: &Grant| GrantRow { log: grant.logs.to_string(), allow: grant.rights.to_string() };
    grants.logs.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(logs: &[&str], allow: &[Allowed]) -> Result<Grants, Failure> {
        of(logs.iter().map(|text| text.parse().unwrap()).collect(), allow)
    }

    #[test]
    fn what_is_allowed_is_said_whole() {
        use Allowed::{Append, Observe, Read};
        let grants = said(&["a/*", "b"], &[Read, Append, Observe]).unwrap();
        assert!(grants.observe && grants.logs.len() == 2);
        assert!(grants.allow(Right::Append, &"b".parse().unwrap()));
        assert_eq!(said(&[], &[Observe]).unwrap(), Grants { logs: vec![], observe: true });
        for (logs, allow) in [(&["a"][..], &[Observe][..]), (&[], &[Read]), (&["a"; 17], &[Read])] {
            assert_eq!(said(logs, allow).unwrap_err().outcome, Outcome::Usage, "{logs:?}");
        }
    }
}
