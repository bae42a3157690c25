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

/// Producers that a log remembers. Each is in the head of every segment, with some 150 bytes. Beyond it
/// new names are refused, and none is forgotten by itself.
pub const PRODUCERS_MAX: usize = 1000;

/// Logs of a cluster. All of them are in the head of every segment, with some 60 bytes each. Beyond it
/// new ones are refused.
pub const LOGS_MAX: usize = 100_000;

/// Forks of one log: so many may keep a log's records, and its name, after it is deleted. Beyond it new ones
/// are refused.
pub const FORKS_MAX: usize = 10_000;

/// Logs above each other of which each is a fork of the next: a read goes through all of them, and so does
/// what a deletion sets free.
pub const FORK_DEPTH_MAX: usize = 16;

/// Bytes of a log's name.
pub const LOG_NAME_BYTES_MAX: usize = 255;

/// Bytes of the type of a log's records: those that there are have some twenty, and a parameter.
pub const CONTENT_TYPE_BYTES_MAX: usize = 128;

/// Logs in one answer to who asks which there are: with the longest names and types, all of them forks, less than
/// three quarters of a MiB.
pub const LOGS_PAGE: usize = 1000;

/// Bytes of a command in an entry: its kind, and the words and numbers in it.
pub const COMMAND_BYTES_MAX: usize = LOG_NAME_BYTES_MAX + CONTENT_TYPE_BYTES_MAX + 132;

/// Logs of which it is looked in one tick whether they have expired: so many an entry says to have. Others
/// have their turn in the next.
pub const EXPIRY_LOOKS_MAX: usize = 1000;

/// How often a log that expires at a time of day is looked at, at least: clocks are set.
pub const EXPIRY_LOOK: Duration = Duration::from_secs(1);

/// The highest number that a producer may count to: programs that know no whole numbers but those of
/// JavaScript know it exactly.
pub const TURN_MAX: u64 = (1 << 53) - 1;

/// Runs of requests folded into one entry.
pub const ENTRY_RUNS_MAX: usize = 8192;

/// Bytes of records after which a client begins another run. One request may be larger, and is a run
/// then. More in one frame keeps the first from being on its way: with 16 requests of 128 records in
/// flight 256 KiB gave a seventh less.
pub const RUN_BYTES_MAX: usize = 64 << 10;

/// Bytes of a block of the journal. A group takes whole ones, and no block that was written is written
/// again as long as it is needed: so a write that is torn harms no older one. Disks write so much at
/// once, or an eighth of it.
pub const JOURNAL_BLOCK_BYTES: usize = 4 << 10;

/// Bytes of a file of the journal, unless a group needs a larger one. They are used again and again;
/// a node has at least one that is written to and one that is ready.
pub const JOURNAL_FILE_BYTES_DEFAULT: u64 = 16 << 20;

/// Bytes of a journal's first file at most: larger ones are made when a node runs.
pub const JOURNAL_FIRST_FILE_BYTES: u64 = 1 << 20;

/// Bytes of entries that one group commit may gather: in so many a disk can be kept busy, and nobody waits
/// long for those of others.
pub const GROUP_COMMIT_BYTES_MAX: usize = 4 << 20;

/// Bytes of one value in sled. Above a quarter of sled's segment size a page would go to a blob
/// file, which sled never syncs; this stays well below.
pub const STORE_VALUE_BYTES_MAX: usize = 8 << 10;

/// sled's own segment size, part of the on-disk format. sled writes as many bytes at a time: a MiB is
/// still in the processor's caches when it is copied to the page cache, and the last of them, which is
/// hardly begun, wastes little.
pub const SLED_SEGMENT_BYTES: usize = 1 << 20;

/// sled's own segment size in the databases that hold a few small values: the store's `meta` and
/// the registry's map. Part of the on-disk format.
pub const SLED_SEGMENT_BYTES_SMALL: usize = 512 << 10;

/// Bytes of a key of a `DiskMap` and its value: a page of them stays below a quarter of sled's
/// segment, as in the log's store.
pub const DISK_MAP_VALUE_BYTES_MAX: usize = 4 << 10;

/// Bytes of pairs that go into a `DiskMap` behind one barrier.
pub const DISK_MAP_BATCH_BYTES_MAX: usize = 64 << 10;

/// Bytes of pages that sled is told to keep in memory for one segment. It begins to let go of pages only
/// after thousands of reads: see [`SEALED_READ_BYTES_MAX`].
pub const SLED_CACHE_BYTES: u64 = 2 << 20;

/// How long to wait for a sled database that this process has just closed: sled's threads hold its
/// file for some milliseconds more.
pub const SLED_REOPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// From an offset to its entry, as long as that is in the journal: a log gets a key at least every so
/// many bytes of entries …
pub const OFFSET_KEY_BYTES: u64 = 64 << 10;

/// … and every so many entries, so that a look-up scans no more than that.
pub const OFFSET_KEY_ENTRIES: u64 = 64;

/// Bytes of entries that are read at once when a record is looked for in them.
pub const LOCATE_BYTES: usize = 128 << 10;

/// Files of the journal that are kept although nobody needs them: the next ones. A segment of the
/// default size gives so many back at once; fewer would be made anew and filled with zeros, over and over.
pub const JOURNAL_SPARES_MAX: usize = 5;

/// Bytes of entries that are copied from the journal into a segment before whoever does it rests.
pub const SETTLE_BYTES: usize = 1 << 20;

/// How nice the thread is that settles: with 5 it gets a third of what one gets that answers clients, where
/// both want the processor.
pub const UPKEEP_NICENESS: i32 = 5;

/// How often a segment is made whose entries, read back, are not those that were written.
pub const SETTLE_ATTEMPTS_MAX: usize = 2;

/// Full segments, all of whose entries are committed, that may stand in the journal alone. The writer
/// waits while there are more: a start reads the whole journal.
pub const UNSEALED_SEGMENTS_MAX: usize = 3;

/// At least so many bytes an entry counts as towards the size of a segment. In the journal the
/// smallest may take a block for itself: so the journal of a segment is at most four times as long.
pub const ENTRY_WEIGHT_BYTES_MIN: u64 = 1 << 10;

/// Bytes of a node's reserve (`store::reserve`) besides two copies of `meta`: a file of the journal
/// that is begun, and marks.
pub const RESERVE_BESIDE_COPY_BYTES: u64 = 16 * JOURNAL_BLOCK_BYTES as u64;

/// Bytes that a node keeps free on its disk, besides twice the size of a segment: below them no
/// records are taken, below half of them no entries but the first of each term. What a follower has accepted by then (messages
/// of 1 MiB, 32 on their way, and what sled writes besides) fits into a quarter; sealing, which
/// copies a segment of about its size and a half, into the segments.
pub const DISK_RESERVE_BYTES: u64 = 128 << 20;

/// How often a node writes down what it remembers of its peers; and after so long without a write the
/// last group of the journal is confirmed by one behind it.
pub const UPKEEP_INTERVAL: Duration = Duration::from_millis(500);

