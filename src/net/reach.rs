//! Dialling and listening by name: all addresses behind it are tried.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::Connection;
use super::endpoint::{Endpoint, Expect};
use super::names::{HostNames, NO_ADDRESS};
use super::protocol::Protocol;
use super::tls::Credentials;
use super::trouble::{BindError, ConnectError};
use crate::address::Address;
use crate::limits::{CONNECT_TIMEOUT, DIAL_NEXT_AFTER};

/// A socket as [`Endpoint::server`] makes one; of a name, at the first of its addresses that can be
/// had. `[::]` is all addresses that the system has, be it without IPv6.
///
/// # Errors
/// [`BindError`].
pub async fn listen(
    address: &Address,
    credentials: &Credentials,
    accepts: &[Protocol],
) -> Result<Endpoint, BindError> {
    let unresolved = |reason| BindError::Unresolved { address: address.clone(), reason };
    let mut addresses = HostNames::default().addresses(address).await.map_err(unresolved)?;
    addresses.extend(address.ip().filter(is_any_v6).map(|_| any_v4(address.port())));
    let mut last = unresolved(NO_ADDRESS.to_owned());
    for at in addresses {
        match Endpoint::server(at, credentials, accepts) {
            Ok(endpoint) => return Ok(endpoint),
            // Half of what is asked for is not had instead.
            Err(error) if error.is_occupied() && address.is_wildcard() => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn is_any_v6(ip: &IpAddr) -> bool {
    *ip == Ipv6Addr::UNSPECIFIED
}

fn any_v4(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
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
        assert!(!addresses.is_empty(), "somebody who is nowhere cannot be dialled");
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
    use std::net::UdpSocket;

    use super::super::testing::{Certificates, a_node, soon};
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_is_an_error_of_its_own() {
        let client = Certificates::of(1).client("client");
        let nobody = address("nobody.invalid:7101");
        let error = soon(client.reach(&nobody, &a_node(), Protocol::Client)).await.unwrap_err();
        let ConnectError::Unresolved { address, reason } = &error else { panic!("{error}") };
        assert_eq!((address, reason.is_empty()), (&nobody, false));
        assert!(!error.hint().is_empty());
        assert!(client.names().is_lost("nobody.invalid"));
    }

    #[tokio::test]
    async fn all_that_a_machine_has_is_both_families() {
        let certificates = Certificates::of(1);
        let credentials = certificates.of_holder("n1");
        let protocols = [Protocol::Client];
        let server = listen(&address("[::]:0"), &credentials, &protocols).await.unwrap();
        let port = server.local_address().port();
        let client = certificates.client("client");
        for host in ["127.0.0.1", "[::1]", "localhost"] {
            let there = address(&format!("{host}:{port}"));
            soon(client.reach(&there, &a_node(), Protocol::Client)).await.unwrap();
        }
        let again = listen(&address(&format!("[::]:{port}")), &credentials, &protocols).await;
        assert!(again.unwrap_err().is_occupied());
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
                client.names().put(("n1.example", port), found);
                if let Ok(connection) = client.reach(&name, &a_node(), Protocol::Client).await {
                    return connection;
                }
            }
        };
        assert_eq!(soon(dial).await.remote_address(), server.local_address());
    }
}
