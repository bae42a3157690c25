//! Protocol cases as scripts: `tests/raft/**/*.txt`.
//!
//! A file's name is a sentence. It begins with what it is for; then come commands, and behind `---`
//! what they make the nodes do and say, recorded. `UPDATE_GOLDENFILES=1 cargo test --test suite
//! raft_scripts` records anew; every changed line then wants an explanation. After every command
//! the laws of `raft_laws` have held.
//!
//! A node is written `n1`, a link `n1-n2`. Without nodes or links a command is about all of them.
//!
//! ```text
//! cluster nodes=3 [learners=1, who stay so] [window=BYTES] [count=ENTRIES in a message] [stall=TICKS]
//! load n1 terms="1 1 2" [term=2] [vote=n1]   the node's disk, before it starts again
//! tick [n1…] [count=1] [random=0]     heartbeats every 2 ticks, elections after 10 + random
//! campaign n1                         ticks until the node asks for votes
//! deliver [n2 | n1-n2…] [count=N] [at=POSITION]
//! drop [n2 | n1-n2…] [count=N] [at=POSITION]
//! duplicate n1-n2 [at=POSITION]       sends a copy behind the others
//! write [n1…] [count=N]               the oldest writes get onto the disk
//! persist [n1…] [count=N]             the same, and the core hears of it
//! fetch [n1…] [count=ENTRIES]         the disk answers the oldest question for entries
//! stabilize [n1…]                     delivers, persists and fetches until nothing is left to do
//! propose n1 [bytes=10] [count=1]
//! read n1 token=1
//! cut n1-n2… | cut n1…                what is sent there is lost; a node: both ways to all others
//! heal
//! crash n1 [kept=0] [hard=0]          keeps that many writes, then that many terms and votes
//! restart n1 [head=INDEX]             `head`: the log up to there is in sealed segments
//! restarted n1 peer=n2                n1 hears that n2's process is a new one
//! wipe n1                             ends the node and its disk; it comes back with a new store
//! transfer n1
//! clocks n1 [ahead="n1 n2"]           whose wall clocks the node finds far ahead
//! space n1 [free=BYTES needed=BYTES]   what is free on its disk, if that is too little
//! configure n1 [voters="n1 n2"] [learners="n3"]
//! log [n1…] · status [n1…] · network · disks
//! ```

use std::error::Error;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use annal::members::Aim;
use annal::raft::{
    Configuration, HardState, Input, Options, Progress, Raft, ReadToken, Role, State,
};
use annal::types::{DiskFull, Index, NodeId, Term};
use goldenscript::{Command, Runner};

use crate::raft_cluster::{Cluster, Kept, Node};

const HEARTBEAT_TICKS: u32 = 2;
const ELECTION_TICKS: (u32, u32) = (10, 19);

#[test]
fn every_script_does_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/raft");
    let mut failed = vec![];
    for path in scripts_in(&folder) {
        let run = || goldenscript::run(&mut Script::default(), &path).expect("the script runs");
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            failed.push(path);
        }
    }
    assert!(failed.is_empty(), "scripts failed: {failed:#?}");
}

fn scripts_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    let entries = std::fs::read_dir(folder).expect("a folder of scripts");
    for path in entries.map(|entry| entry.expect("a folder of scripts").path()) {
        if path.is_dir() {
            found.extend(scripts_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            found.push(path);
        }
    }
    found.sort();
    found
}

type Fallible<T = ()> = Result<T, Box<dyn Error>>;

/// Runs one script.
#[derive(Default)]
struct Script {
    cluster: Option<Cluster>,
}

impl Runner for Script {
    fn run(&mut self, command: &Command) -> Fallible<String> {
        if command.name == "cluster" {
            self.cluster = Some(new_cluster(command)?);
            return Ok(String::new());
        }
        let cluster = self.cluster.as_mut().ok_or("a script begins with: cluster nodes=3")?;
        cluster.said = Some(String::new());
        run(cluster, command)?;
        cluster.check_all();
        Ok(cluster.said.take().unwrap_or_default())
    }
}