/// Segments that are given up at once: each waits for a disk twice, and sealing and a stop wait for all of
/// them. What is left comes at the next upkeep: 2 GiB a second of segments of the usual size.
pub const SEGMENTS_RELEASED_AT_ONCE: usize = 16;

/// Bytes that are free where `meta` is told of a file of the journal that was begun: sled takes two of
/// its segments there at most.
pub const NOTE_ROOM_BYTES: u64 = 2 * SLED_SEGMENT_BYTES_SMALL as u64;

/// Sealed segments that are kept open at once: readers of the distant past are few, and each costs a
/// file and its pages.
pub const SEALED_OPEN_MAX: usize = 4;

/// Bytes that are read of a sealed segment before it is opened anew. sled keeps in memory what it has read
/// of so small a database, whatever size of cache it is given; opening takes some 5 ms.
pub const SEALED_READ_BYTES_MAX: u64 = 4 << 20;

/// Reads of clients that are at the disk at once; the others wait for their turn. More would be no faster,
/// and each may have a sealed segment of its own open.
pub const LOADS_AT_ONCE_MAX: usize = 3;

/// In this time each sealed segment is read once, unless configured otherwise.
pub const SCRUB_DEFAULT: Duration = Duration::from_hours(7 * 24);

/// The longest time that can be configured for that.
pub const SCRUB_MAX: Duration = Duration::from_hours(365 * 24);

/// The scrub rests so many times as long as it reads, after each MiB: some MiB a second, and a segment of the usual
/// size in some ten seconds. So a week is enough for terabytes; more than that takes longer.
pub const SCRUB_REST: u32 = 63;

/// It rests no longer than this at once: a disk that is slow for a moment must not stop it, and a stop waits for it.
pub const SCRUB_REST_MAX: Duration = Duration::from_millis(250);

/// Damaged stretches of its log that a node tells.
pub const DAMAGED_TOLD_MAX: usize = 64;

/// Bytes that are free on a disk on which a segment is mended: sled takes some more than its entries, a
/// few of its own segments ahead.
pub const MEND_ROOM_BYTES: u64 = 4 * SLED_SEGMENT_BYTES as u64 + DISK_RESERVE_BYTES;

/// So often a node looks whether a segment is damaged, and asks others for it.
pub const MEND_INTERVAL: Duration = Duration::from_secs(1);

/// After rounds that came to nothing it waits twice as long each time, and so long at most.
pub const MEND_INTERVAL_MAX: Duration = Duration::from_mins(1);

/// So long a node waits for the next part of a segment that another sends it.
pub const MEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Nodes that one node sends segments to at once.
pub const MENDS_AT_ONCE_MAX: usize = 2;

/// Bytes of entries, or of a head, that a node sends at once for a backup, unless one entry is larger.
pub const BACKUP_FRAME_BYTES: usize = 1 << 20;

/// Backups that a node serves at once: each reads all of its disk.
pub const BACKUPS_AT_ONCE_MAX: usize = 1;

/// After each piece of a backup a node rests as long as it took, and no longer than this.
pub const BACKUP_REST_MAX: Duration = Duration::from_secs(1);

/// Bytes of a head that comes from outside, of a backup or of a leader: nodes have heads in memory, too.
pub const HEAD_BYTES_MAX: usize = 1 << 30;

/// Bytes of a head that a leader sends a follower at once, when it lacks what was given up.
pub const HEAD_PIECE_BYTES_MAX: u64 = 1 << 20;

/// A follower that has not got further for so many longest election timeouts is not waited for when space is
/// given back: with the timeouts of a local network 10 s. Longer, and the disks of all others fill for one that
/// is away; shorter, and who is only slow begins at a head, again and again.
pub const RELEASE_PATIENCE_ELECTION_TIMEOUTS: u32 = 33;

/// Bytes of entries after which the log takes a new segment, unless configured otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;

/// Marks that a log with a retention has, at most: an eighth of what it keeps lies between two, so there are
/// some twenty where both bytes and age count.
pub const RETENTION_MARKS_MAX: usize = 32;

/// A log is trimmed when so large a part is beyond its retention: fewer parts keep more than was asked for,
/// more of them trim more often.
pub const RETENTION_PARTS: u64 = 8;

/// Logs that a leader trims by one entry, at most, and looks at for it: it takes a millisecond of its time.
pub const HOUSEKEEPING_TRIMS_MAX: usize = 1_000;

/// The smallest segment that can be configured: tests roll often with it.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 10;

/// The largest segment that can be configured: a start after a crash copies one.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Freed bytes at the end of each thread's memory that the allocator keeps for what comes next.
pub const ALLOCATOR_KEEPS_BYTES_MAX: usize = 1 << 20;

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

/// Runs of requests remembered for one client; also the client's own window of unanswered requests,
/// which are no more runs than requests, however they are cut.
pub const SESSION_RUNS_MAX: usize = 4096;

/// Runs remembered for all clients together, so that the table's size has a bound (about 40 MiB)
/// whatever its clients do.
pub const TABLE_RUNS_MAX: usize = 1 << 20;

/// Requests, or pieces of runs that are repeated in other pieces than before, that a leader judges in one
/// turn before it looks up again: a few ms. One run more may be judged to its end.
pub const TURN_VERDICTS_MAX: usize = 8192;

/// Bytes of one frame on the wire, its length field excluded.
pub const FRAME_BYTES_MAX: usize = ENTRY_PAYLOAD_BYTES_MAX + (1 << 20);

/// Bytes of messages that wait for the log stream of one peer. Beyond it they are dropped: Raft
/// sends them again.
pub const PEER_QUEUE_BYTES_MAX: usize = 16 << 20;

/// Messages that wait for the priority stream of one peer.
pub const PEER_PRIORITY_QUEUE_MAX: usize = 256;

/// Bytes of messages to a peer that leave in one write, unless a single one is larger.
pub const PEER_BATCH_BYTES_MAX: usize = 256 << 10;

/// Connections from one peer that wait for a decision: each of its processes dials one at a time.
pub const PEER_OFFERS_MAX: usize = 8;

/// Former processes of a peer that are remembered, so that a straggler of theirs is not taken for
/// the newest.
pub const PEER_INCARNATIONS_REMEMBERED: usize = 8;

/// Nodes of a cluster in which one that lost its store can be filled by the others: without it they have to
/// be a majority, and more than one.
pub const NODES_TO_REFILL_MIN: usize = 3;

/// Stores that are set aside in a node's folder before it begins anew by itself no more: each takes the space
/// that it took, and a disk that loses three wants to be looked at.
pub const SET_ASIDE_MAX: usize = 3;

/// So long a node that lost its store waits for what another says of itself.
pub const SOUNDNESS_TIMEOUT: Duration = Duration::from_secs(3);

/// While the others cannot do without it, it asks them again after so long.
pub const SOUNDNESS_INTERVAL: Duration = Duration::from_secs(2);

/// Stores that a node had before and that its peers know again. A folder from before the last four times
/// that a node was filled anew is judged by the configuration alone.
pub const FORMER_STORES_MAX: usize = 4;

