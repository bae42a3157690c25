//! Who leads, for those who want to know when it changes.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::sleep;

use super::route::Leading;
use super::shared::Shared;
use super::status::status;
use crate::limits::LEADER_WATCH_EVERY;

/// Looks who leads until nobody wants to know any more.
pub(super) fn watch(shared: Arc<Shared>) -> watch::Receiver<Option<Leading>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        tokio::select! {
            () = look(&shared, &sender) => {}
            () = sender.closed() => {}
        }
    });
    receiver
}

async fn look(shared: &Arc<Shared>, sender: &watch::Sender<Option<Leading>>) {
    loop {
        let found = status(shared).await.leader;
        sender.send_if_modified(|known| {
            let is_news = *known != found;
            *known = found;
            is_news
        });
        sleep(LEADER_WATCH_EVERY).await;
    }
}
