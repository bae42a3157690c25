//! Who is connected to a server, and who else may come in.
//!
//! One certificate must not shut out the others, nor one machine; and an admin gets in however
//! crowded it is. So connections have shares by identity and by address, admins and nodes a reserve;
//! and where one more would be too many, a connection on which nothing is asked makes room.
//!
//! Nobody is off the list who has left: QUIC keeps a connection for a while after its end, so that the
//! other side hears of it. Until then it counts for whoever had it, or one who comes and goes a
//! thousand times a second would take the places of all.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::budget::{Budget, BudgetLimits, Share};
use super::identity::{CertificateIdentity, CertificateRole};
use super::problem::Close;
use super::protocol::Protocol;
use crate::limits::{
    ACK_DELAY_MAX, ARRIVING_BYTES_MAX, ARRIVING_BYTES_PER_CONNECTION, ARRIVING_BYTES_PER_IDENTITY,
    CONNECTION_IDLE_GRACE, CONNECTIONS_LEAVING_MAX, CONNECTIONS_MAX, CONNECTIONS_OF_PEER_MAX,
    CONNECTIONS_PER_ADDRESS_MAX, CONNECTIONS_PER_IDENTITY_MAX, CONNECTIONS_RESERVED,
    INITIAL_ROUND_TRIP, WIDE_CONNECTIONS_MAX, WIDE_CONNECTIONS_PER_IDENTITY_MAX,
};

/// Everybody who is connected to a server. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Guests {
    hall: Arc<Mutex<Hall>>,
    /// Bytes of frames that have not arrived as a whole.
    arriving: Budget,
}

/// One connection's place. Dropped, it is free again as soon as QUIC has forgotten the connection.
#[derive(Debug)]
pub(super) struct Guest {
    place: Place,
    connection: Option<quinn::Connection>,
    /// What it may have under way; a peer's frames are not counted here.
    arriving: Option<Share>,
    /// How wide its windows may be.
    pub(super) width: Width,
    leave: CancellationToken,
}

/// How much a connection may deliver ahead of its reader, and leave unread of what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// What two nodes need between them.
    Peer,
    /// What a client needs that appends and reads much.
    Wide,
    /// As wide as all connections may be at once.
    Narrow,
}

/// A stream that a guest has open. Dropped, the guest may be idle.
#[derive(Debug)]
pub(super) struct Stay {
    place: Place,
}

#[derive(Clone, Debug)]
struct Place {
    hall: Arc<Mutex<Hall>>,
    number: u64,
}

#[derive(Debug)]
struct Hall {
    now: Instant,
    /// Connections taken in so far.
    numbers: u64,
    guests: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    identity: String,
    address: IpAddr,
    protocol: Protocol,
    is_wide: bool,
    streams: usize,
    /// Since when it has had no stream.
    idle_since: Instant,
    /// It was asked to leave, or has left.
    is_leaving: bool,
    /// Once it has left: when QUIC has forgotten it.
    forgotten_at: Option<Instant>,
    leave: CancellationToken,
}

impl Guests {
    pub(super) fn new() -> Self {
        let arriving = Budget::new(BudgetLimits {
            total: ARRIVING_BYTES_MAX,
            per_identity: ARRIVING_BYTES_PER_IDENTITY,
            per_connection: ARRIVING_BYTES_PER_CONNECTION,
        });
        let hall = Hall { now: Instant::now(), numbers: 0, guests: BTreeMap::new() };
        Self { hall: Arc::new(Mutex::new(hall)), arriving }
    }

    /// A place for a connection of this identity from this address, or why there is none.
    pub(super) fn admit(
        &self,
        identity: &CertificateIdentity,
        address: IpAddr,
        protocol: Protocol,
    ) -> Result<Guest, Close> {
        self.admit_at(Instant::now(), identity, address, protocol)
    }