/// Starts of a store that it shows to its peers. One that has missed more of them than this cannot
/// tell by them whether the folder is another's; term and log still say.
pub const LINEAGE_STARTS_MAX: usize = 32;

/// A peer's start is held against other starts of the same folder once it has stood for so long, or
/// has voted, led or followed: longer than it takes a peer that knows better to end it.
///
/// Longer than [`TWIN_PATIENCE`] too: a copy that is about to end must not count.
pub const PEER_COUNTS_AFTER: Duration = Duration::from_secs(8);

/// A process that is told for so long that another with its name is connected, while it comes from
/// elsewhere than the configured address, is a copy. A former process of its own is gone for its peers
/// after their idle timeout.
pub const TWIN_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes received from peers that the node has not handled yet, and as many from clients: those of
/// requests that are not answered yet, and what is kept of each and of its records in memory.
pub const INBOUND_BYTES_MAX: usize = 64 << 20;

/// The part of it that one identity's connections may hold: others always find a quarter.
pub const INBOUND_BYTES_PER_IDENTITY: usize = INBOUND_BYTES_MAX / 4 * 3;

/// The part of it that one client's connection may hold: somewhat more than a client of this library
/// has under way.
pub const INBOUND_BYTES_PER_CONNECTION: usize = 24 << 20;

/// Bytes of memory that a request takes beside those it came in, and each of its records.
pub const REQUEST_OVERHEAD_BYTES: usize = 256;
/// See [`REQUEST_OVERHEAD_BYTES`].
pub const RECORD_OVERHEAD_BYTES: usize = 40;

/// Bytes of frames that have begun to arrive from clients, or to a registry, and are not whole.
pub const ARRIVING_BYTES_MAX: usize = 32 << 20;

/// The part of it that one identity's connections may hold.
pub const ARRIVING_BYTES_PER_IDENTITY: usize = ARRIVING_BYTES_MAX / 4 * 3;

/// The part of it that one connection may hold: two of the largest frames.
pub const ARRIVING_BYTES_PER_CONNECTION: usize = 12 << 20;

/// A frame of up to so many bytes arrives uncounted: there are few streams on which more than one
/// frame comes, see [`APPEND_STREAMS_PER_CONNECTION_MAX`].
pub const FRAME_UNCOUNTED_BYTES: usize = 16 << 10;

/// Bytes of the first frame of a client's stream, which says what the stream is for.
pub const FIRST_FRAME_BYTES_MAX: usize = 1 << 10;

/// A larger frame that has begun to arrive is whole within this time; of the largest that is 4 Mbit
/// a second. Peers have no such limit: a slow link between them is still better than none.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// The same while others wait for the memory that it holds.
pub const FRAME_TIMEOUT_WANTED: Duration = Duration::from_secs(1);

/// How long a frame may wait for a client that does not read. A paused `tail -f` loses its stream
/// after this and takes up a new one where it was.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The same for a client that takes nothing at all while others wait for the memory that it holds.
pub const STALL_TIMEOUT_WANTED: Duration = Duration::from_millis(500);

/// A read whose client has not taken a frame for this long lets go of the entries that it has ahead,
/// and reads them again when the client goes on.
pub const STALL_UNLOAD: Duration = Duration::from_millis(100);

/// Bytes of entries that reads have in memory ahead of what they send.
pub const READ_LOADED_BYTES_MAX: usize = 32 << 20;

/// The part of it that one identity's connections may hold.
pub const READ_LOADED_BYTES_PER_IDENTITY: usize = READ_LOADED_BYTES_MAX / 4 * 3;

/// The part of it that one connection may hold: two of the largest entries.
pub const READ_LOADED_BYTES_PER_CONNECTION: usize = 12 << 20;

/// What a read takes before it knows what it will load: the largest entry.
pub const READ_LOAD_BYTES: usize = ENTRY_PAYLOAD_BYTES_MAX + (64 << 10);

/// Bytes of memory that a record takes in a frame that is being sent, beside its own.
pub const SENT_RECORD_OVERHEAD_BYTES: usize = 32;

/// What a read takes before it knows what goes into the next frame.
pub const READ_FRAME_COST_MAX: usize =
    RECORD_BYTES_MAX + READ_FRAME_RECORDS_MAX * SENT_RECORD_OVERHEAD_BYTES;

/// Bytes of frames that reads are sending.
pub const READ_SENT_BYTES_MAX: usize = 48 << 20;

/// The part of it that one identity's connections may hold.
pub const READ_SENT_BYTES_PER_IDENTITY: usize = READ_SENT_BYTES_MAX / 4 * 3;

/// The part of it that one connection may hold.
pub const READ_SENT_BYTES_PER_CONNECTION: usize = 12 << 20;

/// New sessions that one identity may begin in a second, on average, and at once. The table of
/// clients is a function of the log and forgets whoever was not used for the longest: so many keep
/// another's session in it for a minute at least.
pub const SESSIONS_BEGUN_PER_SECOND: u64 = 150;
/// See [`SESSIONS_BEGUN_PER_SECOND`]: a thousand commands that are started at once.
pub const SESSIONS_BEGUN_AT_ONCE: u64 = 1000;

/// Messages received that the node has not handled yet.
pub const INBOUND_MESSAGES_MAX: usize = 16_384;

/// Inputs handled in one turn of the node's loop before it performs their effects.
pub const TURN_INPUTS_MAX: usize = 4096;

/// Connections of clients that a node serves at once, and of anybody that a registry does.
pub const CONNECTIONS_MAX: usize = 1024;

/// Those of one identity among them: one certificate does not shut out the others.
pub const CONNECTIONS_PER_IDENTITY_MAX: usize = CONNECTIONS_MAX / 4 * 3;

/// Those from one address among them.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = CONNECTIONS_MAX / 4 * 3;

/// Connections of admins, and of nodes to a registry, that are served beyond all others.
pub const CONNECTIONS_RESERVED: usize = 32;

/// Connections from one node to another that are open at once: its processes need one.
pub const CONNECTIONS_OF_PEER_MAX: usize = 16;

/// Connections that have ended, and of which QUIC still tells the other side, beyond those that are
/// served: they count for whoever had them. One-shot commands of a crowd leave some tens.
pub const CONNECTIONS_LEAVING_MAX: usize = CONNECTIONS_MAX / 8;

/// Connections of all kinds, those under way included: beyond it, who comes is refused unseen.
pub const CONNECTIONS_IN_ALL_MAX: usize = CONNECTIONS_MAX
    + CONNECTIONS_RESERVED
    + CONNECTIONS_LEAVING_MAX
    + NODES_MAX * (CONNECTIONS_OF_PEER_MAX + 1)
    + HANDSHAKES_WAITING_MAX
    + HANDSHAKES_OF_NODES_MAX;

/// A connection on which nothing was asked for this long may be closed, where one more would be too
/// many: who has just come is about to ask.
pub const CONNECTION_IDLE_GRACE: Duration = Duration::from_secs(1);

/// Connections that get wide windows: one application each. The windows of all connections together
/// are what somebody can make a node hold who takes nothing and delivers no frame.
pub const WIDE_CONNECTIONS_MAX: usize = 32;

