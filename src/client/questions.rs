//! The questions of one search, each in a task of its own.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::connections::AskError;
use super::search::{Question, Silence, Word};
use super::shared::Shared;

/// Dropped, it asks no more.
#[derive(Debug)]
pub(super) struct Questions {
    shared: Arc<Shared>,
    tasks: JoinSet<Word>,
}

impl Questions {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, tasks: JoinSet::new() }
    }

    pub(super) fn ask(&mut self, question: Question) {
        self.tasks.spawn(put(self.shared.clone(), question));
    }

    /// What comes of the next one to end. Never, if there is none. May be dropped before it is done:
    /// nothing is lost.
    pub(super) async fn next(&mut self) -> Word {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(word)) => return word,
                // A panic ends the process, and nobody aborts one of these alone.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Nobody wants to hear of them any more.
    pub(super) fn stop(&mut self) {
        self.tasks = JoinSet::new();
    }
}

async fn put(shared: Arc<Shared>, question: Question) -> Word {
    match question {
        Question::Node { node, fresh, limit } => {
            match shared.connections.hello(node, fresh, limit).await {
                Ok((link, welcome)) => {
                    shared.on_word(node, Ok(&welcome));
                    Word::Welcome(link, Box::new(welcome))
                }
                Err(error) => {
                    shared.on_word(node, Err(&error));
                    Word::Silence(node, silence_of(&error))
                }
            }
        }
        Question::Registry { limit } => {
            let announced = shared.connections.announced(limit).await;
            if let Ok(Some(announcement)) = announced {
                shared.count_nodes();
                shared.beliefs().route.on_announcement(&announcement);
            }
            Word::OfRegistry
        }
    }
}

fn silence_of(error: &AskError) -> Silence {
    match error {
        AskError::NoAddress { .. } | AskError::OtherNode { .. } => Silence::Gone,
        error if error.is_crowded() => Silence::Crowded,
        error if error.refusal().is_some() => Silence::Refused,
        _ => Silence::Failed,
    }
}
