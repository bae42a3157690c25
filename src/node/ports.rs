//! Which ports of this machine a new cluster gets.
//!
//! A cluster keeps the addresses that were written when it was made, so they are tried before: one
//! that cannot start because another listens there would be left behind otherwise.

use std::net::UdpSocket;
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;
use std::{io, iter, thread};

use super::init::{InitError, InitOptions, Layout};
use crate::address::Address;
use crate::limits;

/// From one base port to the next that is tried.
const STEP: u16 = 100;

/// Whether another process listens at an address of this machine. Any other trouble with it is for
/// whoever is going to listen there to tell.
pub fn is_in_use(address: &Address) -> bool {
    let socket = match address {
        Address::Ip(address) => UdpSocket::bind(address),
        Address::Name { host, port } => UdpSocket::bind((host.as_str(), *port)),
    };
    socket.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// The first address of a cluster to be made at which another process of this machine listens. A name that
/// is not found soon is taken for another machine's.
pub fn taken(options: &InitOptions) -> Option<&Address> {
    let addresses = || options.registry.iter().chain(options.nodes.values());
    let (tell, told) = mpsc::channel();
    for address in addresses().cloned() {
        let tell = tell.clone();
        // A look-up may take long; whoever tells too late finds nobody who listens.
        thread::spawn(move || tell.send(is_in_use(&address).then_some(address)));
    }
    drop(tell);
    let deadline = Instant::now() + limits::LOOKUP_TIMEOUT;
    let next = || told.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
    let in_use: Vec<_> = iter::from_fn(next).flatten().collect();
    addresses().find(|address| in_use.contains(address))
}

/// A cluster on this machine at the default ports, or at the next that nobody uses now.
///
/// # Errors
/// As [`InitOptions::local`].
pub fn local_at_free_ports(directory: &Path, nodes: u16) -> Result<InitOptions, InitError> {
    let default = InitOptions::local(directory, nodes, limits::BASE_PORT_DEFAULT)?;
    let others = (limits::BASE_PORT_DEFAULT..).step_by(usize::from(STEP)).skip(1);
    let others = others.map_while(|port| InitOptions::local(directory, nodes, port).ok());
    let free = [default.clone()].into_iter().chain(others).find(|options| taken(options).is_none());
    // With all of them in use, whoever is started says so.
    Ok(free.unwrap_or(default))
}

/// That a new cluster has other ports than usual, in a sentence; nothing if it has the usual ones.
pub fn why_others(options: &InitOptions) -> Option<String> {
    let first = options.registry.as_ref().filter(|_| options.layout == Layout::OneMachine)?.port();
    let count = u16::try_from(options.nodes.len()).unwrap_or(u16::MAX);
    let usual = limits::BASE_PORT_DEFAULT;
    let last = |first: u16| first.saturating_add(count);
    (first != usual).then(|| {
        format!(
            "of the ports {usual} to {} some are in use: the new cluster gets {first} to {}",
            last(usual),
            last(first)
        )
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_port_in_use_is_found_and_avoided() {
        let here = Path::new(".");
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = socket.local_addr().unwrap();
        assert!(is_in_use(&at.into()));
        let options = InitOptions::local(here, 1, at.port() - 1).unwrap();
        assert_eq!(taken(&options).map(Address::port).map(|port| port <= at.port()), Some(true));

        // Whether the usual ones are free is the machine's business; these are.
        let free = local_at_free_ports(here, 3).unwrap();
        assert_eq!(taken(&free), None);
        let first = free.registry.as_ref().unwrap().port();
        assert_eq!(why_others(&free).is_some(), first != limits::BASE_PORT_DEFAULT);
        let moved = why_others(&InitOptions::local(here, 3, 7300).unwrap()).unwrap();
        assert!(moved.ends_with("7100 to 7103 some are in use: the new cluster gets 7300 to 7303"));
    }
}