/// Those of one identity among them.
pub const WIDE_CONNECTIONS_PER_IDENTITY_MAX: usize = WIDE_CONNECTIONS_MAX / 4 * 3;

/// Streams that a client may have open on one connection.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 64;

/// Streams of appends that a client may have open on one connection: one to the leader, and some
/// that owe answers.
pub const APPEND_STREAMS_PER_CONNECTION_MAX: usize = 8;

/// Answers to append requests in one frame.
pub const APPEND_REPLIES_MAX: usize = 1024;

/// Records in one frame of a read or a tail: each takes a handle in the client, however short it is.
pub const READ_FRAME_RECORDS_MAX: usize = 16_384;

/// Records from which on a read that ends is served by another node than the leader: of 256 bytes each, they
/// are a frame. What is less than that comes sooner from the leader, which need not be asked.
pub const READ_SPARES_LEADER_RECORDS: u64 = 1_000;

/// Bytes of records in one frame of a read or a tail, unless its only record is larger.
pub const READ_FRAME_BYTES_MAX: usize = 256 << 10;

/// Lines from standard input gathered into one request: that many bytes …
pub const GATHER_BYTES_MAX: usize = 256 << 10;

/// … or what came in this time.
pub const GATHER_TIME: Duration = Duration::from_millis(5);

/// Requests of gathered lines on their way at once: enough to keep the cluster busy, few enough
/// that each whose outcome is unknown can be named to the user.
pub const GATHER_IN_FLIGHT_MAX: usize = 16;

/// Logs of which a client remembers that they take no records any more.
pub const ENDED_LOGS_MAX: usize = 1000;

/// Append requests of one client on their way at once.
pub const CLIENT_IN_FLIGHT_MAX: usize = SESSION_RUNS_MAX;

/// Bytes of the records in those requests. Half of what a leader lets wait, so that one client
/// alone does not make it Busy; one request always fits.
pub const CLIENT_IN_FLIGHT_BYTES_MAX: usize = PROPOSALS_BYTES_MAX / 2;

/// Threads that a node or a registry cannot do without: seven of sled's, which else hangs; the store's
/// writer, upkeep and scrub; two for what blocks; one that watches the parent; one for HTTP.
pub const SERVER_THREADS: usize = 14;

/// Files and sockets that a node or a registry has open while it starts and serves its first clients.
pub const SERVER_FILES: usize = 40;

/// Threads of a command besides its workers: for a look-up, and for its input or a word above its prompt.
pub const COMMAND_THREADS: usize = 2;

/// Files and sockets of a command: those of its runtime, one for whatever it reads, and a prompt's own:
/// two clients, the pipes that wake its editor, and its history.
pub const COMMAND_FILES: usize = 20;

/// How often a prompt asks who leads: soon enough for people, and nothing beside what a client asks.
pub const SHELL_LOOK_EVERY: Duration = Duration::from_secs(1);

/// Lines of a prompt that are kept for the next time.
pub const SHELL_HISTORY_LINES_MAX: usize = 1000;

/// A longer line is not kept: that was pasted, and is in the log.
pub const SHELL_HISTORY_LINE_BYTES_MAX: usize = 4 << 10;

/// The first attempt to connect. A connect to a dead port hangs otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// The longest that an attempt to connect may take, after others came to nothing: each gets twice the
/// time of the one before. Of a round trip of a second two fit, which a handshake may need. QUIC says
/// its first packet again ever more rarely, so a much longer attempt would notice late that somebody
/// is there again.
pub const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(4);

/// Who has dialled a server has finished its handshake, and a peer has said hello, within this time:
/// the dialling side knows better how long it wants to wait.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(8);

/// The same where others wait for a place, and how long they wait for one. Most that come at once are
/// on machines that are busy starting them: what was begun is better finished than begun again.
pub const HANDSHAKE_TIMEOUT_CROWDED: Duration = Duration::from_secs(2);

/// How long a name's look-up is waited for. It goes on behind that, and whoever asks for the name
/// next has the answer. Longer than a name server takes that has to ask others.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Addresses of one name that are tried.
pub const ADDRESSES_PER_NAME_MAX: usize = 8;

/// The next address of a name is dialled when the one before has not answered for so long: a machine
/// without IPv6 loses no more by an address of that kind (RFC 8305 has 250 ms for the wide world).
pub const DIAL_NEXT_AFTER: Duration = Duration::from_millis(100);

/// A connection between peers that says nothing for this long is gone.
pub const PEER_IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// Peers let hear from themselves this often, whatever Raft does.
pub const PEER_KEEP_ALIVE: Duration = Duration::from_millis(500);

/// Idle timeout of the connections of clients and of the registry.
pub const CLIENT_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Keep-alive of the connections of clients.
pub const CLIENT_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// How long one attempt of a leader to announce itself may take.
pub const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause between two such attempts, at most: one that was refused gets it at once.
pub const ANNOUNCE_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Terms in one frame to or from a registry.
pub const REGISTRY_PAGE_MAX: usize = 1000;

/// How far above the highest term that a registry knows an announced one may be. Terms rise by one an
/// election, and each comes with the terms before it; at one each 300 ms, day and night, this takes
/// three days. What is above it was made up.
pub const REGISTRY_TERM_JUMP_MAX: u64 = 1 << 20;

/// Bytes of a question to a registry: an announcement with a page of earlier ones.
pub const REGISTRY_QUESTION_BYTES_MAX: usize =
    (REGISTRY_PAGE_MAX + 1) * (ADDRESS_BYTES_MAX + 32) + 64;

/// Bytes of an answer of a registry: a page of announcements, or all terms.
pub const REGISTRY_ANSWER_BYTES_MAX: usize = REGISTRY_TERMS_MAX * 16;

/// Terms that a registry remembers of one cluster, the newest: some 10 MiB, at an election a minute
/// more than two months. The log remembers them all.
pub const REGISTRY_TERMS_MAX: usize = 100_000;

/// Who opens a stream to a registry has put its question within this time.
pub const REGISTRY_QUESTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of an address on the wire, as text: no name of the DNS is longer, with its port.
pub const ADDRESS_BYTES_MAX: usize = 264;

/// What QUIC takes for the round trip before it has measured one. Its own 333 ms would make the first
/// lost packet cost a second.
pub const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(20);

/// How long QUIC may hold an acknowledgement back (RFC 9000, 18.2; quinn's own value).
pub const ACK_DELAY_MAX: Duration = Duration::from_millis(25);

/// Bytes that a stream to a node or a registry may deliver ahead of its reader.
pub const STREAM_WINDOW_BYTES: u32 = 2 << 20;

/// The same for all streams of a connection between two nodes. It exceeds what the streams may hold
/// together, so that an unread log stream never starves the other.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// The same for a connection whose other side is no node, where windows are still to be had: an unread
/// stream of appends leaves room for questions.
pub const WIDE_WINDOW_BYTES: u32 = 3 << 20;

/// The same for every connection when it begins, and for good where none are to be had.
pub const NARROW_WINDOW_BYTES: u32 = 64 << 10;