fn run(cluster: &mut Cluster, command: &Command) -> Fallible {
    match command.name.as_str() {
        "load" => load(cluster, command),
        "tick" => tick(cluster, command),
        "campaign" => campaign(cluster, command),
        "deliver" => each_message(cluster, command, Cluster::deliver),
        "drop" => each_message(cluster, command, drop_message),
        "duplicate" => duplicate(cluster, command),
        "write" => each_write(cluster, command, false),
        "persist" => each_write(cluster, command, true),
        "fetch" => fetch(cluster, command),
        "stabilize" => stabilize(cluster, command),
        "propose" => propose(cluster, command),
        "read" => read(cluster, command),
        "cut" => cut(cluster, command),
        "heal" => {
            cluster.cut.clear();
            command.consume_args().reject_rest()
        }
        "crash" => crash(cluster, command),
        "restart" => restart(cluster, command),
        "restarted" => restarted(cluster, command),
        "wipe" => one_node(cluster, command, Cluster::wipe),
        "transfer" => one_node(cluster, command, |cluster, node| {
            cluster.step(node, Input::Transfer { to: None }, &[]);
        }),
        "clocks" => clocks(cluster, command),
        "space" => space(cluster, command),
        "configure" => configure(cluster, command),
        "log" => each_node(cluster, command, say_log),
        "status" => each_node(cluster, command, say_status),
        "network" => {
            say_network(cluster);
            command.consume_args().reject_rest()
        }
        "disks" => each_node(cluster, command, say_disk),
        other => Err(format!("no such command: {other}").into()),
    }
}

fn new_cluster(command: &Command) -> Fallible<Cluster> {
    let mut args = command.consume_args();
    let nodes: u16 = args.lookup_parse("nodes")?.unwrap_or(3);
    let learners: u16 = args.lookup_parse("learners")?.unwrap_or(0);
    let window: Option<u64> = args.lookup_parse("window")?;
    let count: Option<usize> = args.lookup_parse("count")?;
    let stall: Option<u32> = args.lookup_parse("stall")?;
    args.reject_rest()?;
    let ids = |from: u16, to: u16| (from..to).filter_map(NodeId::new);
    let mut initial = Configuration::of(ids(1, nodes + 1));
    learn(&mut initial, ids(nodes + 1, nodes + learners + 1));
    let options = ids(1, nodes + learners + 1).map(|id| {
        let mut options = Options::new(id, HEARTBEAT_TICKS, ELECTION_TICKS);
        options.window_bytes_max = window.unwrap_or(options.window_bytes_max);
        options.append_count_max = count.unwrap_or(options.append_count_max);
        options.disk_stall_ticks = stall.unwrap_or(options.disk_stall_ticks);
        options.read_stall_ticks = options.disk_stall_ticks;
        options
    });
    Ok(Cluster::new(options.collect(), initial))
}

fn load(cluster: &mut Cluster, command: &Command) -> Fallible {
    let mut args = command.consume_args();
    let id: NodeId = args.next_pos().ok_or("which node?")?.parse()?;
    let terms: String = args.lookup_parse("terms")?.unwrap_or_default();
    let terms: Vec<u64> = terms.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let last = terms.last().copied().unwrap_or(0);
    let current_term = Term::new(args.lookup_parse("term")?.unwrap_or(last));
    let voted_for = args.lookup_parse("vote")?;
    args.reject_rest()?;
    cluster.crash(id, Kept::default());
    cluster.load(id, &terms, HardState { current_term, voted_for });
    cluster.restart(id, Index::ZERO, 0);
    Ok(())
}

