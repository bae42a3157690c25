//! `annal client …`: append, read, tail, status, crash-leader.

use super::append;
use super::args::{Client as Arguments, ClientVerb, Read, Tail};
use super::connection::{self, Target, target};
use super::failure::{End, Failure};
use super::output::{Printer, talk};
use super::rows::{CrashRow, NodeRow, RecordRow, RegistryRow, StatusRow};
use super::runtime;
use crate::client::{
    Client, Consistency, CrashError, Crashed, NodeStatus, ReadFrom, ReadOptions, Status, Step,
};
use crate::outcome::Outcome;
use crate::types::Offset;

/// Runs a client's command.
pub(super) fn run(args: Arguments, printer: &mut Printer) -> Result<(), End> {
    let Some(verb) = args.verb else {
        let verbs = "append, read, tail, status, crash-leader";
        let hint = format!("one of {verbs}; `annal client --help` says more");
        return Err(Failure::new(Outcome::Usage, "`annal client` needs a command", hint).into());
    };
    // What is wrong with the words is said before anybody is asked for the cluster.
    let verb = match verb {
        ClientVerb::Append(append) => Verb::Append(append::settings(append, &args.connection)?),
        ClientVerb::Read(read) => Verb::Read(read_options(&read)),
        ClientVerb::Tail(tail) => Verb::Read(tail_options(&tail)),
        ClientVerb::Status => Verb::Status,
        ClientVerb::CrashLeader => Verb::CrashLeader,
    };
    let target = target(&args.connection)?;
    if let Verb::Read(options) = &verb
        && args.connection.nodes.is_empty()
    {
        check_node(options, &target)?;
    }
    let is_crash = matches!(verb, Verb::CrashLeader);
    runtime::wait(async {
        let client = if is_crash {
            connection::connect_as_admin(&target)?
        } else {
            connection::connect_as_client(&target)?
        };
        match verb {
            Verb::Append(settings) => append::run(&client, settings, printer).await,
            Verb::Read(options) => read(&client, options, printer).await,
            Verb::Status => status(&client, printer).await,
            Verb::CrashLeader => crash_leader(&client, printer).await,
        }
    })
}

/// What a verb comes to.
enum Verb {
    Append(append::Settings),
    Read(ReadOptions),
    Status,
    CrashLeader,
}

fn read_options(args: &Read) -> ReadOptions {
    let consistency =
        if args.stale { Consistency::Stale { node: args.node } } else { Consistency::Linearizable };
    let from = ReadFrom::Offset(Offset::new(args.from));
    ReadOptions { from, limit: args.limit, consistency, follow: false }
}

/// Whether the cluster has the node that is to be read from.
fn check_node(options: &ReadOptions, target: &Target) -> Result<(), Failure> {
    let Consistency::Stale { node: Some(node) } = options.consistency else { return Ok(()) };
    if target.nodes.iter().any(|(known, _)| *known == node) {
        return Ok(());
    }
    let names: Vec<_> = target.nodes.iter().map(|(known, _)| known.to_string()).collect();
    let sentence = format!("the cluster has no node {node}");
    Err(Failure::new(Outcome::Usage, sentence, format!("its nodes are {}", names.join(", "))))
}

fn tail_options(args: &Tail) -> ReadOptions {
    let from = ReadFrom::Last(args.lines);
    ReadOptions { from, limit: None, consistency: Consistency::Linearizable, follow: args.follow }
}

async fn read(client: &Client, options: ReadOptions, printer: &mut Printer) -> Result<(), End> {
    let mut reader = client.read(options);
    loop {
        let records = match reader.step().await {
            Ok(Some(Step::Records(records))) => records,
            Ok(Some(Step::Waits(error))) => {
                talk(format_args!("waiting: {error}"));
                continue;
            }
            Ok(Some(Step::GoesOn)) => {
                talk("going on");
                continue;
            }
            Ok(None) => return Ok(()),
            Err(error) => return Err(Failure::of(error.outcome(), &error, error.hint()).into()),
        };
        for record in records {
            printer.print(&RecordRow {
                offset: record.offset,
                term: record.term,
                index: record.index,
                time: record.time,
                record: record.bytes,
            })?;
        }
        printer.flush()?;
    }
}

async fn status(client: &Client, printer: &mut Printer) -> Result<(), End> {
    let status = client.status().await;
    printer.print_now(&status_row(&status))?;
    let outcome = status.outcome();
    match status.unavailable {
        // Whatever the reason: there is no leader to work with.
        Some(unavailable) => Err(Failure::of(outcome, &unavailable, unavailable.hint()).into()),
        None => Ok(()),
    }
}

fn status_row(status: &Status) -> StatusRow {
    let announced = status.registry.as_ref().and_then(|registry| registry.said.as_ref().ok());
    let last = announced.and_then(Option::as_ref);
    StatusRow {
        cluster: status.cluster,
        leader: status.leader.map(|leading| leading.node),
        term: status.leader.map(|leading| leading.term),
        nodes: status.nodes.iter().map(|node| node_row(status, node)).collect(),
        registry: RegistryRow {
            reachable: announced.is_some(),
            leader: last.map(|announcement| announcement.node),
            term: last.map(|announcement| announcement.term),
        },
    }
}

fn node_row(status: &Status, node: &NodeStatus) -> NodeRow {
    let said = node.said.as_ref().ok();
    NodeRow {
        node: node.node,
        address: node.address.to_string(),
        role: said.map(|welcome| welcome.role),
        term: said.map(|welcome| welcome.term),
        last_index: said.map(|welcome| welcome.last_index),
        commit_index: said.map(|welcome| welcome.commit_index),
        next_offset: said.map(|welcome| welcome.next_offset),
        lag: status.lag(node),
        reachable: said.is_some(),
        disk_full: said.and_then(|welcome| welcome.disk_full),
        log_ahead_ms: said.map(|welcome| welcome.log_ahead_ms),
    }
}

async fn crash_leader(client: &Client, printer: &mut Printer) -> Result<(), End> {
    let crashed = client.crash_leader().await;
    match &crashed {
        Ok(crashed) => return Ok(printer.print_now(&crash_row(crashed))?),
        Err(CrashError::NoSuccessor { node, term, .. }) => printer.print_now(&CrashRow {
            crashed: *node,
            term: *term,
            new_leader: None,
            new_term: None,
            failover_ms: None,
        })?,
        Err(_) => {}
    }
    let error = crashed.expect_err("success has returned");
    Err(Failure::of(error.outcome(), &error, error.hint()).into())
}

/// A crash as it is shown.
pub(super) fn crash_row(crashed: &Crashed) -> CrashRow {
    CrashRow {
        crashed: crashed.node,
        term: crashed.term,
        new_leader: Some(crashed.new_leader),
        new_term: Some(crashed.new_term),
        failover_ms: u64::try_from(crashed.failover.as_millis()).ok(),
    }
}
