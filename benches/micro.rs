//! `cargo bench`: what the parts cost by themselves.
//!
//! The codec, one proposal through three cores, an append to the store with its barrier, and a
//! recovery. What a whole cluster does, `annal bench` measures; what others do beside it,
//! `benches/peers`. Files are in `target/tmp`: on a disk, since a barrier in memory says nothing.

use std::collections::VecDeque;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use annal::entry::{EntryKind, Request, SealedEntry, Tip, encode_requests};
use annal::limits;
use annal::raft::{
    Configuration, Effect, HardState, Input, Options as RaftOptions, Raft, RecoveredLog, Role,
};
use annal::store::{self, Done, Identity, Options as StoreOptions, Write, Writer};
use annal::types::{
    ClientId, ClusterId, Incarnation, Index, LogId, LogNumber, NodeId, Offset, Seq, SeqRange, Term,
    Ticket, Timestamp,
};
use annal::wire::Frame;
use annal::wire::api::AppendRun;
use annal::wire::conditions::Conditions;
use annal::wire::frame::encode_all;
use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};

const RECORD_BYTES: usize = 100;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for measure in [codec, core, append, recovery] {
        measure(&mut criterion);
    }
    criterion.final_summary();
}

fn node(number: u16) -> NodeId {
    NodeId::new(number).expect("nodes count from 1")
}

fn record() -> Bytes {
    Bytes::from_static(&[b'a'; RECORD_BYTES])
}

/// A request for an entry, of so many records.
fn request(offset: u64, records: usize) -> Request {
    Request {
        log: LogNumber::MAIN,
        first_offset: Offset::new(offset),
        client: ClientId::new(9),
        seq: Seq::FIRST,
        first_unanswered: Seq::FIRST,
        records: vec![record(); records],
        command: None,
    }
}

