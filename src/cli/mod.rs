//! The command line: what the user types, sees, and gets back as an exit code.
//!
//! Four layers, in the order in which they are passed. `args` is the grammar: what was typed. Each
//! noun's file turns that into settings, runs the command, which calls the floors below, and makes
//! rows of what they give back. `rows` has each result in its two forms, for people and as JSON
//! with fixed field names, and `output` alone prints them: data to stdout, talk to stderr. `verb` has
//! what a client can do, once for commands and for the prompt of `shell`.
//!
//! Whatever goes wrong becomes a `failure`: one sentence, a hint, an exit code that never changes
//! its meaning. Logs of long-running commands go through `logs`.
//!
//! This floor decides nothing about the log: what may be promised, retried or repeated is the
//! client's and the node's business.

mod allocator;
mod amount;
mod append;
mod append_progress;
mod args;
mod background;
mod backup;
mod bench;
mod catalogue;
mod certs;
mod children;
mod client;
mod cluster;
mod connection;
mod demo;
mod dispatch;
mod down;
mod entry_rows;
mod escape;
mod examples;
mod failure;
mod fence;
mod gather;
mod grants;
mod init;
mod local;
mod logs;
mod moment;
mod node;
mod output;
mod paper;
mod parent;
mod process;
mod producers;
mod progress;
mod quote;
mod reach;
mod reading;
mod registry;
mod renewal;
mod revoking;
mod rows;
mod running;
mod runtime;
mod shape;
mod shell;
mod sim;
mod state;
mod status_rows;
mod suggest;
mod tokens;
mod top;
mod up;
mod up_lines;
mod usage;
mod verb;
mod verify;

pub use dispatch::main;
