//! Every bound of the system in one place, each with its reason.
//!
//! A queue without a bound is a crash that waits for its load. Relations between bounds are
//! asserted at compile time at the end of the file.

use std::time::Duration;

/// Bytes of the largest record. A larger one is refused before it is sent.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Bytes of all records in one append request.
pub const REQUEST_BYTES_MAX: usize = 4 << 20;

/// Records in one append request.
pub const REQUEST_RECORDS_MAX: usize = 4096;

/// Bytes of the payload of one entry: the records of its requests and their list.
///
/// One request always fits with its list, however it is cut into records.
pub const ENTRY_PAYLOAD_BYTES_MAX: usize = REQUEST_BYTES_MAX + (64 << 10);

/// Requests folded into one entry.
pub const ENTRY_REQUESTS_MAX: usize = 8192;

/// Bytes that one group commit may gather before its barrier.
///
/// sled re-uses a freed part of its file only 16 MiB later; a barrier therefore always lies between
/// a copy and the overwrite of what was copied.
pub const GROUP_COMMIT_BYTES_MAX: usize = 4 << 20;

/// Bytes of one value in sled. Above a quarter of sled's segment size a page would go to a blob
/// file, which sled never syncs; this stays well below.
pub const STORE_VALUE_BYTES_MAX: usize = 128 << 10;

/// sled's own segment size, part of the on-disk format.
pub const SLED_SEGMENT_BYTES: usize = 16 << 20;

/// Bytes of entries after which the log takes a new segment, unless configured otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;

/// The smallest segment that can be configured: tests roll often with it.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 10;

/// Writes that wait for the store. The core bounds the entries in them long before that.
pub const STORE_QUEUE_MAX: usize = 1024;

/// Bytes of the recent entries that a node keeps in memory, beyond those not yet committed.
pub const WINDOW_BYTES_MAX: usize = 32 << 20;

/// Bytes of entries that a leader may have appended and not yet committed. Beyond it: Busy.
pub const UNCOMMITTED_BYTES_MAX: usize = 64 << 20;

/// Bytes of append requests that wait to be folded into an entry. Beyond it: Busy.
pub const PROPOSALS_BYTES_MAX: usize = 32 << 20;

/// Entries that a leader has proposed and not yet persisted itself. While there are that many,
/// requests gather into a larger entry instead.
pub const PROPOSALS_IN_FLIGHT_MAX: usize = 4;

/// Entries in one AppendEntries.
pub const APPEND_ENTRIES_COUNT_MAX: usize = 256;

/// Bytes of entries in one AppendEntries, unless its only entry is larger.
pub const APPEND_ENTRIES_BYTES_MAX: usize = 1 << 20;

/// AppendEntries with entries on their way to one follower and not yet answered.
pub const APPEND_ENTRIES_IN_FLIGHT_MAX: usize = 32;

/// Messages that a node holds back while its disk is busy. Beyond it they are lost, as any message
/// may be: with a stuck disk every heartbeat adds an answer.
pub const HELD_MESSAGES_MAX: usize = 4096;

/// Linearizable reads that wait for their round of heartbeats. Beyond it: Busy.
pub const READS_WAITING_MAX: usize = 4096;

/// Clients that the table remembers, those last used in log order.
pub const SESSIONS_MAX: usize = 10_000;

/// Answers remembered for one client; also the client's own window of unanswered requests.
pub const SESSION_ANSWERS_MAX: usize = 4096;

/// Answers remembered for all clients together, so that the table's size has a bound (about
/// 40 MiB) whatever its clients do.
pub const TABLE_ANSWERS_MAX: usize = 1 << 20;

/// Bytes of one frame on the wire, its length field excluded.
pub const FRAME_BYTES_MAX: usize = ENTRY_PAYLOAD_BYTES_MAX + (1 << 20);

/// Bytes of messages that wait for the log stream of one peer. Beyond it they are dropped: Raft
/// sends them again.
pub const PEER_QUEUE_BYTES_MAX: usize = 16 << 20;

/// Messages that wait for the priority stream of one peer.
pub const PEER_PRIORITY_QUEUE_MAX: usize = 256;