fn count(records: usize) -> u32 {
    u32::try_from(records).expect("a few")
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for records in [1, 100] {
        let asked = vec![record(); records];
        let append = AppendRun {
            log: LogNumber::MAIN,
            client: ClientId::new(9),
            seqs: SeqRange { first: Seq::FIRST, count: count(records) },
            first_unanswered: Seq::FIRST,
            began_at: Index::ZERO,
            conditions: Conditions::default(),
            command: None,
            lengths: AppendRun::lengths_of(&asked),
        };
        let wire = encode_all(&[append.to_frame(&asked)]).concat();
        let payload = encode_requests(&[request(0, records)]);
        let seal = || {
            let (term, now) = (Term::new(1), Timestamp::new(1));
            SealedEntry::seal(&Tip::default(), EntryKind::Records, term, now, &payload)
        };
        let sealed = seal();
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(BenchmarkId::new("append run, encoded", records), |bencher| {
            bencher.iter(|| encode_all(&[append.to_frame(black_box(&asked))]));
        });
        group.bench_function(BenchmarkId::new("append run, decoded", records), |bencher| {
            let bytes = || BytesMut::from(&wire[..]);
            bencher.iter_batched_ref(
                bytes,
                |bytes| {
                    let frame = Frame::split_from(bytes).expect("it is a frame").expect("whole");
                    AppendRun::from_frame(&frame).expect("of a run")
                },
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("entry, sealed", records), |bencher| {
            bencher.iter(seal);
        });
        group.bench_function(BenchmarkId::new("entry, checked", records), |bencher| {
            bencher.iter(|| {
                let entry = SealedEntry::parse(sealed.bytes().clone()).expect("it was sealed");
                entry.check_follows(&Tip::default()).expect("it follows on nothing");
                entry.runs().expect("it holds runs")
            });
        });
    }
    group.finish();
}

/// Three cores whose messages and writes are done at once.
struct Cores(Vec<Raft>);

impl Cores {
    fn with_leader() -> Self {
        let recovered = RecoveredLog {
            terms: vec![],
            head: LogId::ZERO,
            configuration: Configuration::of([node(1), node(2), node(3)]),
            entries: vec![],
            commit_index: Index::ZERO,
        };
        let core = |number| {
            let options = RaftOptions::new(node(number), 5, (30, 60));
            Raft::recover(options, HardState::default(), recovered.clone(), 1)
        };
        let mut cores = Self([1, 2, 3].map(core).into());
        while !matches!(cores.0[0].role(), Role::Leader(_)) {
            cores.step(node(1), Input::Tick { random: 7 });
        }
        cores
    }

    /// Does everything that follows from one input, and says how many steps that took.
    fn step(&mut self, to: NodeId, input: Input) -> usize {
        let mut inputs = VecDeque::from([(to, input)]);
        let mut steps = 0;
        while let Some((at, input)) = inputs.pop_front() {
            steps += 1;
            for effect in self.0[usize::from(at.get()) - 1].step(input) {
                match effect {
                    Effect::Persist(persist) => {
                        inputs.push_back((at, Input::Persisted { ticket: persist.ticket }));
                    }
                    Effect::Send { to, message } => {
                        inputs.push_back((to, Input::Receive { from: at, message }));
                    }
                    _ => {}
                }
            }
        }
        steps
    }
}

fn core(criterion: &mut Criterion) {
    let mut cores = Cores::with_leader();
    let steps = cores.step(node(1), Input::Propose { bytes: 150 });
    let name = format!("a proposal, committed by three cores in {steps} steps");
    criterion.bench_function(&name, |bencher| {
        bencher.iter(|| cores.step(node(1), Input::Propose { bytes: 150 }));
    });
}

const IDENTITY: Identity = Identity { cluster: ClusterId::new(7), node: NodeId::new(1).unwrap() };

/// A store and the end of its log.
struct Log {
    writer: Writer,
    persisted: mpsc::Receiver<Ticket>,
    tip: Tip,
    next_offset: u64,
    ticket: u64,
}

impl Log {
    fn create(folder: &Path) -> Self {
        let options = store_options();
        let configuration = Configuration::of([IDENTITY.node]);
        store::create(folder, IDENTITY, &configuration, &options).expect("an empty folder");
        let lock = store::lock(folder).expect("nobody else's");
        let (store, _) = store::open(folder, IDENTITY, options, lock).expect("it is new");
        let (done, persisted) = mpsc::channel();
        let writer = store.start_writer(move |done_through| {
            if let Done::Persisted(ticket) = done_through {
                // Whoever measured may have gone.
                let _ = done.send(ticket);
            }
        });
        Self { writer, persisted, tip: Tip::default(), next_offset: 0, ticket: 0 }
    }

    /// The next entry, of so many records.
    fn entry(&mut self, records: usize) -> SealedEntry {
        let payload = encode_requests(&[request(self.next_offset, records)]);
        let (term, now) = (Term::new(1), Timestamp::new(self.next_offset));
        let entry = SealedEntry::seal(&self.tip, EntryKind::Records, term, now, &payload);
        self.next_offset += records as u64;
        self.tip = entry.tip();
        entry
    }

    /// Writes entries and waits until they are on the disk.
    fn write(&mut self, entries: Vec<SealedEntry>) {
        self.ticket += 1;
        let ticket = Ticket::new(self.ticket);
        self.writer.write(Write {
            ticket,
            hard_state: None,
            commit_index: Index::ZERO,
            truncate_from: None,
            entries,
            heads: vec![],
        });
        while self.persisted.recv().expect("the writer runs") < ticket {}
    }
}

fn store_options() -> StoreOptions {
    StoreOptions {
        journal_file_bytes: limits::JOURNAL_FILE_BYTES_DEFAULT,
        start: Incarnation::new(5),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo made it")
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("an append to the store, on the disk");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for entries in [1, 10, 100, 1000] {
        let folder = folder();
        let mut log = Log::create(folder.path());
        group.throughput(Throughput::Elements(entries));
        group.bench_function(BenchmarkId::new("entries", entries), |bencher| {
            bencher.iter_custom(|times| {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let batch = (0..entries).map(|_| log.entry(1)).collect();
                    let began = Instant::now();
                    log.write(batch);
                    took += began.elapsed();
                }
                took
            });
        });
    }
    group.finish();
}

/// Of a node that was killed while all its records were in the segment that it wrote to: every one
/// of them is read and checked.
fn recovery(criterion: &mut Criterion) {
    const RECORDS: usize = 1_000_000;
    const RECORDS_PER_ENTRY: usize = 100;
    const ENTRIES_PER_WRITE: usize = 100;
    let (running, killed) = (folder(), folder());
    let mut log = Log::create(running.path());
    for _ in 0..RECORDS / RECORDS_PER_ENTRY / ENTRIES_PER_WRITE {
        let batch = (0..ENTRIES_PER_WRITE).map(|_| log.entry(RECORDS_PER_ENTRY)).collect();
        log.write(batch);
    }
    // What a killed process leaves: nothing was closed.
    copy_folder(running.path(), killed.path());
    drop(log);
    let mut group = criterion.benchmark_group("recovery");
    group.sample_size(10).throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("1 M records after a crash", |bencher| {
        let as_killed = || {
            let folder = folder();
            copy_folder(killed.path(), folder.path());
            folder
        };
        bencher.iter_batched(
            as_killed,
            |folder| {
                let lock = store::lock(folder.path()).expect("nobody else's");
                let opened = store::open(folder.path(), IDENTITY, store_options(), lock);
                (opened.expect("it was written"), folder)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a disk with room");
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a disk with room");
        }
    }
}