/// Bytes sent on a connection with wide windows and not acknowledged.
pub const WIDE_SEND_WINDOW_BYTES: u64 = 2 << 20;

/// Streams that a node may have open on one connection to another: it needs two.
pub const PEER_STREAMS_MAX: u32 = 4;

/// Bytes that a stream may deliver to a client ahead of its reader.
pub const CLIENT_STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The same for all streams of a client's connection: a reader that stops reading stops its own
/// stream and no other. A quarter more than the streams can hold: QUIC announces new room only when
/// it amounts to an eighth of the window.
pub const CLIENT_CONNECTION_WINDOW_BYTES: u32 =
    STREAMS_PER_CONNECTION_MAX * CLIENT_STREAM_WINDOW_BYTES / 4 * 5;

/// Bytes sent on a connection between two nodes and not acknowledged. As with the windows, more than
/// the streams between two nodes can hold together.
pub const SEND_WINDOW_BYTES: u64 = 16 << 20;

/// Bytes of the kernel's buffers of a socket, each way; less if the kernel does not allow it.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Handshakes under way at once. Beyond it, who comes waits.
pub const HANDSHAKES_MAX: usize = 64;

/// Handshakes that wait or are under way. Beyond it, who comes is refused and may try again.
pub const HANDSHAKES_WAITING_MAX: usize = 96;

/// Those from one address among them.
pub const HANDSHAKES_PER_ADDRESS_MAX: usize = HANDSHAKES_WAITING_MAX / 4 * 3;

/// Handshakes of nodes that wait or are under way, beside those of all others.
pub const HANDSHAKES_OF_NODES_MAX: usize = 32;

/// Refused connections, and refused actions, are told once in so long, with their number.
pub const REFUSALS_TOLD_EVERY: Duration = Duration::from_secs(5);

/// Reasons that such a line names; the rest is "others".
pub const REFUSAL_REASONS_MAX: usize = 8;

/// Handshakes under way beyond which a newcomer must first show that its address is its own.
pub const HANDSHAKES_UNVALIDATED_MAX: usize = 16;

/// Bytes read from a stream at a time.
pub const READ_STEP_BYTES: usize = 64 << 10;

/// First and last pause between two attempts to reach a peer.
pub const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// See [`BACKOFF_MIN`].
pub const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// First and last pause of a client before it comes back to a node that had no place for it: a node
/// gets through what waits in some tenths of a second, and through a crowd in some seconds.
pub const CROWD_PAUSE_MIN: Duration = Duration::from_millis(250);
/// See [`CROWD_PAUSE_MIN`].
pub const CROWD_PAUSE_MAX: Duration = Duration::from_secs(4);

/// A client without an answer for this long asks all nodes who leads.
pub const CLIENT_HEDGE_AFTER: Duration = Duration::from_millis(150);

/// Longest time between two such rounds, while the leader confirms that it leads and still does not
/// answer: each round costs every node a question.
pub const CLIENT_HEDGE_MAX: Duration = Duration::from_secs(1);

/// How long a client waits for the answer to a question that a node answers from memory. A kept
/// connection whose process was killed says nothing; this ends the wait.
pub const CLIENT_ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// The same for a question to a node that has never answered: a connection has to be made first, and
/// a crowd that makes each of them anew gets none.
pub const CLIENT_DIAL_PATIENCE: Duration = Duration::from_secs(2);

/// The longest that a connection which is being made to a node that has never answered is waited for
/// before another is made beside it.
pub const CLIENT_DIAL_PATIENCE_MAX: Duration = Duration::from_secs(8);

/// The longest that a question goes unanswered before another one is put beside it: each is given twice
/// the time of the one before, up to this, so that a slow network and a dead connection both come to an
/// end, and a network that was healed is noticed soon.
pub const CLIENT_PATIENCE_MAX: Duration = Duration::from_secs(2);

/// How long a client that looks for the leader tries to reach it itself, when others say who it is,
/// before it goes by way of one of these: longer than they name one that is dead.
pub const CLIENT_DETOUR_AFTER: Duration = Duration::from_secs(1);

/// How often a client that goes by way of another node sees whether it can reach the leader itself.
pub const CLIENT_RECHECK_EVERY: Duration = Duration::from_secs(5);

/// How long a client waits for an answer by way of another node before it goes by way of yet another:
/// that one may hear the leader and not be heard by it, and its own word does not show it. More than a
/// slow network takes; twice as long each time, so that no network is too slow.
pub const CLIENT_DETOUR_PATIENCE: Duration = Duration::from_secs(2);

/// The longest that this becomes.
pub const CLIENT_DETOUR_PATIENCE_MAX: Duration = Duration::from_secs(16);

/// How long a node tries to hand a client's stream on: as long as to connect, and for a word. Then it
/// serves it itself.
pub const ONWARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Streams of clients that a node hands on to the leader at once. Each holds a frame in each
/// direction at most.
pub const ONWARD_STREAMS_MAX: usize = 64;

/// Those of one identity's connections among them: others always find a quarter.
pub const ONWARD_STREAMS_PER_IDENTITY: usize = ONWARD_STREAMS_MAX / 4 * 3;

/// Those of one connection among them: appends, and some reads.
pub const ONWARD_STREAMS_PER_CONNECTION: usize = ONWARD_STREAMS_MAX / 4;

/// Sockets of one client: a new one is opened when connections of the last have fallen silent, and the
/// others are closed when they carry nothing any more.
pub const CLIENT_SOCKETS_MAX: usize = 4;

/// Questions to one node that one search may have under way.
pub const CLIENT_QUESTIONS_MAX: u32 = 4;

/// A client that looks for the leader asks the registry again after this time, the next time after
/// twice as long: it is a hint, and the nodes know better …
pub const REGISTRY_ASK_EVERY: Duration = Duration::from_millis(600);

/// … up to this.
pub const REGISTRY_ASK_EVERY_MAX: Duration = Duration::from_secs(5);

/// How long a client that ends waits for its farewells to go out. A node that misses one notices by
/// [`CLIENT_IDLE_TIMEOUT`].
pub const CLIENT_CLOSE_TIMEOUT: Duration = Duration::from_millis(20);

/// A client that looks for the leader asks each node this long after its last answer.
pub const CLIENT_ASK_EVERY: Duration = Duration::from_millis(20);

/// As [`CLIENT_ASK_EVERY`], while a failover is being measured.
pub const CRASH_ASK_EVERY: Duration = Duration::from_millis(5);

/// A node that was asked to crash and then leaves a question unanswered this long has crashed. It
/// answers at most 100 ms longer than its own answer takes to arrive.
pub const CRASH_SILENCE: Duration = Duration::from_millis(150);

/// A followed read that gets no records this long makes sure that its node still leads.
pub const TAIL_PROBE_AFTER: Duration = Duration::from_millis(500);

/// How often `status --watch` looks: as often as people do.
pub const STATUS_WATCH_EVERY: Duration = Duration::from_secs(1);

/// How long a node has to miss another before it says so: connections come back, and a cluster that stops
/// loses all of them.
pub const COMPANY_STEADY: Duration = Duration::from_secs(1);