/// Bytes received from peers and clients that the node has not handled yet.
pub const INBOUND_BYTES_MAX: usize = 64 << 20;

/// Messages received that the node has not handled yet.
pub const INBOUND_MESSAGES_MAX: usize = 16_384;

/// Inputs handled in one turn of the node's loop before it performs their effects.
pub const TURN_INPUTS_MAX: usize = 4096;

/// Connections that a node serves at once.
pub const CONNECTIONS_MAX: usize = 1024;

/// Streams that a client may have open on one connection.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 64;

/// Bytes of records in one frame of a read or a tail, unless its only record is larger.
pub const READ_FRAME_BYTES_MAX: usize = 256 << 10;

/// Lines from standard input gathered into one request: that many bytes …
pub const GATHER_BYTES_MAX: usize = 256 << 10;

/// … or what came in this time.
pub const GATHER_TIME: Duration = Duration::from_millis(5);

/// Append requests of one client on their way at once.
pub const CLIENT_IN_FLIGHT_MAX: usize = SESSION_ANSWERS_MAX;

/// One attempt to connect. A connect to a dead port hangs otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// A connection between peers that says nothing for this long is gone.
pub const PEER_IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// Peers let hear from themselves this often, whatever Raft does.
pub const PEER_KEEP_ALIVE: Duration = Duration::from_millis(500);

/// Idle timeout of the connections of clients and of the registry.
pub const CLIENT_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Keep-alive of the connections of clients.
pub const CLIENT_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// First and last pause between two attempts to reach a peer.
pub const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// See [`BACKOFF_MIN`].
pub const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// A client without an answer for this long asks all nodes who leads.
pub const CLIENT_HEDGE_AFTER: Duration = Duration::from_millis(150);

/// A node that was asked to stop has done so within this time, or is ended.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a new process waits for its folder's lock: its predecessor may still be ending.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Heartbeat interval for a local network, unless configured otherwise.
pub const HEARTBEAT_DEFAULT: Duration = Duration::from_millis(25);

/// Shortest election timeout for a local network, unless configured otherwise.
pub const ELECTION_TIMEOUT_MIN_DEFAULT: Duration = Duration::from_millis(150);

/// Longest election timeout for a local network, unless configured otherwise.
pub const ELECTION_TIMEOUT_MAX_DEFAULT: Duration = Duration::from_millis(300);

/// Ticks of the core in one heartbeat interval.
pub const TICKS_PER_HEARTBEAT: u32 = 5;

/// A leader whose oldest write has waited this many longest election timeouts steps down: its disk
/// is stuck, and another may do better.
pub const DISK_STALL_ELECTION_TIMEOUTS: u32 = 10;

/// Nodes of one cluster.
pub const NODES_MAX: usize = 15;

const _: () = {
    assert!(RECORD_BYTES_MAX <= REQUEST_BYTES_MAX);
    // A request is one run in one entry: it must fit with the list of its records' lengths.
    assert!(REQUEST_BYTES_MAX + REQUEST_RECORDS_MAX * 4 + 128 <= ENTRY_PAYLOAD_BYTES_MAX);
    // An entry travels in one frame, beside a header.
    assert!(ENTRY_PAYLOAD_BYTES_MAX + (64 << 10) <= FRAME_BYTES_MAX);
    // A frame always fits into an empty queue.
    assert!(FRAME_BYTES_MAX < PEER_QUEUE_BYTES_MAX && FRAME_BYTES_MAX < INBOUND_BYTES_MAX);
    assert!(ENTRY_PAYLOAD_BYTES_MAX < UNCOMMITTED_BYTES_MAX);
    assert!(STORE_VALUE_BYTES_MAX * 4 < SLED_SEGMENT_BYTES);
    assert!(GROUP_COMMIT_BYTES_MAX * 2 < SLED_SEGMENT_BYTES);
    assert!(CLIENT_IN_FLIGHT_MAX <= SESSION_ANSWERS_MAX);
    assert!(APPEND_ENTRIES_COUNT_MAX * 8 < FRAME_BYTES_MAX);
};
