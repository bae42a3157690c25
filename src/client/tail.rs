//! A read that follows, as a stream of records.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::read::{ReadError, Reader, Record, Step};

/// The log's records, one after the other, and those that are appended later ([`Client::tail`]).
///
/// It waits through any time without a leader. An error is one that waiting is of no use against; to
/// poll it again tries again where it was. It ends only if it has a limit. What is not taken is not
/// fetched: beside the batch that it is in, it holds nothing.
///
/// [`Client::tail`]: super::Client::tail
pub struct Tail {
    /// Records that have come and were not taken.
    came: VecDeque<Record>,
    state: State,
}

/// The reader, or the wait for what comes of it.
enum State {
    Idle(Box<Reader>),
    Waiting(Waiting),
    Over,
}

type Came = Result<Option<Step>, ReadError>;
type Waiting = Pin<Box<dyn Future<Output = (Box<Reader>, Came)> + Send>>;

impl Tail {
    pub(super) fn new(reader: Reader) -> Self {
        Self { came: VecDeque::new(), state: State::Idle(Box::new(reader)) }
    }

    /// The next record; `None` at the end, if there is a limit. May be dropped before it is done:
    /// nothing is lost.
    ///
    /// # Errors
    /// [`ReadError`]. Calling it again tries again where it was.
    pub async fn next(&mut self) -> Result<Option<Record>, ReadError> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await.transpose()
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Came> {
        let mut waiting = match std::mem::replace(&mut self.state, State::Over) {
            State::Over => return Poll::Ready(Ok(None)),
            State::Waiting(waiting) => waiting,
            State::Idle(mut reader) => Box::pin(async move {
                let came = reader.step().await;
                (reader, came)
            }),
        };
        let Poll::Ready((reader, came)) = waiting.as_mut().poll(context) else {
            self.state = State::Waiting(waiting);
            return Poll::Pending;
        };
        if !matches!(came, Ok(None)) {
            self.state = State::Idle(reader);
        }
        Poll::Ready(came)
    }
}

impl Stream for Tail {
    type Item = Result<Record, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(record) = self.came.pop_front() {
                return Poll::Ready(Some(Ok(record)));
            }
            match ready!(self.poll_step(context)) {
                Ok(Some(Step::Records(records))) => self.came.extend(records),
                Ok(Some(Step::Waits(_) | Step::GoesOn)) => {}
                Ok(None) => return Poll::Ready(None),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("came", &self.came.len()).finish_non_exhaustive()
    }
}