fn tick(cluster: &mut Cluster, command: &Command) -> Fallible {
    let mut args = command.consume_args();
    let count: u32 = args.lookup_parse("count")?.unwrap_or(1);
    let random: u64 = args.lookup_parse("random")?.unwrap_or(0);
    let nodes = nodes_of(cluster, &mut args)?;
    for _ in 0..count {
        for id in nodes.iter().copied().filter(|id| cluster.runs(*id)).collect::<Vec<_>>() {
            cluster.step(id, Input::Tick { random }, &[]);
        }
    }
    Ok(())
}

fn campaign(cluster: &mut Cluster, command: &Command) -> Fallible {
    one_node(cluster, command, |cluster, id| {
        for _ in 0..=ELECTION_TICKS.1 {
            if matches!(cluster.raft(id).role(), Role::PreCandidate(_) | Role::Candidate(_)) {
                return;
            }
            cluster.step(id, Input::Tick { random: 0 }, &[]);
        }
    })
}

type Link = (NodeId, NodeId);

/// Messages on their way when the command is given: those that it causes wait for the next.
fn each_message(
    cluster: &mut Cluster,
    command: &Command,
    act: impl Fn(&mut Cluster, NodeId, NodeId, usize),
) -> Fallible {
    let mut args = command.consume_args();
    let count: usize = args.lookup_parse("count")?.unwrap_or(usize::MAX);
    let at: Option<usize> = args.lookup_parse("at")?;
    let links = links_of(cluster, &mut args, |link, node| link.1 == node)?;
    let waiting: Vec<_> = links.iter().map(|link| (*link, waiting(cluster, *link))).collect();
    for ((from, to), waiting) in waiting {
        match at {
            Some(at) if at >= waiting => return Err(format!("{waiting} in {from}-{to}").into()),
            Some(at) => act(cluster, from, to, at),
            None => (0..waiting.min(count)).for_each(|_| act(cluster, from, to, 0)),
        }
    }
    Ok(())
}

fn waiting(cluster: &Cluster, link: Link) -> usize {
    cluster.links.get(&link).map_or(0, std::collections::VecDeque::len)
}

fn drop_message(cluster: &mut Cluster, from: NodeId, to: NodeId, at: usize) {
    let queue = cluster.links.get_mut(&(from, to)).expect("a message is on its way");
    let envelope = queue.remove(at).expect("a message is on its way");
    cluster.say(format_args!("lost: {from} -> {to} {}", envelope.message));
}

fn duplicate(cluster: &mut Cluster, command: &Command) -> Fallible {
    let mut args = command.consume_args();
    let at: usize = args.lookup_parse("at")?.unwrap_or(0);
    for link in links_of(cluster, &mut args, |_, _| false)? {
        let queue = cluster.links.get_mut(&link).ok_or("nothing is on its way")?;
        let copy = queue.get(at).ok_or("nothing is on its way")?.clone();
        queue.push_back(copy);
    }
    Ok(())
}

fn each_write(cluster: &mut Cluster, command: &Command, report: bool) -> Fallible {
    let mut args = command.consume_args();
    let count: usize = args.lookup_parse("count")?.unwrap_or(usize::MAX);
    for id in nodes_of(cluster, &mut args)? {
        for _ in 0..count.min(cluster.nodes[&id].writes.len()) {
            cluster.write_oldest(id);
        }
        if report {
            cluster.report_written(id);
        }
    }
    Ok(())
}

fn fetch(cluster: &mut Cluster, command: &Command) -> Fallible {
    let mut args = command.consume_args();
    let count: usize = args.lookup_parse("count")?.unwrap_or(usize::MAX >> 1);
    for id in nodes_of(cluster, &mut args)? {
        cluster.fetch_oldest(id, count);
    }
    Ok(())
}