    fn admit_at(
        &self,
        now: Instant,
        identity: &CertificateIdentity,
        address: IpAddr,
        protocol: Protocol,
    ) -> Result<Guest, Close> {
        let name = identity.to_string();
        let is_reserved = identity.role != CertificateRole::Client;
        let mut hall = lock(&self.hall);
        hall.now = now;
        hall.guests.retain(|_, entry| entry.forgotten_at.is_none_or(|at| at > now));
        let width = if protocol == Protocol::Peer {
            hall.make_room_for_peer(&name)?;
            Width::Peer
        } else {
            hall.make_room(&name, address, is_reserved)?;
            hall.width(&name, is_reserved)
        };
        let arriving = (protocol != Protocol::Peer).then(|| self.arriving.open(&name));
        let leave = CancellationToken::new();
        hall.numbers += 1;
        let number = hall.numbers;
        let entry = Entry {
            identity: name,
            address,
            protocol,
            is_wide: width == Width::Wide,
            streams: 0,
            idle_since: now,
            is_leaving: false,
            forgotten_at: None,
            leave: leave.clone(),
        };
        hall.guests.insert(number, entry);
        let place = Place { hall: self.hall.clone(), number };
        Ok(Guest { place, connection: None, arriving, width, leave })
    }
}

/// How long QUIC keeps a connection that has ended: three times the time after which it would say
/// something again (RFC 9000, 10.2). That is a round trip, four times what these differ by, which is
/// less than one, and how long an acknowledgement may take.
pub(super) fn lingering(round_trip: Duration) -> Duration {
    3 * (5 * round_trip + ACK_DELAY_MAX)
}

impl Guest {
    /// Notes its connection, which says how far away it is.
    pub(super) fn of(mut self, connection: &quinn::Connection) -> Self {
        self.connection = Some(connection.clone());
        self
    }

    /// Resolves when somebody else needs the place more.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.cancelled().await;
    }

    /// Notes a stream that it has opened.
    pub(super) fn stay(&self) -> Stay {
        self.place.change(|entry| entry.streams += 1);
        Stay { place: self.place.clone() }
    }

    /// What it may have under way, if that is counted.
    pub(super) fn arriving(&self) -> Option<&Share> {
        self.arriving.as_ref()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let round_trip = self.connection.as_ref().map(quinn::Connection::rtt);
        let lingering = lingering(round_trip.unwrap_or(INITIAL_ROUND_TRIP));
        self.place.change(|entry| {
            entry.is_leaving = true;
            entry.forgotten_at = Some(Instant::now() + lingering);
        });
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.place.change(|entry| {
            entry.streams -= 1;
            entry.idle_since = Instant::now();
        });
    }
}

impl Place {
    fn change(&self, change: impl FnOnce(&mut Entry)) {
        // A stream may outlive its connection, and the time for which that is kept.
        if let Some(entry) = lock(&self.hall).guests.get_mut(&self.number) {
            change(entry);
        }
    }
}

impl Hall {
    /// A peer's processes dial one at a time; the rest is a mistake or an attack.
    fn make_room_for_peer(&self, name: &str) -> Result<(), Close> {
        let is_like = |entry: &Entry| entry.protocol == Protocol::Peer && entry.identity == name;
        let is_full = self.count(is_like) >= CONNECTIONS_OF_PEER_MAX;
        if is_full { Err(Close::Share) } else { Ok(()) }
    }

    fn make_room(&mut self, name: &str, address: IpAddr, is_reserved: bool) -> Result<(), Close> {
        let is_own = |entry: &Entry| entry.is_guest() && entry.identity == name;
        self.keep_below(CONNECTIONS_PER_IDENTITY_MAX, is_own, Close::Share)?;
        if is_reserved {
            return self.keep_below(CONNECTIONS_MAX + CONNECTIONS_RESERVED, is_own, Close::Busy);
        }
        let is_near = |entry: &Entry| entry.is_guest() && entry.address == address;
        self.keep_below(CONNECTIONS_PER_ADDRESS_MAX, is_near, Close::Share)?;
        self.keep_below(CONNECTIONS_MAX, Entry::is_guest, Close::Busy)
    }

