//! A durable, replicated log: every acknowledged record is on the disks of a majority, in one order,
//! once.
//!
//! A cluster of nodes keeps one ordered log of records. Raft decides the order; every node keeps its
//! term, vote and entries in sled; nodes, clients and the registry talk over QUIC with mutual TLS.
//! This crate is the client, and with the features `server` and `http` (defaults) all that is behind the
//! program `annal`.
//!
//! # A first program
//!
//! In a folder in which `annal up` has made a cluster:
//!
//! ```
//! use annal::{Client, ReadOptions, Settings};
//!
//! # mod one_node { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/one_node.rs")); }
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #   let cluster = one_node::OneNode::start();
//! #   std::env::set_current_dir(cluster.directory())?;
//!     let client = Client::connect(Settings::from_dir(".")?)?;
//!     let appended = client.append(vec!["hello".into()]).await?;
//!     println!("on the disks of a majority, at offset {}", appended.offset);
//! #   let mut found = vec![];
//!     let mut reader = client.read(ReadOptions::default());
//!     while let Some(records) = reader.next().await? {
//!         for record in records {
//!             println!("{}: {:?}", record.offset, record.bytes);
//! #           found.push((record.offset, record.bytes));
//!         }
//!     }
//! #   assert_eq!(found, [(appended.offset, "hello".into())]);
//! #   cluster.stop().await;
//!     Ok(())
//! }
//! ```
//!
//! # What there is
//!
//! - [`Client::append`] appends a request of one or many records; [`Client::appender`] has many
//!   requests in flight, in order.
//! - [`Client::append_with`] appends only if something is so: that the log ends at an
//!   offset, that nobody has set another fence ([`Client::set_fence`]).
//! - [`Client::log`] is the same client for another log than `main`, which [`Client::create_log`] has made.
//! - [`Client::producer`] has a name, by which the next process goes on where this one was.
//! - [`Client::read`] reads from any offset, once or for ever ([`ReadOptions::follow`]), and goes on at
//!   the next leader without a gap and without a repetition.
//! - An append that fails says whether it is certainly not in the log ([`AppendError::outcome`]). If
//!   nobody can know, its [`Token`] repeats the *same* append: [`Client::resume`]. With
//!   [`Client::prepare`] that works for a process that was killed as well.
//! - [`Client::tail`] is the same as a stream of records, [`Client::first_since`] finds where a time
//!   begins, and [`Client::leader`] says who leads whenever that changes.
//! - [`Client::status`] tells who leads, who follows, and who does not answer.
//! - Every wait ends after [`Settings::timeout`], that of a followed read for new records excepted.
//!   Clients need a tokio runtime, and keep nothing on disk.
//!
//! `examples/` has a program for each: `append`, `follow`, `tail`, `exactly_once`, `producer`,
//! `leader_watch`.
//!
//! # What is promised of this interface
//!
//! The names at the root of the crate, and nothing else. They follow semantic versioning: while the
//! version begins with 0, its second number rises when one of them changes so that a program might
//! need a change, and the third when nothing does. Enums of errors and structs of results may get more
//! variants and fields, [`Settings`] and [`ReadOptions`] more fields: make these two from a value that
//! a function here gives. The crates `bytes` and `tokio` are part of the interface with their version 1, `futures-core` with
//! its 0.3.
//! The modules that the program, the tests and the benches use are reachable, are not shown here, and
//! change whenever that helps.
//!
//! What travels and what is on disk has version numbers of its own; `CHANGELOG.md` says which versions
//! understand each other. The oldest compiler is the one in `Cargo.toml` (`rust-version`); a newer one
//! is no breaking change.
//!
//! # How it is made
//!
//! `cargo floors` builds the documentation of the inside, for those who work on it. Imports go only
//! downward, and each external crate has one door; `tests/suite/architecture.rs` holds this table as
//! data and checks every path.
//!
//! ```text
//! 8  cli        grammar, settings, command, printer: one file per noun
//! 7  node       one node as a process
//! 6  http       a node's door for everybody  sim   a cluster in one thread, with faults
//! 5  client     the public Rust API: sessions, routing, appends, reads
//! 4  registry   Leader_TermX: who led which term; a hint and a witness
//! 3  replica    Raft with the bytes it is about     net   QUIC, TLS, peers
//! 2  store      the log on disk, in sled            wire  frames and messages
//! 1  raft       the pure core of consensus
//! 0  types, access, address, base64, date, label, log_name, log_settings, config, limits, bounded, command,
//!    housekeeping, entry, remedy, retention, marks, members, mutants
//! ```
//!
//! An append flows through them so:
//!
//! ```text
//! cli ─ client ─ wire ─ QUIC ─▶ node/service ─▶ node/driver ─▶ replica ─▶ raft
//!                                                                │
//!                        ┌─ Write ─▶ store/writer: one batch, one barrier ─▶ Persisted ─┐
//!                        └─ Send ──▶ followers check, persist, answer ──▶ accepted ─────┤
//!                                                                                       ▼
//!          one frame of acknowledgements ◀─ node/service ◀─ replica ◀─ Commit ◀─ a quorum
//! ```
//!
//! Where to begin: `raft::border` is the whole border of the core on a page. `store` says what is
//! promised of a disk and how. `entry` is the one form that an entry has everywhere. `decisions` says
//! why things are as they are. Each folder's first page says what it is, how it works and what it does
//! not do; read them from the lowest floor up, or from the one that you came for.