fn stabilize(cluster: &mut Cluster, command: &Command) -> Fallible {
    let mut args = command.consume_args();
    let nodes = nodes_of(cluster, &mut args)?;
    for _ in 0..1000 {
        let mut busy = false;
        for id in &nodes {
            while !cluster.nodes[id].writes.is_empty() {
                cluster.write_oldest(*id);
            }
            busy |= cluster.nodes[id].unreported.is_some();
            cluster.report_written(*id);
            busy |= !cluster.nodes[id].fetches.is_empty();
            cluster.fetch_oldest(*id, usize::MAX >> 1);
        }
        let among = |link: &Link| nodes.contains(&link.0) && nodes.contains(&link.1);
        for (from, to) in cluster.links.keys().copied().filter(among).collect::<Vec<_>>() {
            for _ in 0..waiting(cluster, (from, to)) {
                busy = true;
                cluster.deliver(from, to, 0);
            }
        }
        if !busy {
            return Ok(());
        }
    }
    Err("the nodes never come to rest".into())
}

fn space(cluster: &mut Cluster, command: &Command) -> Fallible {
    let mut args = command.consume_args();
    let id = args.next_pos().ok_or("which node?")?.parse()?;
    let free_bytes = args.lookup_parse("free")?;
    let needed_bytes = args.lookup_parse("needed")?.unwrap_or_default();
    args.reject_rest()?;
    let disk_full = free_bytes.map(|free_bytes| DiskFull { free_bytes, needed_bytes });
    cluster.step(id, Input::Space { disk_full }, &[]);
    Ok(())
}

fn propose(cluster: &mut Cluster, command: &Command) -> Fallible {
    let mut args = command.consume_args();
    let bytes: u32 = args.lookup_parse("bytes")?.unwrap_or(10);
    let count: u32 = args.lookup_parse("count")?.unwrap_or(1);
    for id in nodes_of(cluster, &mut args)? {
        for _ in 0..count {
            if !cluster.raft(id).may_propose() {
                return Err(format!("{id} may not propose").into());
            }
            cluster.step(id, Input::Propose { bytes }, &[]);
        }
    }
    Ok(())
}

fn read(cluster: &mut Cluster, command: &Command) -> Fallible {
    let mut args = command.consume_args();
    let token: u64 = args.lookup_parse("token")?.ok_or("token=?")?;
    for id in nodes_of(cluster, &mut args)? {
        cluster.step(id, Input::Read(ReadToken(token)), &[]);
    }
    Ok(())
}

fn cut(cluster: &mut Cluster, command: &Command) -> Fallible {
    let mut args = command.consume_args();
    let everybody: Vec<_> = cluster.nodes.keys().copied().collect();
    for arg in args.rest_pos() {
        if let Some(link) = as_link(&arg.value)? {
            cluster.cut.insert(link);
            continue;
        }
        let id: NodeId = arg.parse()?;
        for other in everybody.iter().copied().filter(|other| *other != id) {
            cluster.cut.extend([(id, other), (other, id)]);
        }
    }
    args.reject_rest()
}

fn crash(cluster: &mut Cluster, command: &Command) -> Fallible {
    let mut args = command.consume_args();
    let writes: usize = args.lookup_parse("kept")?.unwrap_or(0);
    let hard_states: usize = args.lookup_parse("hard")?.unwrap_or(0);
    for id in nodes_of(cluster, &mut args)? {
        cluster.crash(id, Kept { writes, hard_states });
    }
    Ok(())
}

fn restart(cluster: &mut Cluster, command: &Command) -> Fallible {
    let mut args = command.consume_args();
    let head = Index::new(args.lookup_parse("head")?.unwrap_or(0));
    for id in nodes_of(cluster, &mut args)? {
        cluster.restart(id, head, 0);
        say_status(cluster, id);
    }
    Ok(())
}

fn clocks(cluster: &mut Cluster, command: &Command) -> Fallible {
    let mut args = command.consume_args();
    let ahead: String = args.lookup_parse("ahead")?.unwrap_or_default();
    let ahead = ahead.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let id = args.next_pos().ok_or("which node?")?.parse()?;
    args.reject_rest()?;
    cluster.step(id, Input::Clocks { ahead }, &[]);
    Ok(())
}