    /// Makes sure that fewer than `most` of these are connected, if need be at the cost of the one
    /// that has asked nothing for the longest time. Those that leave may be some more.
    fn keep_below(
        &mut self,
        most: usize,
        is_one: impl Fn(&Entry) -> bool,
        refusal: Close,
    ) -> Result<(), Close> {
        if self.count(&is_one) >= most + CONNECTIONS_LEAVING_MAX {
            return Err(refusal);
        }
        if self.count(|entry| is_one(entry) && !entry.is_leaving) < most {
            return Ok(());
        }
        let now = self.now;
        let is_idle = |entry: &Entry| {
            entry.streams == 0
                && !entry.is_leaving
                && now.duration_since(entry.idle_since) >= CONNECTION_IDLE_GRACE
        };
        let idle = self.guests.values_mut().filter(|entry| is_one(entry) && is_idle(entry));
        let idlest = idle.min_by_key(|entry| entry.idle_since).ok_or(refusal)?;
        idlest.is_leaving = true;
        idlest.leave.cancel();
        Ok(())
    }

    fn width(&self, name: &str, is_reserved: bool) -> Width {
        let is_own = |entry: &Entry| entry.is_wide && entry.identity == name;
        let has_room = self.count(|entry| entry.is_wide) < WIDE_CONNECTIONS_MAX
            && self.count(is_own) < WIDE_CONNECTIONS_PER_IDENTITY_MAX;
        if has_room || is_reserved { Width::Wide } else { Width::Narrow }
    }

    fn count(&self, is_one: impl Fn(&Entry) -> bool) -> usize {
        self.guests.values().filter(|entry| is_one(entry)).count()
    }
}

impl Entry {
    fn is_guest(&self) -> bool {
        self.protocol != Protocol::Peer
    }
}

