//! `annal`: a durable, replicated log.
//!
//! A cluster of nodes keeps one ordered log of records. Raft decides the order; every node keeps its
//! term, vote and entries in sled; nodes, clients and the registry talk over QUIC with mutual TLS.
//! An acknowledged record is on the disks of a majority, in one order, once.
//!
//! # The floors
//!
//! Imports go only downward, and each external crate has one door; `tests/suite/architecture.rs`
//! holds this table as data and checks every path.
//!
//! ```text
//! 7  cli        grammar, settings, command, printer: one file per noun
//! 6  node       one node as a process        sim   a cluster in one thread, with faults
//! 5  client     the public Rust API: sessions, routing, appends, reads
//! 4  registry   Leader_TermX: who led which term; a hint and a witness
//! 3  replica    Raft with the bytes it is about     net   QUIC, TLS, peers
//! 2  store      the log on disk, in sled            wire  frames and messages
//! 1  raft       the pure core of consensus
//! 0  types, address, config, limits, bounded, entry, remedy, marks, mutants
//! ```
//!
//! # How an append flows
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
//! # Where to begin
//!
//! [`raft::border`] is the whole border of the core on a page. [`store`] says what is promised of a
//! disk and how. [`entry`] is the one form that an entry has everywhere. [`decisions`] says why
//! things are as they are.

pub mod address;
mod bounded;
pub mod cli;
pub mod client;
pub mod config;
#[doc = include_str!("decisions.md")]
pub mod decisions {}
pub mod entry;
pub mod limits;
pub mod marks;
pub mod mutants;
pub mod net;
pub mod node;
pub mod raft;
pub mod registry;
pub mod remedy;
pub mod replica;
pub mod sim;
pub mod store;
pub mod types;
pub mod wire;