fn restarted(cluster: &mut Cluster, command: &Command) -> Fallible {
    let mut args = command.consume_args();
    let peer: NodeId = args.lookup_parse("peer")?.ok_or("of which peer?")?;
    for id in nodes_of(cluster, &mut args)? {
        let store = cluster.nodes[&peer].options.store;
        cluster.step(id, Input::Restarted { peer, store }, &[]);
    }
    Ok(())
}

fn configure(cluster: &mut Cluster, command: &Command) -> Fallible {
    let mut args = command.consume_args();
    let id: NodeId = args.next_pos().ok_or("which leader?")?.parse()?;
    let now = cluster.raft(id).log().configuration().clone();
    let named = |text: Option<String>| -> Fallible<Option<Vec<NodeId>>> {
        let parse = |text: String| text.split_whitespace().map(str::parse).collect();
        Ok(text.map(parse).transpose()?)
    };
    let voters = named(args.lookup_parse("voters")?)?;
    let learners = named(args.lookup_parse("learners")?)?;
    args.reject_rest()?;
    let mut next = now.clone();
    if let Some(voters) = voters {
        next.voters = voters.into_iter().collect();
        next.outgoing = now.voters;
    }
    if let Some(learners) = learners {
        learn(&mut next, learners);
    }
    cluster.step(id, Input::ProposeConfiguration(next), &[]);
    Ok(())
}

/// Learners that stay what they are: scripts say themselves who is to vote.
fn learn(configuration: &mut Configuration, learners: impl IntoIterator<Item = NodeId>) {
    configuration.learners = learners.into_iter().collect();
    configuration.aims = configuration.learners.iter().map(|it| (*it, Aim::Stay)).collect();
}

fn one_node(
    cluster: &mut Cluster,
    command: &Command,
    act: impl Fn(&mut Cluster, NodeId),
) -> Fallible {
    let mut args = command.consume_args();
    let id = args.next_pos().ok_or("which node?")?.parse()?;
    args.reject_rest()?;
    act(cluster, id);
    Ok(())
}

fn each_node(
    cluster: &mut Cluster,
    command: &Command,
    act: impl Fn(&mut Cluster, NodeId),
) -> Fallible {
    for id in nodes_of(cluster, &mut command.consume_args())? {
        act(cluster, id);
    }
    Ok(())
}

fn nodes_of(
    cluster: &Cluster,
    args: &mut goldenscript::ArgumentConsumer<'_>,
) -> Fallible<Vec<NodeId>> {
    let named = args.rest_pos();
    args.reject_rest()?;
    if named.is_empty() {
        return Ok(cluster.nodes.keys().copied().collect());
    }
    named.into_iter().map(goldenscript::Argument::parse).collect()
}

fn as_link(text: &str) -> Fallible<Option<Link>> {
    let Some((from, to)) = text.split_once('-') else { return Ok(None) };
    Ok(Some((from.parse()?, to.parse()?)))
}

fn links_of(
    cluster: &Cluster,
    args: &mut goldenscript::ArgumentConsumer<'_>,
    belongs: impl Fn(Link, NodeId) -> bool,
) -> Fallible<Vec<Link>> {
    let named = args.rest_pos();
    args.reject_rest()?;
    if named.is_empty() {
        return Ok(cluster.links.keys().copied().collect());
    }
    let mut links = vec![];
    for arg in named {
        if let Some(link) = as_link(&arg.value)? {
            links.push(link);
        } else {
            let id: NodeId = arg.parse()?;
            links.extend(cluster.links.keys().copied().filter(|link| belongs(*link, id)));
        }
    }
    Ok(links)
}