/// How often a node looks at what it takes of its disk: that changes slowly.
pub const DISK_USE_LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// Whoever looks at all files of a node rests so many times as long as that took, so that a node with a
/// million of them spends no more than a hundredth of a core and of its disk on it.
pub const DISK_USE_REST: u32 = 100;

/// How often who follows a log looks whether that was closed.
pub const FOLLOW_LOOK: Duration = Duration::from_secs(1);

/// How often it is looked who leads, for a program that wants to know of changes.
pub const LEADER_WATCH_EVERY: Duration = Duration::from_millis(500);

/// How long a node has to answer for its line in a status.
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(1);

/// Append frames of one stream that wait to be written to it. While one waits, requests gather, and go
/// out together in the next.
pub const LANE_FRAMES_MAX: usize = 1;

/// What the streams of a client that appends have told and nobody has looked at yet: answers, and ends.
pub const LANE_EVENTS_MAX: usize = 64;

/// Requests that callers have handed to the task that sends them, before they enter its window.
pub const ORDERS_QUEUE_MAX: usize = 64;

/// From the port of a cluster's registry to that of its first node's door for HTTP, less one. Clusters on
/// one machine are a hundred ports apart, and have fifteen nodes at most.
pub const HTTP_PORTS_AFTER: u16 = 80;

/// Patterns of logs that one may have grants for.
pub const GRANTS_MAX: usize = 16;

/// Characters of an access token: a quarter of what a request's headers have room for.
pub const TOKEN_BYTES_MAX: usize = 4 << 10;

/// Names of logs that a node remembers for a connection whose client may do only some things with some logs.
pub const NAMES_PER_CONNECTION_MAX: usize = 64;

/// How long an access token holds at most. So long one that was revoked may have to be remembered.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_hours(24 * 366);

/// How long a certificate holds unless something else is said.
pub const CERTIFICATE_LIFE_DEFAULT: Duration = Duration::from_hours(24 * 365);

/// How long a certificate holds at most: one that is revoked is remembered as a token is.
pub const CERTIFICATE_LIFE_MAX: Duration = TOKEN_LIFE_MAX;

/// How often a process looks whether the files of its certificate have changed.
pub const CERTIFICATE_LOOK: Duration = Duration::from_secs(5);

/// How often a server repeats that its certificate expires soon.
pub const CERTIFICATE_WARNED_EVERY: Duration = Duration::from_hours(24);

/// How long before a certificate expires its holder is warned.
pub const CERTIFICATE_WARNING: Duration = Duration::from_hours(24 * 30);

/// Access tokens that are revoked and have not expired. They stand in the head of each segment.
pub const REVOKED_TOKENS_MAX: usize = 4 << 10;

/// How far the clock of who makes a token may be ahead of that of a node, which takes it all the same.
pub const TOKEN_CLOCKS_APART: Duration = Duration::from_mins(5);

/// Keys whose access tokens hold at once.
pub const TOKEN_KEYS_MAX: usize = 4;

/// How often a node looks whether its file with those keys has changed, while tokens come.
pub const TOKEN_KEYS_LOOK: Duration = Duration::from_secs(5);

/// Connections to a door that asks for tokens which have not shown one yet: they take none of the places of
/// those that have.
pub const HTTP_STRANGERS_MAX: usize = 256;

/// Sites whose pages may use a door.
pub const HTTP_ORIGINS_MAX: usize = 16;

/// Connections that a node's door for HTTP serves at once: a thousand readers that wait, and some more.
pub const HTTP_CONNECTIONS_MAX: usize = 1280;

/// A driver that has not turned for so long is told to be still: it turns at least each tick of some ms, and
/// neither a disk nor a peer keeps it.
pub const HTTP_STILL_MAX: Duration = Duration::from_secs(10);

/// Files and sockets of a node that visitors over HTTP never take: those of the store, while it seals and
/// many read, of QUIC and of the runtime are some sixty.
pub const FILES_BESIDE_HTTP: usize = 256;

/// Bytes of a request's line and headers. Browsers send a few hundred.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 << 10;

/// Headers of a request.
pub const HTTP_HEADERS_MAX: usize = 64;

/// How long the line and headers of a request may take to arrive, and how long a connection may stand
/// without any. So long a handshake of TLS may take as well.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a visitor may take nothing of an answer, before the connection is closed.
pub const HTTP_STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a reader waits for news, unless the configuration says otherwise …
pub const HTTP_LONG_POLL_DEFAULT: Duration = Duration::from_secs(20);

/// … and between which times that may be.
pub const HTTP_LONG_POLL_MIN: Duration = Duration::from_millis(100);
/// See [`HTTP_LONG_POLL_MIN`].
pub const HTTP_LONG_POLL_MAX: Duration = Duration::from_mins(2);

/// Times by which writes to a node's disk are counted, in ms: from a disk of flash to one that is ill.
pub const PERSIST_BOUNDS_MS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/// How long a node that stops lets requests over HTTP go on.
pub const HTTP_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the door rests after a connection could not be accepted, for want of files.
pub const HTTP_ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a door tries to get its port while another process has it.
pub const HTTP_BIND_PAUSE: Duration = Duration::from_secs(2);

/// How old the state of the cluster may be that a visitor is shown: so often all nodes are asked at most,
/// however many visitors there are.
pub const HTTP_STATUS_FRESH: Duration = Duration::from_millis(250);

/// How often a door looks who leads, for the history that its page shows. What is shorter is not seen.
pub const HTTP_LOOK_EVERY: Duration = Duration::from_millis(50);

/// Turns of leaders in that history.
pub const HTTP_TURNS_MAX: usize = 200;

/// How long the body of a request may take to arrive.
pub const HTTP_BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of bodies and answers that a door holds for all visitors together: 16 of the largest requests.
pub const HTTP_BODIES_BYTES_MAX: usize = 16 * REQUEST_BYTES_MAX;

/// Bytes of records after which an answer ends: the reader asks for the rest.
pub const HTTP_ANSWER_BYTES: usize = 1 << 20;

/// Bytes of what stands around a record in an answer: its offset, its time, names of fields. What stands in
/// it is twice as long at most, but for control characters, of which a text has few.
pub const HTTP_LINE_BYTES: usize = 128;

/// Reads of logs that a door has under way at once; others wait for their turn.
pub const HTTP_READS_MAX: usize = 16;

/// Readers that wait for news at a door, however they do.
pub const HTTP_WAITING_MAX: usize = 1100;

/// Logs at which they wait. Each takes a stream to the leader.
pub const HTTP_TAILS_MAX: usize = 32;

/// How often it is looked whether such a log was closed or is gone, and whether anybody still waits at it.
pub const HTTP_TAIL_LOOK: Duration = Duration::from_secs(1);

/// Named logs that a door need not look up for the next append: some megabytes.
pub const HTTP_LOGS_MAX: usize = 10_000;

/// Bytes of records that have just come, kept for those who wait at a log. Who is further behind reads the
/// log itself.
pub const HTTP_NEWS_BYTES_MAX: usize = 2 << 20;

