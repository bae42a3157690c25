//! A body that is made piece by piece, each when the one before it was taken: a slow reader costs one piece.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame};

type Made<S> = Pin<Box<dyn Future<Output = Option<(Bytes, S)>> + Send>>;

/// See the module.
pub(super) struct Drawn<S, F> {
    make: F,
    /// The piece that is being made. Only whoever polls has it; the lock makes it shareable.
    making: Mutex<Option<Made<S>>>,
}

impl<S, F: Fn(S) -> Made<S>> Drawn<S, F> {
    /// Of pieces that are made out of each other's rest.
    pub(super) fn new(first: S, make: F) -> Self {
        let making = Mutex::new(Some(make(first)));
        Self { make, making }
    }
}

impl<S, F: Fn(S) -> Made<S> + Unpin> Body for Drawn<S, F> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let making = this.making.get_mut().map_err(|_| io::Error::other("a piece was not made"));
        let making = match making {
            Ok(making) => making,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        let Some(piece) = making else { return Poll::Ready(None) };
        let Some((bytes, rest)) = ready!(piece.as_mut().poll(context)) else {
            *making = None;
            return Poll::Ready(None);
        };
        *making = Some((this.make)(rest));
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
