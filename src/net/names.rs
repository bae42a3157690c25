//! Names of hosts: looked up at each dial, all their addresses tried.
//!
//! A look-up is the system's: a thread that waits, and without a name server for many seconds. So at
//! most one of each name is under way in an endpoint, and whoever needs the name meanwhile waits for
//! that one: a server of names that does not answer holds one thread for each name and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use super::endpoint::{BindError, ConnectError, Connection, Endpoint, Expect};
use super::protocol::Protocol;
use super::tls::Credentials;
use crate::address::Address;
use crate::limits::{ADDRESSES_PER_NAME_MAX, CONNECT_TIMEOUT, DIAL_NEXT_AFTER, LOOKUP_TIMEOUT};

/// What a look-up came to: addresses, or what the system said.
type Found = Result<Vec<SocketAddr>, String>;

/// Of a name that is there.
const NO_ADDRESS: &str = "it has no address";

/// The names that an endpoint looks up. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Look-ups under way.
    under_way: BTreeMap<(String, u16), watch::Receiver<Option<Found>>>,
    /// Names that were complained of and have not been found since: said once each.
    lost: BTreeSet<String>,
}

impl Names {
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

fn found(answer: std::io::Result<impl Iterator<Item = SocketAddr>>) -> Found {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in answer.map_err(|error| error.to_string())? {
        if addresses.len() < ADDRESSES_PER_NAME_MAX && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(NO_ADDRESS.to_owned()) } else { Ok(addresses) }
}

/// A socket as [`Endpoint::server`] makes one; of a name, at the first of its addresses that can be
/// had.
///
/// # Errors
/// [`BindError`].
pub async fn listen(
    address: &Address,
    credentials: &Credentials,
    accepts: &[Protocol],
) -> Result<Endpoint, BindError> {
    let unresolved = |reason| BindError::Unresolved { address: address.clone(), reason };
    let addresses = Names::default().addresses(address).await.map_err(unresolved)?;
    let mut last = unresolved(NO_ADDRESS.to_owned());
    for address in addresses {
        match Endpoint::server(address, credentials, accepts) {
            Ok(endpoint) => return Ok(endpoint),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Endpoint {
    /// Dials whoever is behind an address, as [`Self::connect`] does: all addresses that its name has
    /// now, the next one when the one before has failed or is slow. The first that is whom we expect
    /// is kept.
    ///
    /// # Errors
    /// [`ConnectError`]: that of the last address that failed.
    pub async fn reach(
        &self,
        address: &Address,
        expect: &Expect,
        protocol: Protocol,
    ) -> Result<Connection, ConnectError> {
        self.reach_within(CONNECT_TIMEOUT, address, expect, protocol).await
    }

    /// The same, each attempt bounded by `limit`.
    ///
    /// # Errors
    /// As [`Self::reach`].
    pub async fn reach_within(
        &self,
        limit: Duration,
        address: &Address,
        expect: &Expect,
        protocol: Protocol,
    ) -> Result<Connection, ConnectError> {
        if let Address::Ip(address) = address {
            return self.connect_within(limit, *address, expect, protocol).await;
        }
        self.reach_any(limit, std::slice::from_ref(address), expect, protocol).await
    }

    /// The same for somebody who may be at any of some addresses, of which there is at least one.
    ///
    /// # Errors
    /// As [`Self::reach`].
    pub async fn reach_any(
        &self,
        limit: Duration,
        addresses: &[Address],
        expect: &Expect,
        protocol: Protocol,
    ) -> Result<Connection, ConnectError> {
        let addresses = self.all_behind(addresses).await?;
        let mut attempts = JoinSet::new();
        let mut last = ConnectError::Address { address: addresses[0] };
        for address in addresses {
            let (endpoint, expect) = (self.clone(), expect.clone());
            attempts.spawn(async move {
                endpoint.connect_within(limit, address, &expect, protocol).await
            });
            match first_of(&mut attempts, DIAL_NEXT_AFTER).await {
                Some(Ok(connection)) => return Ok(connection),
                Some(Err(error)) => last = error,
                None => {}
            }
        }
        // Each attempt ends by itself.
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = error,
                // The runtime ends.
                Err(_) => break,
            }
        }
        Err(last)
    }

    /// What is behind some addresses, without those whose names are not found; at least one.
    async fn all_behind(&self, addresses: &[Address]) -> Result<Vec<SocketAddr>, ConnectError> {
        let mut found = Vec::new();
        let mut lost = None;
        for address in addresses {
            match self.names().addresses(address).await {
                Ok(addresses) => found.extend(addresses),
                Err(reason) => {
                    lost = Some(ConnectError::Unresolved { address: address.clone(), reason });
                }
            }
        }
        match lost {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(found),
        }
    }
}

/// What the first attempt that ends within a time came to.
async fn first_of(
    attempts: &mut JoinSet<Result<Connection, ConnectError>>,
    patience: Duration,
) -> Option<Result<Connection, ConnectError>> {
    timeout(patience, attempts.join_next()).await.ok().flatten()?.ok()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::super::testing::{Certificates, a_node, soon};
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn an_ip_address_is_itself_and_a_name_is_looked_up() {
        let names = Names::default();
        let ip = "192.0.2.1:7";
        assert_eq!(names.addresses(&address(ip)).await, Ok(vec![ip.parse().unwrap()]));
        let found = soon(names.addresses(&address("localhost:7101"))).await.unwrap();
        assert!(found.contains(&(Ipv4Addr::LOCALHOST, 7101).into()), "{found:?}");
        assert!(names.lock().under_way.is_empty());
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_is_an_error_of_its_own() {
        let client = Certificates::of(1).client("client");
        let nobody = address("nobody.invalid:7101");
        let error = soon(client.reach(&nobody, &a_node(), Protocol::Client)).await.unwrap_err();
        let ConnectError::Unresolved { address, reason } = &error else { panic!("{error}") };
        assert_eq!((address, reason.is_empty()), (&nobody, false));
        assert!(!error.hint().is_empty());
        assert!(client.names().lock().lost.contains("nobody.invalid"));
    }

    #[tokio::test]
    async fn whoever_needs_a_name_waits_for_the_one_look_up_of_it() {
        let names = Names::default();
        let (says, answer) = watch::channel(None);
        names.lock().under_way.insert(("n1.example".to_owned(), 7), answer);
        let needs = |names: Names| async move { names.addresses(&address("n1.example:7")).await };
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

    #[tokio::test]
    async fn all_addresses_of_a_name_are_tried() {
        let certificates = Certificates::of(1);
        let server = certificates.server("n1", &[Protocol::Client]);
        let port = server.local_address().port();
        // On the other addresses of the machine itself nobody answers at that port.
        let silent = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 9), port)).unwrap();
        let name = address(&format!("n1.example:{port}"));
        let client = certificates.client("client");
        let dial = async {
            loop {
                let found = vec![silent.local_addr().unwrap(), server.local_address()];
                let (says, answer) = watch::channel(None);
                says.send_replace(Some(Ok(found)));
                client.names().lock().under_way.insert(("n1.example".to_owned(), port), answer);
                if let Ok(connection) = client.reach(&name, &a_node(), Protocol::Client).await {
                    return connection;
                }
            }
        };
        assert_eq!(soon(dial).await.remote_address(), server.local_address());
    }
}
