//! A UDP relay for tests: a network between two sockets of this machine that is slow, deaf, or
//! forgets, as those between two machines may be.
//!
//! It gives each sender a port of its own towards the target, as a router with address translation
//! does. It has threads and no runtime, since it serves the tests of the library (which take this
//! file in by its path) and those of real processes alike.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// No datagram of ours is larger, and the kernel joins none for this socket.
const DATAGRAM_BYTES_MAX: usize = 2048;
/// How long a thread sleeps before it looks whether the relay is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A relay to one address. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    /// Where senders reach the target.
    front: UdpSocket,
    /// Milliseconds that each datagram takes, in each direction.
    delay: AtomicU64,
    is_silent: AtomicBool,
    /// What goes to the target is lost, and what comes from it.
    loses_to_target: AtomicBool,
    loses_to_sender: AtomicBool,
    is_over: AtomicBool,
    /// The socket towards the target of each sender.
    backs: Mutex<BTreeMap<SocketAddr, Arc<UdpSocket>>>,
    /// Who else is still heard, once it is closed to others.
    guests: Mutex<Option<BTreeSet<SocketAddr>>>,
    /// Senders that are not heard any more.
    shut_out: Mutex<BTreeSet<SocketAddr>>,
}

impl Relay {
    /// A relay to `target` that holds each datagram for `delay`: a round trip takes twice as long.
    pub(crate) fn new(target: SocketAddr, delay: Duration) -> Self {
        let front = socket();
        let address = front.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target,
            front,
            delay: AtomicU64::new(millis(delay)),
            is_silent: AtomicBool::new(false),
            loses_to_target: AtomicBool::new(false),
            loses_to_sender: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            backs: Mutex::default(),
            guests: Mutex::default(),
            shut_out: Mutex::default(),
        });
        let (relayed, line) = (shared.clone(), Shared::line(&shared));
        thread::spawn(move || {
            relayed.pass(&relayed.front, |shared, from, datagram| {
                let guests = shared.guests.lock().unwrap().clone();
                let is_closed = guests.is_some_and(|guests| !guests.contains(&from));
                let is_lost = shared.loses_to_target.load(Ordering::Relaxed);
                if is_lost || is_closed || shared.shut_out.lock().unwrap().contains(&from) {
                    return;
                }
                let back = Shared::back(&shared, from);
                let _ = line.send((shared.due(), back, shared.target, datagram));
            });
        });
        Self { address, shared }
    }

    /// Where to send what is meant for the target.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What comes from now on takes this long in each direction.
    #[allow(dead_code, reason = "not every test that takes this file in needs it")]
    pub(crate) fn set_delay(&self, delay: Duration) {
        self.shared.delay.store(millis(delay), Ordering::Relaxed);
    }

    /// Loses everything, or ceases to: nobody is told.
    #[allow(dead_code, reason = "not every test that takes this file in needs it")]
    pub(crate) fn set_silent(&self, is_silent: bool) {
        self.shared.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// Loses what goes to the target, or ceases to: what comes from it is heard.
    #[allow(dead_code, reason = "not every test that takes this file in needs it")]
    pub(crate) fn lose_to_target(&self, is_lost: bool) {
        self.shared.loses_to_target.store(is_lost, Ordering::Relaxed);
    }

    /// Loses what comes from the target, or ceases to: what goes there is heard.
    #[allow(dead_code, reason = "not every test that takes this file in needs it")]
    pub(crate) fn lose_to_sender(&self, is_lost: bool) {
        self.shared.loses_to_sender.store(is_lost, Ordering::Relaxed);
    }

    /// Forgets who talked to whom, as a firewall does: what a sender sends next reaches the target
    /// from another port, and what the target sends to the former one is lost.
    #[allow(dead_code, reason = "not every test that takes this file in needs it")]
    pub(crate) fn forget(&self) {
        self.shared.backs.lock().unwrap().clear();
    }
}