// Reachable, so that the program, the tests and the benches can use them, and not promised: shown
// only by `cargo floors`.
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod access;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod address;
#[cfg(feature = "server")]
mod base64;
mod bounded;
#[cfg(feature = "server")]
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod cli;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod client;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod command;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod config;
#[cfg(feature = "server")]
mod date;
#[cfg_attr(not(annal_floors), doc(hidden))]
#[doc = include_str!("decisions.md")]
pub mod decisions {}
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod entry;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod housekeeping;
#[cfg(feature = "http")]
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod http;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod label;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod limits;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod log_name;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod log_settings;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod marks;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod members;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod mutants;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod net;
#[cfg(feature = "server")]
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod node;
mod outcome;
#[cfg(feature = "server")]
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod raft;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod registry;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod remedy;
#[cfg(feature = "server")]
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod replica;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod retention;
#[cfg(feature = "server")]
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod sim;
#[cfg(feature = "server")]
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod store;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod types;
#[cfg_attr(not(annal_floors), doc(hidden))]
pub mod wire;

#[doc(inline)]
pub use address::{Address, AddressError};
/// A record's bytes, of the crate `bytes`.
#[doc(no_inline)]
pub use bytes::Bytes;
#[doc(inline)]
pub use client::{
    AppendError, AppendOptions, AppendReceiver, AppendSender, Appended, Appender, AskError, Client,
    Consistency, CrashError, Crashed, DiskUse, Fork, Leading, LogError, LogState, NodeStatus,
    OpenError, Outcome, Producer, ProducerState, ReadError, ReadFrom, ReadOptions, Reader, Record,
    RegistryStatus, Role, Settings, SetupError, Status, Step, Tail, Token, TokenError, Unavailable,
    Vitals, Welcome,
};
#[doc(inline)]
pub use config::ConfigError;
#[doc(inline)]
pub use label::{FenceToken, LabelError, ProducerName};
#[doc(inline)]
pub use log_name::{LogName, LogNameError};
#[doc(inline)]
pub use log_settings::{ContentType, ContentTypeError, Expiry, LogSettings};
#[doc(inline)]
pub use net::tls::TlsError;
#[doc(inline)]
pub use net::{BindError, CertificateProblem, Close, ConnectError, Problem, StreamError};
#[doc(inline)]
pub use registry::LookupError;
#[doc(inline)]
pub use retention::Retention;
#[doc(inline)]
pub use types::{
    ClientId, ClusterId, DiskFull, Incarnation, Index, LogNumber, NameError, NodeId, Offset, Seq,
    Term, Timestamp,
};
#[doc(inline)]
pub use wire::FrameError;
#[doc(inline)]
pub use wire::registry::Announcement;
