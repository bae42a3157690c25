//! Names of hosts, looked up at each dial.
//!
//! A look-up is the system's: a thread that waits, and without a name server for many seconds. So at
//! most one of each name is under way in an endpoint, and whoever needs the name meanwhile waits for
//! that one: a server of names that does not answer holds one thread for each name and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::address::Address;
use crate::limits::{ADDRESSES_PER_NAME_MAX, LOOKUP_TIMEOUT};

/// What a look-up came to: addresses, or what the system said.
type Found = Result<Vec<SocketAddr>, String>;

/// Of a name that is there.
pub(super) const NO_ADDRESS: &str = "it has no address";

/// The names that an endpoint looks up. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct HostNames {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Look-ups under way.
    under_way: BTreeMap<(String, u16), watch::Receiver<Option<Found>>>,
    /// Names that were complained of and have not been found since: said once each.
    lost: BTreeSet<String>,
}

impl HostNames {
    /// The addresses behind an address: itself, or those that its name has now; at least one, and at
    /// most [`ADDRESSES_PER_NAME_MAX`]. Takes [`LOOKUP_TIMEOUT`] at most.
    ///
    /// # Errors
    /// What the system said of the name.
    pub(super) async fn addresses(&self, address: &Address) -> Found {
        let (host, port) = match address {
            Address::Ip(address) => return Ok(vec![*address]),
            Address::Name { host, port } => (host, *port),
        };
        let mut answer = self.look_up(host, port);
        let late = || format!("no answer within {} ms", LOOKUP_TIMEOUT.as_millis());
        let found = match timeout(LOOKUP_TIMEOUT, answer.wait_for(Option::is_some)).await {
            Ok(Ok(found)) => found.clone().unwrap_or_else(|| Err(late())),
            // The task is gone, and with it the runtime.
            Ok(Err(_)) | Err(_) => Err(late()),
        };
        let is_within = |found: &Vec<_>| (1..=ADDRESSES_PER_NAME_MAX).contains(&found.len());
        assert!(found.as_ref().is_ok_and(is_within) || found.is_err(), "{found:?}");
        self.note(host, found.as_ref().err());
        found
    }

    /// The look-up under way, else a new one.
    fn look_up(&self, host: &str, port: u16) -> watch::Receiver<Option<Found>> {
        let key = (host.to_owned(), port);
        let mut shared = self.lock();
        if let Some(answer) = shared.under_way.get(&key) {
            return answer.clone();
        }
        let (says, answer) = watch::channel(None);
        shared.under_way.insert(key.clone(), answer.clone());
        drop(shared);
        let names = self.clone();
        tokio::spawn(async move {
            let found = found(lookup_host((key.0.as_str(), key.1)).await);
            names.lock().under_way.remove(&key);
            says.send_replace(Some(found));
        });
        answer
    }

    /// Complains of a name that is not found, once; and says when it is found again.
    fn note(&self, host: &str, error: Option<&String>) {
        match error {
            Some(error) if self.lock().lost.insert(host.to_owned()) => {
                warn!("the name {host} is not found and passed over for now: {error}");
            }
            None if self.lock().lost.remove(host) => info!("the name {host} is found again"),
            _ => {}
        }
    }

    /// Held for a few instructions, none of which can panic half-way.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl HostNames {
    /// Whether a name was complained of and has not been found since.
    pub(super) fn is_lost(&self, name: &str) -> bool {
        self.lock().lost.contains(name)
    }

    /// The next to need a name is told this, as if somebody had looked it up just now.
    pub(super) fn put(&self, (host, port): (&str, u16), addresses: Vec<SocketAddr>) {
        let (_, answer) = watch::channel(Some(Ok(addresses)));
        self.lock().under_way.insert((host.to_owned(), port), answer);
    }
}

fn found(answer: std::io::Result<impl Iterator<Item = SocketAddr>>) -> Found {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in answer.map_err(|error| error.to_string())? {
        if addresses.len() < ADDRESSES_PER_NAME_MAX && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(NO_ADDRESS.to_owned()) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::testing::soon;
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn an_ip_address_is_itself_and_a_name_is_looked_up() {
        let names = HostNames::default();
        let ip = "192.0.2.1:7";
        assert_eq!(names.addresses(&address(ip)).await, Ok(vec![ip.parse().unwrap()]));
        let found = soon(names.addresses(&address("localhost:7101"))).await.unwrap();
        assert!(found.contains(&(Ipv4Addr::LOCALHOST, 7101).into()), "{found:?}");
        assert!(names.lock().under_way.is_empty());
    }

    #[tokio::test]
    async fn whoever_needs_a_name_waits_for_the_one_look_up_of_it() {
        let names = HostNames::default();
        let (says, answer) = watch::channel(None);
        names.lock().under_way.insert(("n1.example".to_owned(), 7), answer);
        let needs =
            |names: HostNames| async move { names.addresses(&address("n1.example:7")).await };
        let both = [needs(names.clone()), needs(names.clone())].map(tokio::spawn);
        while names.lock().under_way.values().map(watch::Receiver::has_changed).count() != 1 {
            tokio::task::yield_now().await;
        }
        let found: SocketAddr = "192.0.2.1:7".parse().unwrap();
        says.send_replace(Some(Ok(vec![found])));
        for needed in both {
            assert_eq!(soon(needed).await.unwrap(), Ok(vec![found]));
        }
    }
}
