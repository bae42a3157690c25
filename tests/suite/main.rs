//! The one integration binary: a module a subject, so that all of it is linked once.

mod raft_cluster;
mod raft_laws;
mod raft_paper;
mod raft_random;
mod raft_scripts;