/// The entries in memory; `|` stands behind what is committed, `!` behind what is known to be on
/// disk.
fn say_log(cluster: &mut Cluster, id: NodeId) {
    let node = &cluster.nodes[&id];
    let mut line = format!("{id}");
    let (entries, raft) = match &node.raft {
        Some(raft) => (&node.log, Some(raft)),
        None => (&node.disk.entries, None),
    };
    line.push_str(if raft.is_some() { ":" } else { " is down, its disk:" });
    let mark = |line: &mut String, index: Index| {
        let Some(raft) = raft else { return };
        if raft.log().commit_index() == index {
            line.push_str(" |");
        }
        if raft.log().persisted() == index {
            line.push_str(" !");
        }
    };
    mark(&mut line, Index::ZERO);
    for entry in entries {
        write!(line, " {}", entry.id).expect("a string takes all");
        if let Some(configuration) = &entry.configuration {
            write!(line, "({configuration})").expect("a string takes all");
        }
        mark(&mut line, entry.id.index);
    }
    cluster.say(format_args!("{line}"));
}

fn say_status(cluster: &mut Cluster, id: NodeId) {
    let node = &cluster.nodes[&id];
    let line = match &node.raft {
        None => format!("{id} is down, its disk: {} last={}", node.disk.hard_state, {
            node.disk.entries.last().map_or_else(|| "0@0".into(), |entry| entry.id.to_string())
        }),
        Some(raft) => status(id, raft),
    };
    cluster.say(format_args!("{line}"));
}

fn status(id: NodeId, raft: &Raft) -> String {
    let log = raft.log();
    let mut line = format!(
        "{id} {} {} last={} commit={} persisted={}",
        raft.role().name(),
        raft.hard_state(),
        log.last(),
        log.commit_index(),
        log.persisted()
    );
    if log.window_first() > Index::new(1) {
        write!(line, " window={}", log.window_first()).expect("a string takes all");
    }
    if let Role::Follower(follower) = raft.role()
        && let Some(leader) = follower.leader
    {
        write!(line, " leader={leader}").expect("a string takes all");
    }
    if let Some((node, _)) = raft.full_node() {
        write!(line, ", no room at {node}").expect("a string takes all");
    }
    if let Some(leader) = raft.role().as_leader() {
        for (node, progress) in &leader.progress {
            write!(line, "\n  {node} {}", describe(progress)).expect("a string takes all");
        }
    }
    line
}

fn describe(progress: &Progress) -> String {
    let state = match &progress.state {
        State::Probe { outstanding: Some(_) } => "probed, asked".into(),
        State::Probe { outstanding: None } => "probed".into(),
        State::Replicate { in_flight } => format!("replicated, {} in flight", in_flight.len()),
        State::Snapshot { received, .. } => format!("sent a head, {received} bytes received"),
    };
    let fetching = if progress.fetching.is_some() { ", fetching" } else { "" };
    let full = if progress.disk_full.is_some() { ", full" } else { "" };
    format!("{state}{fetching}{full}, match={} next={}", progress.match_index, progress.next_index)
}

fn say_network(cluster: &mut Cluster) {
    let lines: Vec<_> = cluster
        .links
        .iter()
        .flat_map(|((from, to), queue)| {
            let line = move |(at, e): (usize, &crate::raft_cluster::Envelope)| {
                format!("{from}-{to} at={at} {}", e.message)
            };
            queue.iter().enumerate().map(line)
        })
        .collect();
    for line in lines {
        cluster.say(format_args!("{line}"));
    }
}

fn say_disk(cluster: &mut Cluster, id: NodeId) {
    let Node { disk, writes, .. } = &cluster.nodes[&id];
    let mut line = format!("{id} {}", disk.hard_state);
    for entry in &disk.entries {
        write!(line, " {}", entry.id).expect("a string takes all");
    }
    for write in writes {
        write!(line, "\n  under way: {}", write.persist).expect("a string takes all");
    }
    cluster.say(format_args!("{line}"));
}
