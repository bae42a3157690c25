//! Bytes that may be held at once for the other sides of connections, and who gets the next ones.
//!
//! A bound alone is no protection: whoever takes all of it shuts out the others. So each connection
//! and each identity has a share, and of those that wait the one that holds least goes first: who asks
//! for little is served at once, however many ask for more.
//!
//! What is counted need not be bytes: places are one each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How much may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetLimits {
    /// Bytes of all together.
    pub total: usize,
    /// Bytes of all connections of one identity.
    pub per_identity: usize,
    /// Bytes of one connection.
    pub per_connection: usize,
}

/// A bound, shared. Clones are the same bound.
#[derive(Clone, Debug)]
pub struct Budget {
    book: Arc<Mutex<Book>>,
}

/// One connection's part of a [`Budget`]. Clones are the same part.
#[derive(Clone, Debug)]
pub struct Share {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner {
    book: Arc<Mutex<Book>>,
    key: Key,
}

/// Bytes that are held. Dropped, they are given back.
#[derive(Debug)]
pub struct Held {
    owner: Arc<Owner>,
    bytes: usize,
}

/// Whose connection, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    identity: u64,
    share: u64,
}

#[derive(Debug)]
struct Book {
    limits: BudgetLimits,
    free: usize,
    /// Numbers given out so far, to identities and shares.
    numbers: u64,
    names: BTreeMap<String, u64>,
    identities: BTreeMap<u64, Identity>,
}

#[derive(Debug, Default)]
struct Identity {
    name: String,
    held: usize,
    shares: BTreeMap<u64, Entry>,
    /// Those that wait and have room of their own for it: what each holds, and which.
    ready: BTreeSet<(usize, u64)>,
}

#[derive(Debug, Default)]
struct Entry {
    held: usize,
    waiting: VecDeque<Waiting>,
}

/// Somebody who waits for so many bytes, which are taken for it before it is told.
#[derive(Debug)]
struct Waiting {
    bytes: usize,
    grant: oneshot::Sender<()>,
}

impl Budget {
    /// A bound of which nothing is held.
    pub fn new(limits: BudgetLimits) -> Self {
        let (names, identities) = (BTreeMap::new(), BTreeMap::new());
        let book = Book { limits, free: limits.total, numbers: 0, names, identities };
        Self { book: Arc::new(Mutex::new(book)) }
    }

    /// The part of a new connection of this identity.
    pub fn open(&self, identity: &str) -> Share {
        let key = lock(&self.book).open(identity);
        Share { owner: Arc::new(Owner { book: self.book.clone(), key }) }
    }
}

impl Share {
    /// Takes bytes; waits for them if need be. Dropped, it waits no more.
    ///
    /// # Panics
    /// If so many bytes are more than a connection may hold.
    pub async fn take(&self, bytes: usize) -> Held {
        let queued = {
            if let Some(held) = self.try_take(bytes) {
                return held;
            }
            let mut book = lock(&self.owner.book);
            assert!(bytes <= book.limits.per_connection, "{bytes} bytes at once");
            let (grant, granted) = oneshot::channel();
            book.with(self.owner.key, |entry| entry.waiting.push_back(Waiting { bytes, grant }));
            book.serve();
            Queued { owner: &self.owner, bytes, granted, is_over: false }
        };
        queued.granted().await
    }

    /// Takes bytes; waits for others to give them back, but not for room in a share of its own: then
    /// there is nothing.
    pub async fn take_in_share(&self, bytes: usize) -> Option<Held> {
        let has_room = lock(&self.owner.book).is_in_share(self.owner.key, bytes);
        if has_room { Some(self.take(bytes).await) } else { None }
    }

    /// Takes bytes if they can be had at once.
    pub fn try_take(&self, bytes: usize) -> Option<Held> {
        let mut book = lock(&self.owner.book);
        let may_take = book.may_take(self.owner.key, bytes);
        may_take.then(|| {
            book.take(self.owner.key, bytes);
            Held { owner: self.owner.clone(), bytes }
        })
    }

    /// Whether anybody waits for bytes, of this share or another, who would have them sooner if
    /// what this one holds were given back.
    pub fn is_wanted(&self) -> bool {
        lock(&self.owner.book).is_wanted(self.owner.key)
    }
}