/// Bytes of them that one reader takes at a time.
pub const HTTP_NEWS_TAKEN_BYTES: usize = 32 << 10;

/// How long a reader of events stays, before it has to come again.
pub const HTTP_EVENTS_TIMEOUT: Duration = Duration::from_mins(1);

/// The interval of cursors: the protocol's.
pub const HTTP_CURSOR_INTERVAL: Duration = Duration::from_secs(20);

/// Whoever is refused for want of room or of a leader is asked to come back after so many seconds.
pub const HTTP_RETRY_AFTER_SECONDS: u32 = 1;

/// A node that was asked to stop has done so within this time, or is ended.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a leader that is asked to stop waits for its successor.
pub const HANDOVER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a crashing leader waits until its last words have arrived.
pub const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(100);

/// How long a read waits for entries that are committed but not yet on the node's own disk.
pub const READABLE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client's stream has said what it wants within this time.
pub const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a new process waits for its folder's lock: its predecessor may still be ending.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a command waits for another that is writing the configuration of the same cluster.
pub const INIT_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Heartbeat interval for a local network, unless configured otherwise.
pub const HEARTBEAT_DEFAULT: Duration = Duration::from_millis(25);

/// Shortest election timeout for a local network, unless configured otherwise.
pub const ELECTION_TIMEOUT_MIN_DEFAULT: Duration = Duration::from_millis(150);

/// Longest election timeout for a local network, unless configured otherwise.
pub const ELECTION_TIMEOUT_MAX_DEFAULT: Duration = Duration::from_millis(300);

/// Shortest heartbeat interval that can be configured: below it a node only ticks.
pub const HEARTBEAT_MIN: Duration = Duration::from_millis(5);

/// Longest heartbeat interval that can be configured.
pub const HEARTBEAT_MAX: Duration = Duration::from_secs(10);

/// Longest election timeout that can be configured: nobody waits longer for a leader.
pub const ELECTION_TIMEOUT_MAX: Duration = Duration::from_mins(1);

/// Longest election timeout after campaigns that came to nothing, unless a longer one is configured:
/// each doubles it, for something (a disk, a network) takes longer than was configured. Long enough
/// for a round trip or two syncs of seconds, short enough that nobody takes the cluster for dead.
pub const ELECTION_TIMEOUT_WIDEST: Duration = Duration::from_secs(5);

/// The same as a factor of the longest election timeout, for who counts in ticks alone.
pub const ELECTION_TIMEOUT_WIDENED: u32 = 16;

/// How far a message's term may lie ahead of one's own. At an election every 150 ms, none of which comes
/// to anything, a cluster needs 20 years for so many terms; and whoever has a node's key needs as many
/// messages again to bring the others to the last term that there is.
pub const TERM_JUMP_MAX: u64 = 1 << 32;

/// The lowest term that a repair sets lies so far beyond that of the node's last entry: no cluster has
/// had so many elections since, so that no vote is taken back that this node can really have given.
pub const TERM_REPAIR_MARGIN: u64 = 1 << 31;

/// A wall clock that is further ahead of the others' than this is wrong: clocks that anybody sets keep to
/// a second, and the time of each record is the clock of its leader.
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(10);

/// So many longest election timeouts long the latest of what a peer said of its clock counts: a message
/// that was seconds on its way makes a clock seem to be behind.
pub const CLOCK_RENEWED_ELECTION_TIMEOUTS: u32 = 2;

/// A clock that goes on by more than this at once has leapt ahead, or its process stood still: what goes by the
/// time of day waits until the other clocks are heard anew. Ticks come far more often.
pub const CLOCK_LEAP: Duration = Duration::from_secs(1);

/// What a peer said of its clock counts for this many longest election timeouts.
pub const CLOCK_REMEMBERED_ELECTION_TIMEOUTS: u32 = 10;

/// A node whose clock is wrong lets so many longest election timeouts more pass before it stands for
/// election, so that every other node comes first; and a leader tries to hand over that often.
pub const CLOCK_RELUCTANCE_ELECTION_TIMEOUTS: u32 = 5;

/// How often a node says that its log's time is ahead of its clock.
pub const CLOCK_COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);

/// Heartbeats that the shortest election timeout must hold, so that one lost is no election.
pub const HEARTBEATS_PER_ELECTION_TIMEOUT_MIN: u32 = 3;

/// Ticks of the core in one heartbeat interval.
pub const TICKS_PER_HEARTBEAT: u32 = 5;

/// Bytes in a tick that followers who are far behind get in any case, however little is appended beside
/// them: with a tick of 10 ms some 13 MB/s.
pub const CATCH_UP_BYTES_PER_TICK_MIN: u64 = 128 << 10;

/// A leader whose disk has owed something for this many longest election timeouts steps down if
/// others' disks were faster with it: its own is stuck, and another does better.
pub const DISK_STALL_ELECTION_TIMEOUTS: u32 = 10;

/// How many times longer than the fastest other a leader's disk takes before it counts as stuck. A
/// write may have to wait for the one before it, so that one of two equal disks takes up to twice as
/// long as the other; with less than that, leaders on slow disks would step down in turn for ever.
pub const DISK_STALL_FACTOR: u32 = 3;

/// A leader whose disk owes for this long what it was asked for a follower steps down. More than
/// for a write: a read may first open a segment and hash all of it.
pub const READ_STALL: Duration = Duration::from_secs(30);

/// How long a client command tries, unless asked otherwise: many times a failover.
pub const CLIENT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// How long a change of members is waited for, unless asked otherwise: a new node has to be started and filled.
pub const MEMBER_CHANGE_TIMEOUT: Duration = Duration::from_mins(10);

/// How often it is looked meanwhile how far that is.
pub const MEMBERS_ASKED_EVERY: Duration = Duration::from_millis(100);

/// The longest that a client command can be asked to try.
pub const CLIENT_TIMEOUT_MAX: Duration = Duration::from_hours(24);

/// For a command that is told to try without end, and for lines that are piped into one: longer than any
/// process lives.
pub const CLIENT_TIMEOUT_NONE: Duration = Duration::from_hours(24 * 366 * 10);

/// Nodes of a cluster that nobody asked for otherwise: the fewest that survive a loss.
pub const NODES_DEFAULT: u16 = 3;

/// The registry's port, unless configured otherwise; the nodes' follow.
pub const BASE_PORT_DEFAULT: u16 = 7100;

/// Nodes of one cluster.
pub const NODES_MAX: usize = 15;

/// Other nodes that a node keeps connections with: the members that it knows of, and as many that it may
/// not have been told of yet.
pub const PEERS_MAX: usize = 2 * NODES_MAX;

/// Addresses that a node names: where each member is by its file, and where it is in fact.
pub const ADDRESSES_MAX: usize = 2 * NODES_MAX;

