//! The world of a run: all that is in it, and what happens to it.
//!
//! A [`World`] is one loop over a heap of events. What each event does stands in the file that it is
//! about: `turns` (a node's process), `disks` (writes, ends and starts), `hello` and `put_back` (who is
//! who), `asking` (who may begin anew), `errands` (changes of members), `clients`, `registry`, `striking` (faults), and `calm` (what must come after them). They share
//! the fields of the world; nobody outside of this folder reaches in.

mod asking;
mod calm;
mod clients;
mod disks;
mod errands;
#[cfg(test)]
mod hands;
mod hello;
mod mending;
mod put_back;
mod registry;
mod striking;
mod turns;
#[expect(clippy::module_inception, reason = "the file of the folder's one main type")]
mod world;

pub(super) use world::World;