/// A place in the queue. Dropped, it is given up, and so is what was just granted.
struct Queued<'a> {
    owner: &'a Arc<Owner>,
    bytes: usize,
    granted: oneshot::Receiver<()>,
    is_over: bool,
}

impl Queued<'_> {
    async fn granted(mut self) -> Held {
        let told = (&mut self.granted).await;
        told.expect("a share keeps those who wait as long as it lives");
        self.is_over = true;
        Held { owner: self.owner.clone(), bytes: self.bytes }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.granted.close();
        let was_granted = self.granted.try_recv().is_ok();
        let mut book = lock(&self.owner.book);
        if was_granted {
            book.give_back(self.owner.key, self.bytes);
        } else {
            book.with(self.owner.key, Entry::drop_those_gone);
        }
        book.serve();
    }
}

impl Held {
    /// Gives back all but so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        if surplus > 0 {
            self.bytes -= surplus;
            self.give_back(surplus);
        }
    }

    /// How many bytes are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn give_back(&self, bytes: usize) {
        let mut book = lock(&self.owner.book);
        book.give_back(self.owner.key, bytes);
        book.serve();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        lock(&self.book).close(self.key);
    }
}

impl Book {
    fn open(&mut self, name: &str) -> Key {
        let identity = self.names.get(name).copied().unwrap_or_else(|| self.number());
        let share = self.number();
        self.names.insert(name.to_owned(), identity);
        let of = self.identities.entry(identity).or_default();
        name.clone_into(&mut of.name);
        of.shares.insert(share, Entry::default());
        Key { identity, share }
    }