impl Relay {
    /// Hears only these from now on.
    #[allow(dead_code, reason = "not every test that takes this file in needs it")]
    pub(crate) fn admit_only(&self, guests: impl IntoIterator<Item = SocketAddr>) {
        *self.shared.guests.lock().unwrap() = Some(guests.into_iter().collect());
    }

    /// Loses all that those send, and are sent, who have sent anything so far: for ever, and nobody
    /// is told. Others pass, be they the same process at another port.
    #[allow(dead_code, reason = "not every test that takes this file in needs it")]
    pub(crate) fn shut_out(&self) {
        let mut backs = self.shared.backs.lock().unwrap();
        self.shared.shut_out.lock().unwrap().extend(backs.keys());
        backs.clear();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

/// When to send what from where to whom.
type Waiting = (Instant, Arc<UdpSocket>, SocketAddr, Vec<u8>);

impl Shared {
    fn due(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.delay.load(Ordering::Relaxed))
    }

    /// The thread that holds datagrams back until they are due.
    fn line(shared: &Arc<Self>) -> mpsc::Sender<Waiting> {
        let (sender, waiting) = mpsc::channel::<Waiting>();
        let shared = shared.clone();
        thread::spawn(move || {
            for (due, from, to, datagram) in waiting {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if !shared.is_silent.load(Ordering::Relaxed) {
                    // A datagram may be lost: nobody has to be there.
                    let _ = from.send_to(&datagram, to);
                }
            }
        });
        sender
    }

    /// Hands on what comes to a socket, until the relay is over.
    fn pass(
        self: &Arc<Self>,
        socket: &UdpSocket,
        mut on: impl FnMut(Arc<Self>, SocketAddr, Vec<u8>),
    ) {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        while !self.is_over.load(Ordering::Relaxed) {
            match socket.recv_from(&mut buffer) {
                Ok((length, from)) => on(self.clone(), from, buffer[..length].to_vec()),
                Err(error) if is_pause(&error) => {}
                // Nobody listened where something was sent: UDP says so at the next call.
                Err(_) => thread::yield_now(),
            }
        }
    }

    /// The socket towards the target of a sender.
    fn back(shared: &Arc<Self>, sender: SocketAddr) -> Arc<UdpSocket> {
        let mut backs = shared.backs.lock().unwrap();
        backs.entry(sender).or_insert_with(|| Self::new_back(shared, sender)).clone()
    }

    fn new_back(shared: &Arc<Self>, sender: SocketAddr) -> Arc<UdpSocket> {
        let back = Arc::new(socket());
        let front = Arc::new(shared.front.try_clone().unwrap());
        let (shared, line, answers) = (shared.clone(), Self::line(shared), back.clone());
        thread::spawn(move || {
            shared.pass(&answers, |shared, _, datagram| {
                // What comes to a port that was forgotten goes nowhere.
                let current = shared.backs.lock().unwrap().get(&sender).cloned();
                let is_lost = shared.loses_to_sender.load(Ordering::Relaxed);
                if !is_lost && current.is_some_and(|current| Arc::ptr_eq(&current, &answers)) {
                    let _ = line.send((shared.due(), front.clone(), sender, datagram));
                }
            });
        });
        back
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(LOOK_EVERY)).unwrap();
    socket
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn millis(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis()).unwrap()
}

#[test]
fn datagrams_go_both_ways_and_a_relay_forgets() {
    let (target, sender) = (socket(), socket());
    for end in [&target, &sender] {
        end.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    }
    let delay = Duration::from_millis(20);
    let relay = Relay::new(target.local_addr().unwrap(), delay);
    let mut buffer = [0; 8];
    let mut pass = |text: &[u8]| {
        let begun = Instant::now();
        sender.send_to(text, relay.address()).unwrap();
        let (length, from) = target.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], text);
        target.send_to(b"back", from).unwrap();
        let (length, _) = sender.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"back");
        assert!(begun.elapsed() >= 2 * delay);
        from
    };
    let first = pass(b"one");
    assert_eq!(pass(b"two"), first);
    relay.forget();
    assert_ne!(pass(b"three"), first);
}