fn lock(hall: &Mutex<Hall>) -> MutexGuard<'_, Hall> {
    // Nothing that is done under the lock panics half-way.
    hall.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ClusterId;

    fn holder(role: CertificateRole, name: &str) -> CertificateIdentity {
        CertificateIdentity { cluster: ClusterId::new(1), role, name: name.to_owned() }
    }

    fn client(name: &str) -> CertificateIdentity {
        holder(CertificateRole::Client, name)
    }

    fn at(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn admit(guests: &Guests, who: &CertificateIdentity, address: IpAddr) -> Result<Guest, Close> {
        guests.admit(who, address, Protocol::Client)
    }

    /// So many connections, each with a stream open.
    fn busy(guests: &Guests, who: &CertificateIdentity, count: usize) -> Vec<(Guest, Stay)> {
        let address = |n: usize| at(u8::try_from(n % 200).unwrap());
        let enter = |n| admit(guests, who, address(n)).unwrap();
        (0..count).map(enter).map(|guest| (guest.stay(), guest)).map(|(s, g)| (g, s)).collect()
    }

    #[tokio::test]
    async fn one_identity_has_its_share_and_an_admin_gets_in() {
        let guests = Guests::new();
        let own = busy(&guests, &client("a"), CONNECTIONS_PER_IDENTITY_MAX);
        assert_eq!(admit(&guests, &client("a"), at(1)).unwrap_err(), Close::Share);
        let rest = CONNECTIONS_MAX - CONNECTIONS_PER_IDENTITY_MAX;
        let others = busy(&guests, &client("b"), rest);
        assert_eq!(admit(&guests, &client("b"), at(1)).unwrap_err(), Close::Busy);
        let admin = holder(CertificateRole::Admin, "admin");
        let admin = admit(&guests, &admin, at(1)).unwrap();
        assert_eq!(admin.width, Width::Wide, "whoever has to help is not held up");
        drop(own);
        assert!(admit(&guests, &client("b"), at(1)).is_ok());
        drop(others);
    }

    #[tokio::test]
    async fn one_address_has_its_share() {
        let guests = Guests::new();
        let of = |n: usize| admit(&guests, &client(["a", "b"][n % 2]), at(1)).unwrap();
        let stay: Vec<_> = (0..CONNECTIONS_PER_ADDRESS_MAX).map(of).collect();
        let _streams: Vec<_> = stay.iter().map(Guest::stay).collect();
        assert_eq!(admit(&guests, &client("c"), at(1)).unwrap_err(), Close::Share);
        assert!(admit(&guests, &client("c"), at(2)).is_ok());
    }

    #[tokio::test]
    async fn who_asks_nothing_makes_room_the_longest_idle_first() {
        let guests = Guests::new();
        let begun = Instant::now();
        let admit_at = |now| guests.admit_at(now, &client("a"), at(1), Protocol::Client);
        let idle: Vec<Guest> =
            (0..CONNECTIONS_PER_IDENTITY_MAX).map(|_| admit_at(begun).unwrap()).collect();
        // All have only just come.
        assert_eq!(admit_at(begun).unwrap_err(), Close::Share);
        let later = begun + CONNECTION_IDLE_GRACE;
        // The first has a stream, the second had one until now.
        let stay = idle[0].stay();
        drop(idle[1].stay());
        let newcomer = admit_at(later).unwrap();
        idle[2].asked_to_leave().await;
        assert!(!idle[0].leave.is_cancelled() && !idle[1].leave.is_cancelled());
        drop((stay, newcomer, idle));
        assert!(lock(&guests.hall).guests.values().all(|entry| entry.is_leaving));
        let much_later = Instant::now() + lingering(INITIAL_ROUND_TRIP);
        let only = guests.admit_at(much_later, &client("a"), at(1), Protocol::Client).unwrap();
        assert_eq!(lock(&guests.hall).guests.len(), 1);
        drop(only);
    }

    #[tokio::test]
    async fn who_comes_and_goes_counts_until_it_is_forgotten() {
        let guests = Guests::new();
        let now = Instant::now();
        let admit_at = |now, who| guests.admit_at(now, &client(who), at(1), Protocol::Client);
        let last = CONNECTIONS_PER_IDENTITY_MAX + CONNECTIONS_LEAVING_MAX;
        // The clock stands still meanwhile.
        (0..last).for_each(|_| drop(admit_at(now, "a").unwrap()));
        assert_eq!(admit_at(now, "a").unwrap_err(), Close::Share);
        let elsewhere = guests.admit_at(now, &client("b"), at(2), Protocol::Client);
        assert!(elsewhere.is_ok(), "others have places");
        let later = Instant::now() + lingering(INITIAL_ROUND_TRIP);
        assert!(admit_at(later, "a").is_ok());
    }

    #[tokio::test]
    async fn a_peer_that_comes_and_goes_has_no_more_places_than_one_that_stays() {
        let guests = Guests::new();
        let (now, peer) = (Instant::now(), holder(CertificateRole::Node, "n2"));
        let enter = || guests.admit_at(now, &peer, at(1), Protocol::Peer);
        (0..CONNECTIONS_OF_PEER_MAX).for_each(|_| drop(enter().unwrap()));
        assert_eq!(enter().unwrap_err(), Close::Share);
    }

    #[tokio::test]
    async fn peers_have_places_of_their_own() {
        let guests = Guests::new();
        let peer = holder(CertificateRole::Node, "n2");
        let enter = |who| guests.admit(who, at(1), Protocol::Peer);
        let _all: Vec<_> = (0..CONNECTIONS_OF_PEER_MAX).map(|_| enter(&peer).unwrap()).collect();
        assert_eq!(enter(&peer).unwrap_err(), Close::Share);
        assert_eq!(enter(&holder(CertificateRole::Node, "n3")).unwrap().width, Width::Peer);
    }

    #[tokio::test]
    async fn wide_windows_are_few() {
        let guests = Guests::new();
        let own = busy(&guests, &client("a"), WIDE_CONNECTIONS_PER_IDENTITY_MAX + 1);
        let widths: Vec<Width> = own.iter().map(|(guest, _)| guest.width).collect();
        assert_eq!(widths.iter().filter(|width| **width == Width::Narrow).count(), 1);
        assert_eq!(admit(&guests, &client("b"), at(1)).unwrap().width, Width::Wide);
    }
}
