//! Who leads, as the prompt shows it, and the look-out for changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::client::{Client, Leading, Status};
use crate::limits::SHELL_LOOK_EVERY;

/// What is known. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Leadership {
    seen: Arc<Mutex<Seen>>,
    /// Whether a prompt is on the screen.
    is_shown: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// The leader of the highest term so far.
    last: Option<Leading>,
    /// Whether it leads still.
    leads: bool,
    /// How often somebody said something of it.
    heard: u64,
}

impl Leadership {
    /// Somebody was found to lead, or nobody.
    pub(super) fn note(&self, found: Option<Leading>) {
        let mut seen = self.seen();
        *seen = seen.after(found);
    }

    /// How much has been heard so far.
    fn heard(&self) -> u64 {
        self.seen().heard
    }

    /// The same, for an answer that was asked for when so much had been heard: what was heard since is
    /// newer. Returns whether the answer is news.
    fn changes(&self, found: Option<Leading>, heard: u64) -> bool {
        let mut seen = self.seen();
        if seen.heard != heard {
            return false;
        }
        let before = *seen;
        *seen = before.after(found);
        (seen.last, seen.leads) != (before.last, before.leads)
    }

    /// A prompt is on the screen from now on, or no more.
    pub(super) fn show(&self, is_shown: bool) {
        self.is_shown.store(is_shown, Ordering::SeqCst);
    }

    /// The prompt.
    pub(super) fn prompt(&self) -> String {
        self.seen().prompt()
    }

    /// The prompt of now in the place of one that was so wide: the editor reckons with that width.
    pub(super) fn prompt_of_width(&self, width: usize) -> String {
        self.seen().prompt_of_width(width)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nothing panics while it is held")
    }
}

impl Seen {
    /// What is known after this. What comes late of an earlier term is no news.
    fn after(self, found: Option<Leading>) -> Self {
        let heard = self.heard + 1;
        match found {
            Some(leading) if self.last.is_some_and(|last| last.term > leading.term) => self,
            Some(leading) => Self { last: Some(leading), leads: true, heard },
            None => Self { leads: false, heard, ..self },
        }
    }

    fn prompt(self) -> String {
        match self.last.filter(|_| self.leads) {
            Some(Leading { term, node }) => format!("annal {node}@{term}> "),
            None => "annal no leader> ".to_owned(),
        }
    }

    fn prompt_of_width(self, width: usize) -> String {
        let short = match self.last.filter(|_| self.leads) {
            Some(Leading { term, node }) => format!("{node}@{term}> "),
            None => "-> ".to_owned(),
        };
        let fits = |text: &String| text.len() <= width;
        let text = Some(self.prompt()).filter(fits).or(Some(short).filter(fits));
        format!("{:>width$}", text.unwrap_or_default())
    }
}

/// Asks who leads, again and again, and tells of each change for which a prompt is on the screen.
/// `say` may wait for the terminal.
pub(super) async fn watch(
    client: Client,
    leadership: Leadership,
    mut say: impl FnMut(String) + Send + 'static,
) {
    loop {
        sleep(SHELL_LOOK_EVERY).await;
        let heard = leadership.heard();
        let status = client.status().await;
        if !leadership.changes(status.leader, heard) || !leadership.is_shown.load(Ordering::SeqCst)
        {
            continue;
        }
        let sentence = sentence(&status);
        let said = spawn_blocking(move || {
            say(sentence);
            say
        });
        match said.await {
            Ok(back) => say = back,
            // The process is about to end.
            Err(_) => return,
        }
    }
}

fn sentence(status: &Status) -> String {
    match (status.leader, &status.unavailable) {
        (Some(Leading { term, node }), _) => format!("{node} leads term {term}"),
        (None, Some(reason)) => reason.to_string(),
        (None, None) => "no leader".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Term;

    fn leading(node: &str, term: u64) -> Leading {
        Leading { term: Term::new(term), node: node.parse().unwrap() }
    }

    #[test]
    fn the_prompt_follows_the_terms_and_never_goes_back() {
        let leadership = Leadership::default();
        assert_eq!(leadership.prompt(), "annal no leader> ");
        assert!(leadership.changes(Some(leading("n1", 3)), 0));
        assert_eq!(leadership.prompt(), "annal n1@3> ");
        assert!(!leadership.changes(Some(leading("n1", 3)), leadership.heard()));
        // Answers that were on their way while the leader crashed.
        let heard = leadership.heard();
        leadership.note(Some(leading("n2", 4)));
        assert!(!leadership.changes(None, heard));
        leadership.note(Some(leading("n1", 3)));
        assert_eq!(leadership.prompt(), "annal n2@4> ");
        assert!(leadership.changes(None, leadership.heard()));
        assert_eq!(leadership.prompt(), "annal no leader> ");
        assert!(leadership.changes(Some(leading("n2", 4)), leadership.heard()), "it leads again");
    }

    #[test]
    fn a_prompt_that_changes_on_the_screen_keeps_its_width() {
        let leadership = Leadership::default();
        leadership.note(Some(leading("n1", 9)));
        let width = leadership.prompt().len();
        for (found, shown) in [
            (Some(leading("n1", 9)), "annal n1@9> "),
            (Some(leading("n2", 10)), "     n2@10> "),
            (None, "         -> "),
            (Some(leading("n15", 1_000_000_000)), "            "),
        ] {
            leadership.note(found);
            assert_eq!(leadership.prompt_of_width(width), shown);
        }
        assert_eq!(leadership.prompt_of_width(30).len(), 30);
    }
}