const _: () = {
    // Nodes that are repaired one after the other believe each other's terms.
    assert!(TERM_REPAIR_MARGIN < TERM_JUMP_MAX);
    assert!(FORKS_MAX < LOGS_MAX && FORK_DEPTH_MAX < FORKS_MAX);
    assert!(RECORD_BYTES_MAX <= REQUEST_BYTES_MAX);
    // A request is one run in one entry: it must fit with the list of its records' lengths.
    assert!(
        REQUEST_BYTES_MAX + REQUEST_RECORDS_MAX * 4 + COMMAND_BYTES_MAX + 128
            <= ENTRY_PAYLOAD_BYTES_MAX
    );
    // An entry travels in one frame, beside a header.
    assert!(ENTRY_PAYLOAD_BYTES_MAX + (64 << 10) <= FRAME_BYTES_MAX);
    assert!(HEAD_PIECE_BYTES_MAX + (64 << 10) <= FRAME_BYTES_MAX as u64);
    // A frame always fits into an empty queue.
    assert!(FRAME_BYTES_MAX < PEER_QUEUE_BYTES_MAX && FRAME_BYTES_MAX < INBOUND_BYTES_MAX);
    assert!(ENTRY_PAYLOAD_BYTES_MAX < UNCOMMITTED_BYTES_MAX);
    assert!(STORE_VALUE_BYTES_MAX * 4 < SLED_SEGMENT_BYTES);
    assert!(GROUP_COMMIT_BYTES_MAX as u64 * 2 < JOURNAL_FILE_BYTES_DEFAULT);
    // A page holds at most 16 values and 10 changes to them.
    assert!(DISK_MAP_VALUE_BYTES_MAX * 26 < SLED_SEGMENT_BYTES_SMALL / 4);
    assert!(STORE_VALUE_BYTES_MAX * 26 < SLED_SEGMENT_BYTES / 4);
    assert!(DISK_MAP_BATCH_BYTES_MAX * 2 < SLED_SEGMENT_BYTES_SMALL);
    // The default segment is a few group commits long, and the smallest is none: it rolls each time.
    assert!(SEGMENT_BYTES_MIN <= SEGMENT_BYTES_DEFAULT);
    assert!(CLIENT_IN_FLIGHT_MAX <= SESSION_RUNS_MAX);
    // The requests of the longest run, which has as many records, have their places under way.
    assert!(REQUEST_RECORDS_MAX <= CLIENT_IN_FLIGHT_MAX);
    assert!(REQUEST_BYTES_MAX < CLIENT_IN_FLIGHT_BYTES_MAX);
    assert!(APPEND_ENTRIES_COUNT_MAX * 8 < FRAME_BYTES_MAX);
    // All terms that a registry knows fit into one answer, and a page with the longest addresses.
    assert!(REGISTRY_TERMS_MAX * 10 + 64 < FRAME_BYTES_MAX);
    assert!(REGISTRY_QUESTION_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(REGISTRY_QUESTION_BYTES_MAX < REGISTRY_ANSWER_BYTES_MAX);
    assert!(REGISTRY_ANSWER_BYTES_MAX < READ_SENT_BYTES_PER_CONNECTION);
    // An unread stream between nodes leaves room for the others, on the way out and on the way in.
    // An eighth of the window may be free without QUIC having said so.
    assert!(PEER_STREAMS_MAX * STREAM_WINDOW_BYTES < CONNECTION_WINDOW_BYTES / 8 * 7);
    assert!((PEER_STREAMS_MAX * STREAM_WINDOW_BYTES) as u64 <= SEND_WINDOW_BYTES / 2);
    assert!(STREAM_WINDOW_BYTES < WIDE_WINDOW_BYTES / 8 * 7);
    // The largest frame, request, entry and answer fit into the share of one connection.
    assert!(FRAME_BYTES_MAX + 4 <= ARRIVING_BYTES_PER_CONNECTION);
    assert!(
        FRAME_BYTES_MAX + REQUEST_RECORDS_MAX * (REQUEST_OVERHEAD_BYTES + RECORD_OVERHEAD_BYTES)
            <= INBOUND_BYTES_PER_CONNECTION
    );
    assert!(CLIENT_IN_FLIGHT_BYTES_MAX < INBOUND_BYTES_PER_CONNECTION);
    assert!(READ_LOAD_BYTES <= READ_LOADED_BYTES_PER_CONNECTION);
    assert!(READ_FRAME_COST_MAX <= READ_SENT_BYTES_PER_CONNECTION);
    // What a node hands on fits onto one connection.
    assert!(ONWARD_STREAMS_MAX <= STREAMS_PER_CONNECTION_MAX as usize);
    assert!(READ_FRAME_BYTES_MAX <= RECORD_BYTES_MAX);
    assert!(SESSIONS_BEGUN_PER_SECOND * 60 + SESSIONS_BEGUN_AT_ONCE <= SESSIONS_MAX as u64);
    // What windows can be made to hold, one way and the other.
    let windows = WIDE_WINDOW_BYTES as u64 + WIDE_SEND_WINDOW_BYTES;
    let wide = WIDE_CONNECTIONS_MAX as u64 * windows;
    let narrow = (CONNECTIONS_MAX + CONNECTIONS_RESERVED) as u64 * 2 * NARROW_WINDOW_BYTES as u64;
    assert!(wide + narrow < 300 << 20);
    assert!(
        STREAMS_PER_CONNECTION_MAX * CLIENT_STREAM_WINDOW_BYTES
            < CLIENT_CONNECTION_WINDOW_BYTES / 8 * 7
    );
    assert!(TWIN_PATIENCE.as_millis() >= 2 * PEER_IDLE_TIMEOUT.as_millis());
    assert!(PEER_COUNTS_AFTER.as_millis() > TWIN_PATIENCE.as_millis());
    assert!(PEER_KEEP_ALIVE.as_millis() * 3 <= PEER_IDLE_TIMEOUT.as_millis());
    assert!(CLIENT_KEEP_ALIVE.as_millis() * 3 <= CLIENT_IDLE_TIMEOUT.as_millis());
    // Who is dialled never gives up before who dials does.
    // What a door reads, follows and appends fits onto its connection with the leader.
    assert!(
        HTTP_READS_MAX + HTTP_TAILS_MAX + APPEND_STREAMS_PER_CONNECTION_MAX
            < STREAMS_PER_CONNECTION_MAX as usize
    );
    assert!(
        HTTP_ANSWER_BYTES + RECORD_BYTES_MAX < HTTP_BODIES_BYTES_MAX
            && HTTP_NEWS_BYTES_MAX > RECORD_BYTES_MAX
    );
    assert!(HTTP_WAITING_MAX < HTTP_CONNECTIONS_MAX);
    assert!(HTTP_STRANGERS_MAX < HTTP_CONNECTIONS_MAX && TOKEN_BYTES_MAX < HTTP_HEAD_BYTES_MAX);
    // The door closes well before the node is ended, and no cluster's doors are at another's ports.
    assert!(HTTP_CLOSE_TIMEOUT.as_millis() * 3 < STOP_TIMEOUT.as_millis());
    assert!(HTTP_PORTS_AFTER as usize + NODES_MAX < 100);
    assert!(CONNECT_TIMEOUT_MAX.as_millis() < HANDSHAKE_TIMEOUT.as_millis());
};
