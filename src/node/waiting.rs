//! A node that lost what it promised, and waits until the others can do without what is left of it
//! (`replica/anew.rs`).
//!
//! It changes nothing in its folder, takes no part in anything, and has no connection to speak Raft on. It
//! asks the others again and again, says who is in the way when that changes, and answers whoever
//! asks how it is: people with `annal status`, and others that wait as it does.

use std::path::Path;
use std::sync::Arc;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::driver;
use super::process::RunError;
use super::pulse::Pulse;
use super::soundness;
use crate::config::NodeConfig;
use crate::limits;
use crate::net::{
    self, CertificateRole, Close, Connection, Credentials, Endpoint, Protocol, Stream,
};
use crate::replica::Poll;
use crate::store;
use crate::types::{Incarnation, Index, Offset, Term};
use crate::wire::api::{Request, Role, Vitals, Welcome};
use crate::wire::soundness::Soundness;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Waited {
    /// The others can do without what this node had.
    MayBegin,
    /// It was asked to stop.
    Stopped,
}

/// Waits until the others can do without what this node had, or until `stop` is cancelled.
///
/// # Errors
/// The folder or the address cannot be had.
pub async fn until_others_are_sound(
    data: &Path,
    config: &NodeConfig,
    credentials: &Credentials,
    stop: CancellationToken,
) -> Result<Waited, RunError> {
    let _lock = store::lock(data)?;
    let protocols = [Protocol::Client, Protocol::Onward];
    let endpoint = net::listen(&config.listen, credentials, &protocols).await?;
    let me = Waiting {
        config: config.clone(),
        incarnation: Incarnation::new(driver::random()),
        pulse: Pulse::new(),
    };
    let answering = tokio::spawn(accept(endpoint.clone(), Arc::new(me)));
    let asking = stop.run_until_cancelled(ask_again_and_again(&endpoint, config));
    let waited = asking.await.map_or(Waited::Stopped, |()| Waited::MayBegin);
    answering.abort();
    endpoint.close();
    endpoint.closed(limits::CONNECT_TIMEOUT).await;
    Ok(waited)
}

async fn ask_again_and_again(endpoint: &Endpoint, config: &NodeConfig) {
    let mut told = None;
    loop {
        let poll = soundness::ask(endpoint, config).await;
        if poll.can_do_without() {
            return;
        }
        if told.as_ref() != Some(&poll) {
            tell(config, &poll);
            told = Some(poll);
        }
        sleep(limits::SOUNDNESS_INTERVAL).await;
    }
}

fn tell(config: &NodeConfig, poll: &Poll) {
    let (node, every) = (config.node, limits::SOUNDNESS_INTERVAL.as_secs());
    tracing::warn!(
        %node,
        "keeps what it has and waits: {poll}. Start those that do not answer, or stop one that is damaged, put \
         its folder back as it was just before, and start it; this node asks again every {every} s"
    );
}

/// What those are told who ask.
struct Waiting {
    config: NodeConfig,
    incarnation: Incarnation,
    pulse: Pulse,
}

async fn accept(endpoint: Endpoint, me: Arc<Waiting>) {
    while let Some(connection) = endpoint.accept().await {
        tokio::spawn(serve(Arc::clone(&me), connection));
    }
}

async fn serve(me: Arc<Waiting>, connection: Connection) {
    let role = connection.identity().role;
    let may_ask = match connection.protocol() {
        Protocol::Client => role != CertificateRole::Registry,
        Protocol::Onward => role == CertificateRole::Node,
        Protocol::Peer | Protocol::Registry => false,
    };
    if !may_ask {
        return connection.close(Close::NotAllowed);
    }
    let may_observe = connection.certificate().grants.as_ref().is_none_or(|grants| grants.observe);
    while let Some(stream) = connection.accept().await {
        tokio::spawn(answer(Arc::clone(&me), stream, connection.protocol(), may_observe));
    }
}

async fn answer(me: Arc<Waiting>, mut stream: Stream, protocol: Protocol, may_observe: bool) {
    stream.receiver.set_bytes_max(limits::FIRST_FRAME_BYTES_MAX);
    let Ok(frame) = stream.receiver.answer(limits::FIRST_FRAME_TIMEOUT).await else { return };
    match (protocol, Request::from_frame(&frame)) {
        (Protocol::Client, Ok(Request::Hello)) => {
            let welcome = me.welcome(may_observe).to_frame();
            let sending = stream.sender.send(&welcome);
            // Who takes no answer asks again.
            let _ = tokio::time::timeout(limits::FIRST_FRAME_TIMEOUT, sending).await;
        }
        (Protocol::Onward, Ok(Request::Soundness)) => {
            soundness::send(stream, &Soundness::damaged()).await;
        }
        _ => stream.sender.abandon(),
    }
}

impl Waiting {
    fn welcome(&self, may_observe: bool) -> Welcome {
        let members = self.config.members().into_iter();
        Welcome {
            cluster: self.config.cluster,
            node: self.config.node,
            incarnation: self.incarnation,
            role: Role::Damaged,
            term: Term::ZERO,
            leader: None,
            ready: false,
            last_index: Index::ZERO,
            commit_index: Index::ZERO,
            next_offset: Offset::ZERO,
            disk_full: None,
            log_ahead_ms: 0,
            nodes: members.map(|(node, address)| (node, address.to_string())).collect(),
            vitals: if may_observe { self.pulse.vitals(|_| true) } else { Vitals::default() },
        }
    }
}