    fn close(&mut self, key: Key) {
        let Some(of) = self.identities.get_mut(&key.identity) else { return };
        let closed = of.shares.remove(&key.share);
        assert!(closed.is_none_or(|entry| entry.held == 0), "what is held keeps its share");
        if of.shares.is_empty() {
            let name = std::mem::take(&mut of.name);
            self.names.remove(&name);
            self.identities.remove(&key.identity);
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Whether the bytes are there, and nobody waits who goes first.
    fn may_take(&self, key: Key, bytes: usize) -> bool {
        let of = self.identities.get(&key.identity);
        let entry = of.and_then(|of| of.shares.get(&key.share));
        entry.is_some_and(|entry| entry.waiting.is_empty())
            && bytes <= self.free
            && self.is_in_share(key, bytes)
            && self.next().is_none()
    }

    /// Whether the limits of this connection and its identity have room for so many bytes.
    fn is_in_share(&self, key: Key, bytes: usize) -> bool {
        let Some(of) = self.identities.get(&key.identity) else { return false };
        let Some(entry) = of.shares.get(&key.share) else { return false };
        entry.held + bytes <= self.limits.per_connection
            && of.held + bytes <= self.limits.per_identity
    }

    fn take(&mut self, key: Key, bytes: usize) {
        assert!(bytes <= self.free, "{bytes} of {} free bytes", self.free);
        self.free -= bytes;
        self.with(key, |entry| entry.held += bytes);
        if let Some(of) = self.identities.get_mut(&key.identity) {
            of.held += bytes;
        }
    }

    fn give_back(&mut self, key: Key, bytes: usize) {
        self.free += bytes;
        assert!(self.free <= self.limits.total, "{} bytes are free", self.free);
        self.with(key, |entry| entry.held -= bytes);
        if let Some(of) = self.identities.get_mut(&key.identity) {
            of.held -= bytes;
        }
    }

    /// Changes a share, and keeps its place among those that are ready.
    fn with(&mut self, key: Key, change: impl FnOnce(&mut Entry)) {
        let most = self.limits.per_connection;
        let Some(of) = self.identities.get_mut(&key.identity) else { return };
        let Some(entry) = of.shares.get_mut(&key.share) else { return };
        of.ready.remove(&(entry.held, key.share));
        change(entry);
        if entry.waiting.front().is_some_and(|first| entry.held + first.bytes <= most) {
            of.ready.insert((entry.held, key.share));
        }
    }

    /// Who is served next, and how much: of the identity that holds least, the connection that holds
    /// least.
    fn next(&self) -> Option<(Key, usize)> {
        let most = self.limits.per_identity;
        let first = |(identity, of): (&u64, &Identity)| {
            let (_, share) = of.ready.first()?;
            let bytes = of.shares.get(share)?.waiting.front()?.bytes;
            let key = Key { identity: *identity, share: *share };
            (of.held + bytes <= most).then_some((of.held, key, bytes))
        };
        let next = self.identities.iter().filter_map(first).min_by_key(|(held, ..)| *held);
        next.map(|(_, key, bytes)| (key, bytes))
    }

    /// Gives what is free to those who wait. Who is next is not passed by one who needs less: else
    /// much would never be had.
    fn serve(&mut self) {
        while let Some((key, bytes)) = self.next().filter(|(_, bytes)| *bytes <= self.free) {
            let mut first = None;
            self.with(key, |entry| first = entry.waiting.pop_front());
            self.take(key, bytes);
            if first.is_none_or(|first| first.grant.send(()).is_err()) {
                // It has just gone away.
                self.give_back(key, bytes);
            }
        }
    }

    /// Whether what this share holds would help anybody who waits. Who waits for room in a share
    /// of their own is no reason to hurry others.
    fn is_wanted(&self, key: Key) -> bool {
        let held = self.identities.get(&key.identity).and_then(|of| of.shares.get(&key.share));
        held.is_some_and(|entry| entry.held > 0)
            && self.identities.iter().any(|(identity, of)| {
                let helps = |(share, entry): (&u64, &Entry)| {
                    let waits_for = Key { identity: *identity, share: *share };
                    self.is_helped(key, waits_for, of, entry)
                };
                of.shares.iter().any(helps)
            })
    }

    /// Whether somebody who waits would have more room if `key` held less.
    fn is_helped(&self, key: Key, waits: Key, of: &Identity, entry: &Entry) -> bool {
        let Some(first) = entry.waiting.front() else { return false };
        if entry.held + first.bytes > self.limits.per_connection {
            key == waits
        } else if of.held + first.bytes > self.limits.per_identity {
            key.identity == waits.identity
        } else {
            true
        }
    }
}

impl Entry {
    fn drop_those_gone(&mut self) {
        self.waiting.retain(|waiting| !waiting.grant.is_closed());
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    // Nothing that is done under the lock panics half-way.
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use proptest::prelude::*;
    use tokio_util::task::AbortOnDropHandle;

    use super::super::testing::soon;
    use super::*;

    const LIMITS: BudgetLimits = BudgetLimits { total: 100, per_identity: 80, per_connection: 50 };

    /// Takes in a task of its own, and says what came of it.
    fn ask(share: &Share, bytes: usize) -> AbortOnDropHandle<Held> {
        let share = share.clone();
        AbortOnDropHandle::new(tokio::spawn(async move { share.take(bytes).await }))
    }

    async fn waits(asked: &AbortOnDropHandle<Held>) {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        assert!(!asked.is_finished());
    }

    #[tokio::test]
    async fn each_connection_and_each_identity_has_its_share() {
        let budget = Budget::new(LIMITS);
        let [one, two, three] = ["a", "a", "a"].map(|name| budget.open(name));
        let other = budget.open("b");
        let first = one.take(50).await;
        let more = ask(&one, 1);
        waits(&more).await;
        let second = two.take(30).await;
        let beyond = ask(&three, 1);
        waits(&beyond).await;
        // What is left is another's, and nobody else's.
        let rest = other.take(20).await;
        assert!(one.is_wanted() && two.is_wanted() && !three.is_wanted());
        assert!(!other.is_wanted(), "what it holds would help nobody");
        drop(first);
        drop((soon(more).await.unwrap(), soon(beyond).await.unwrap(), second, rest));
        assert!(!one.is_wanted());
        assert_eq!(one.take(50).await.bytes, 50);
    }

    #[tokio::test]
    async fn who_does_not_wait_gets_what_is_there_and_passes_nobody() {
        let budget = Budget::new(LIMITS);
        let [one, two] = ["a", "b"].map(|name| budget.open(name));
        let held = one.try_take(50).unwrap();
        assert!(one.try_take(1).is_none(), "its share is used up");
        assert!(one.take_in_share(1).await.is_none(), "so it does not wait");
        let rest = two.try_take(50).unwrap();
        let third = ask(&budget.open("c"), 10);
        waits(&third).await;
        drop(held);
        let got = soon(third).await.unwrap();
        drop(rest);
        let rest = soon(two.take_in_share(50)).await.unwrap();
        assert_eq!(one.try_take(40).unwrap().bytes, 40);
        drop((rest, got));
    }

    #[tokio::test]
    async fn only_those_hurry_whose_bytes_would_help_somebody() {
        let budget = Budget::new(LIMITS);
        let [one, two] = ["a", "a"].map(|name| budget.open(name));
        let other = budget.open("b");
        let _held = (one.take(50).await, two.take(10).await, other.take(10).await);
        let own_share = ask(&one, 1);
        waits(&own_share).await;
        assert!(one.is_wanted() && !two.is_wanted() && !other.is_wanted());
        let identity = ask(&two, 30);
        waits(&identity).await;
        assert!(two.is_wanted() && !other.is_wanted());
        drop(identity);
        let all = ask(&budget.open("c"), 50);
        waits(&all).await;
        assert!(one.is_wanted() && two.is_wanted() && other.is_wanted());
    }

    #[tokio::test]
    async fn who_holds_least_goes_first_however_many_wait() {
        let budget = Budget::new(LIMITS);
        let noisy: Vec<Share> = (0..4).map(|_| budget.open("a")).collect();
        let mut held = noisy[0].take(40).await;
        let _others = (noisy[1].take(20).await, noisy[2].take(20).await);
        let crowd: Vec<_> = noisy.iter().take(3).map(|share| ask(share, 10)).collect();
        for asked in &crowd {
            waits(asked).await;
        }
        let quiet = ask(&budget.open("a"), 10);
        waits(&quiet).await;
        held.shrink_to(30);
        let got = soon(quiet).await.unwrap();
        waits(&crowd[0]).await;
        drop(got);
    }

    #[tokio::test]
    async fn who_needs_much_is_not_passed_for_ever_and_may_give_up() {
        let budget = Budget::new(LIMITS);
        let held = (budget.open("a").take(50).await, budget.open("b").take(40).await);
        let (large, small) = (budget.open("c"), budget.open("d"));
        let much = ask(&large, 30);
        waits(&much).await;
        let little = ask(&small, 5);
        waits(&little).await;
        // It goes away: who waited behind it is served.
        drop(much);
        let got = soon(little).await.unwrap();
        drop((held, got));
        assert_eq!(large.take(50).await.bytes, 50);
    }

    #[tokio::test]
    async fn a_grant_that_nobody_takes_is_given_back() {
        let budget = Budget::new(LIMITS);
        let share = budget.open("a");
        let held = share.take(50).await;
        {
            let mut asked = pin!(share.take(10));
            let waker = std::task::Waker::noop();
            let mut context = std::task::Context::from_waker(waker);
            assert!(asked.as_mut().poll(&mut context).is_pending());
            drop(held);
            // Granted, and dropped before it was looked at.
        }
        assert_eq!(lock(&budget.book).free, LIMITS.total);
    }

    proptest! {
        /// Whatever is taken, awaited, given up and given back: nothing is lost, and no share is
        /// exceeded.
        #[test]
        fn the_book_balances(steps in prop::collection::vec((0_usize..6, 1_usize..50, any::<bool>()), 1..60)) {
            let budget = Budget::new(LIMITS);
            let shares: Vec<Share> =
                (0..6).map(|n| budget.open(["a", "b", "c"][n % 3])).collect();
            let mut held: Vec<Held> = vec![];
            for (who, bytes, give) in steps {
                let waker = std::task::Waker::noop();
                let mut context = std::task::Context::from_waker(waker);
                let mut asked = pin!(shares[who].take(bytes));
                if let std::task::Poll::Ready(got) = asked.as_mut().poll(&mut context) {
                    held.push(got);
                }
                if give && !held.is_empty() {
                    held.remove(bytes % held.len());
                }
                let book = lock(&budget.book);
                let all: usize = book.identities.values().map(|of| of.held).sum();
                prop_assert_eq!(all + book.free, LIMITS.total);
                for of in book.identities.values() {
                    prop_assert!(of.held <= LIMITS.per_identity);
                    prop_assert_eq!(of.held, of.shares.values().map(|entry| entry.held).sum::<usize>());
                    prop_assert!(of.shares.values().all(|entry| entry.held <= LIMITS.per_connection));
                }
            }
            held.clear();
            prop_assert_eq!(lock(&budget.book).free, LIMITS.total);
        }
    }
}
