//! The grammar of the command line. What was typed, and nothing about what it does.
//!
//! What belongs to a place and not to a command can also be given by an environment variable, whose
//! name its help shows: where the cluster is, how long to try, how answers and log lines look. An empty
//! one is as good as none, and what is typed wins: a variable that contradicts it is not taken.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::num::ParseIntError;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{BoolishValueParser, Resettable};
use clap::error::ErrorKind;
use clap::{
    Arg, ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
};
use clap_complete::Shell;

use super::amount::{self, Limit};
use super::examples;
use super::moment::moment;
use super::shape::{Shape, Template};
use crate::access::LogPattern;
use crate::address::{Address, AddressError};
use crate::client::AppendOptions;
use crate::date::parse_rfc3339;
use crate::label::{FenceToken, Label, LabelError, ProducerName};
use crate::limits;
use crate::log_name::LogName;
use crate::log_settings::{ContentType, Expiry, LogSettings};
use crate::net::CertificateRole;
use crate::retention::Retention;
use crate::sim::{self, Class};
use crate::types::{Index, NameError, NodeId, Offset, Timestamp};

/// A durable, replicated log: Raft over QUIC, every acknowledged record on a majority of disks.
#[derive(Debug, Parser)]
#[command(name = "annal", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done · 1 failed · 2 usage · 3 no leader or no quorum · \
    4 condition not met · 5 outcome unknown · 6 damage found · 124 timed out")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) shared: Shared,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Flags with a variable that do not go with certain others.
const DEPENDENT: [&str; 1] = ["json"];

impl Arguments {
    /// What was typed, and what the environment adds to it.
    pub(super) fn of_process() -> Result<Self, clap::Error> {
        let words = || env::args_os();
        let command = without_env(Self::grammar(), &is_empty);
        match Self::parsed(command.clone(), words()) {
            Err(error) if is_contradiction(&error) => {
                let depends = |flag: &Arg| DEPENDENT.contains(&flag.get_id().as_str());
                Self::parsed(without_env(command, &depends), words())
            }
            parsed => parsed,
        }
    }

    /// The grammar, with examples.
    pub(super) fn grammar() -> clap::Command {
        examples::added(plain(Self::command()))
    }

    fn parsed(
        mut command: clap::Command,
        words: impl Iterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let matches = command.try_get_matches_from_mut(words)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

/// The command, whose help names variables and not what is in them.
fn plain(command: clap::Command) -> clap::Command {
    command.mut_args(|flag| flag.hide_env_values(true)).mut_subcommands(plain)
}

/// Whether flags do not go together, which may be the environment's fault.
fn is_contradiction(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::ArgumentConflict | ErrorKind::MissingRequiredArgument)
}

/// Whether the flag's variable is set to nothing.
fn is_empty(flag: &Arg) -> bool {
    flag.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty())
}

/// The command with some flags' variables not looked at.
pub(super) fn without_env(command: clap::Command, ignored: &dyn Fn(&Arg) -> bool) -> clap::Command {
    let ignore = |flag: Arg| if ignored(&flag) { flag.env(Resettable::Reset) } else { flag };
    command.mut_args(ignore).mut_subcommands(|inner| without_env(inner, ignored))
}

/// The groups of flags that are not a command's own, below those that are.
const CONNECTION: &str = "Connection";
const LOGGING: &str = "Logging";

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(super) struct Shared {
    /// Print JSON, one object per line
    #[arg(long, global = true, env = "ANNAL_JSON", action = ArgAction::SetTrue)]
    // Below a command's own flags.
    #[arg(display_order = 900)]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(super) json: bool,

    /// How log lines look on stderr: human or json
    #[arg(
        long,
        global = true,
        env = "ANNAL_LOG_FORMAT",
        value_name = "FORMAT",
        hide_possible_values = true,
        help_heading = LOGGING,
        default_value = "human"
    )]
    pub(super) log_format: LogFormat,

    /// Which log lines to show besides the usual ones, as `debug` or `annal::raft=debug`
    #[arg(long, global = true, env = "ANNAL_LOG", value_name = "FILTER")]
    #[arg(help_heading = LOGGING)]
    pub(super) log_filter: Option<String>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Time, level, node, message.
    Human,
    /// An object a line.
    Json,
}

impl LogFormat {
    /// The word that chooses it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take the tour: a cluster, a crash, a recovery, and the proof that nothing was lost
    Demo(Demo),
    /// Start a registry and nodes in this terminal; Ctrl-C stops them
    Up(Up),
    /// Stop what `annal up` has started, here or in another terminal
    Down(Down),
    /// Write the configuration and certificates of a new cluster
    Init(Init),
    /// Run a node, or look into a stopped one
    #[command(subcommand)]
    Node(Node),
    /// Read all of a backup, or all that a stopped node has, and say whether it is what was written
    Verify(Verify),
    /// Append records: each argument one, or each line of the input
    Append(Short<Append>),
    /// Read records, from the first or from where you say
    Read(Short<Read>),
    /// Show the last records, and with -f those to come
    Tail(Short<Tail>),
    /// Set or show the log's fence, which an append can name
    Fence(Short<Fence>),
    /// Create, list, close and delete logs
    Log(Short<Logs>),
    /// Let the log begin later: the records before are gone
    Trim(Short<Trim>),
    /// Show how far a producer is: its last record's number and offset
    Outcome(Short<OutcomeOf>),
    /// Show which producers there are, or forget one
    Producers(Short<Producers>),
    /// Show every node's state
    Status(Short<Look>),
    /// Watch nodes, rates and events on a screen; q ends it
    Top(Connection),
    /// Show who leads
    Leader(Connection),
    /// Show who led each term, oldest first, as the registry knows
    Terms(Connection),
    /// Crash the leader and wait for the next
    CrashLeader(Connection),
    /// Make, renew, show and revoke certificates
    Cert(Certs),
    /// Make, show and revoke access tokens, for HTTP
    Token(Tokens),
    /// Show who the members are, and add, remove, replace and move them, while the cluster is in use
    Cluster(Cluster),
    /// Open a prompt for these verbs, which shows who leads
    Shell(Connection),
    /// Run one of these verbs, or without any open the prompt
    Client(Client),
    /// Run the registry, or ask it who led when
    #[command(subcommand)]
    Registry(Registry),
    /// Run whole clusters in a simulation, with faults, and judge them by laws
    Sim(Sim),
    /// Measure appends, beside the floors of this machine, and that none is lost
    Bench(Bench),
    /// Print what a shell needs to complete all this
    Completions(Completions),
    /// Write a manual page for each command
    Man(Manual),
    /// Print the version
    Version,
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell
    #[arg(value_name = "SHELL")]
    pub(super) shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Manual {
    /// The folder to write them to
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
}

/// Without a command: appends of a fixed number of requests in flight.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Bench {
    #[command(subcommand)]
    pub(super) kind: Option<BenchKind>,

    #[command(flatten)]
    pub(super) load: BenchLoad,
}

#[derive(Debug, Subcommand)]
pub(super) enum BenchKind {
    /// Measure what an append cannot take less than: a sync, and round trips
    Floor(BenchFloor),
    /// Kill leaders under load, and measure until the next acknowledgement
    Failover(BenchFailover),
    /// Append to many logs in turn, and compare with one
    Logs(BenchLogs),
    /// Let many readers follow a log over HTTP, and measure how soon they have each record
    Followers(BenchFollowers),
}

#[derive(Debug, Args)]
pub(super) struct BenchLoad {
    #[command(flatten)]
    pub(super) connection: Connection,

    /// How many nodes the cluster has that is made for this, in a temporary folder
    #[arg(long, value_name = "N", default_value_t = limits::NODES_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=7))]
    pub(super) cluster: u16,

    /// Measure the cluster of --dir or --nodes instead: the records stay in its log
    #[arg(long, conflicts_with = "cluster")]
    pub(super) here: bool,

    /// Bytes of a record
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub(super) size: usize,

    /// Requests in flight, over all connections
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(super) inflight: usize,

    /// Clients, each with a connection and a session of its own
    #[arg(long, value_name = "N", default_value = "1")]
    #[arg(value_parser = at_least_one)]
    pub(super) connections: usize,

    /// Records of a request
    #[arg(long, value_name = "N", default_value = "1")]
    #[arg(value_parser = at_least_one)]
    pub(super) batch: usize,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s")]
    #[arg(value_parser = duration)]
    pub(super) duration: Duration,

    /// How long to append before that
    #[arg(long, value_name = "TIME", default_value = "2s")]
    #[arg(value_parser = duration)]
    pub(super) warmup: Duration,

    /// Do not read the records back
    #[arg(long)]
    pub(super) no_verify: bool,
}

#[derive(Debug, Args)]
pub(super) struct BenchLogs {
    /// How many logs
    #[arg(long, value_name = "N", default_value = "1000")]
    #[arg(value_parser = at_least_one)]
    pub(super) logs: usize,

    /// Callers with one append in flight each
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(super) inflight: usize,

    /// How long to append to one log, and then to all
    #[arg(long, value_name = "TIME", default_value = "5s")]
    #[arg(value_parser = duration)]
    pub(super) duration: Duration,
}

#[derive(Debug, Args)]
pub(super) struct BenchFollowers {
    /// How many readers follow
    #[arg(long, value_name = "N", default_value = "1000")]
    #[arg(value_parser = at_least_one)]
    pub(super) readers: usize,

    /// Appends in a second
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) rate: u32,

    /// How long to append
    #[arg(long, value_name = "TIME", default_value = "5s")]
    #[arg(value_parser = duration)]
    pub(super) duration: Duration,
}

#[derive(Debug, Args)]
pub(super) struct BenchFloor {
    /// A folder on the disk in question
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) data: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct BenchFailover {
    /// How many leaders to kill
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) trials: u32,
}

/// A node and where it is, as `n1=node1.example.org:7101`.
fn node_and_address(text: &str) -> Result<(NodeId, Address), String> {
    let (node, address) = text.split_once('=').ok_or("it is said as n1=node1.example.org:7101")?;
    let node = node.parse().map_err(|error: NameError| error.to_string())?;
    Ok((node, address.parse().map_err(|error: AddressError| error.to_string())?))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

/// One seed decides all that happens in a run: the same seed, the same run.
#[derive(Clone, Debug, Args)]
pub(super) struct Sim {
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,

    /// How many seeds to run, from the first one on
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) seeds: u64,

    /// Print a line for everything that happens
    #[arg(long)]
    pub(super) trace: bool,

    /// Run with a known bug, which the laws have to find (builds with the feature `mutants`)
    #[arg(long, value_name = "NAME|N")]
    pub(super) mutant: Option<String>,

    /// Begin with this scenario, whatever the seed would draw
    #[arg(long, value_name = "NAME")]
    pub(super) scenario: Option<sim::Template>,

    /// Leave out these classes of faults
    #[arg(long, value_name = "CLASS,…", value_delimiter = ',')]
    pub(super) off: Vec<Class>,

    /// Leave out all scheduled faults but these, by their numbers; `none` for all
    #[arg(long, value_name = "N,…")]
    pub(super) faults: Option<FaultNumbers>,

    /// How many clients append and read, at most
    #[arg(long, value_name = "N")]
    pub(super) clients: Option<usize>,

    /// How many threads to use [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub(super) jobs: Option<usize>,

    /// Do not look for the shortest list of faults that breaks a law, too
    #[arg(long)]
    pub(super) no_shrink: bool,

    /// Print how often each rare path was taken, at the end
    #[arg(long)]
    pub(super) marks: bool,
}

/// Numbers of faults in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FaultNumbers(pub(super) BTreeSet<usize>);

impl FromStr for FaultNumbers {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        if text == "none" {
            return Ok(Self(BTreeSet::new()));
        }
        text.split(',').map(|number| number.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

#[derive(Clone, Debug, Args)]
pub(super) struct Demo {
    /// Where to keep the cluster [default: a fresh temporary folder]
    #[arg(long)]
    pub(super) dir: Option<PathBuf>,

    /// The registry's port; the nodes' follow [default: free ports]
    #[arg(long, value_name = "P")]
    pub(super) base_port: Option<u16>,

    /// Leave the cluster up and its folder in place
    #[arg(long)]
    pub(super) keep: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct Up {
    /// How many nodes a new cluster gets
    #[arg(long, value_name = "N")]
    pub(super) nodes: Option<u16>,

    /// Where certs/ and data/ are
    #[arg(long, env = "ANNAL_DIR", default_value = ".")]
    pub(super) dir: PathBuf,

    /// The registry's port in a new cluster; the nodes' follow [default: 7100, or the next free ones]
    #[arg(long, value_name = "P")]
    pub(super) base_port: Option<u16>,

    /// Restart what crashes
    #[arg(long)]
    pub(super) restart: bool,

    /// Leave it running in the background, its log in data/up.log; `annal down` stops it
    #[arg(short = 'd', long)]
    pub(super) detach: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct Down {
    /// Where certs/ and data/ are
    #[arg(long, env = "ANNAL_DIR", default_value = ".")]
    pub(super) dir: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(super) struct Init {
    /// How many nodes on this machine
    #[arg(long, value_name = "N", default_value_t = limits::NODES_DEFAULT)]
    pub(super) nodes: u16,

    /// Where to write certs/ and data/, or hosts/
    #[arg(long, env = "ANNAL_DIR", default_value = ".")]
    pub(super) dir: PathBuf,

    /// The registry's port; the nodes' follow [default: 7100, or the next that are free]
    #[arg(long, value_name = "P")]
    pub(super) base_port: Option<u16>,

    /// A node on a machine of its own, as n1=node1.example.org:7101; once for each. In hosts/ is written
    /// what each machine needs
    #[arg(long = "node", value_name = "NAME=HOST:PORT", value_parser = node_and_address,
        conflicts_with_all = ["nodes", "base_port"])]
    pub(super) hosts: Vec<(NodeId, Address)>,

    /// Where the registry will be, beside such nodes
    #[arg(long, value_name = "HOST:PORT", requires = "hosts")]
    pub(super) registry: Option<Address>,

    /// A client of such nodes; once for each. In clients/ is written what each needs
    #[arg(long = "client", value_name = "NAME", requires = "hosts")]
    pub(super) clients: Vec<String>,

    /// Do not allow `crash-leader`, and open no door for HTTP
    #[arg(long)]
    pub(super) production: bool,

    /// Begin with the log of this backup; once more for each that follows on it, in order
    #[arg(long, value_name = "FILE")]
    pub(super) from: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Node {
    /// Run or restart a node in the foreground
    Start(NodeStart),
    /// Look into a stopped node's data, on a copy
    Inspect(NodeInspect),
    /// Give a stopped node another term, after one that nobody can have reached got onto its disk
    ///
    /// A term that was made up (by whoever has a node's key) leaves a cluster without elections. Stop
    /// all nodes. Run this on each of them, without --term. If it refuses on one because that node's
    /// term is plausible beside its last entry, the entries of that term are real: give the others a
    /// higher one with --term instead, as `annal node inspect` shows it. Issue new certificates before
    /// the nodes start again. Never run it while another node of the cluster runs.
    SetTerm(NodeSetTerm),
    /// Have a stopped node begin anew: set its data aside, and let the others fill it
    ///
    /// For a node whose data is damaged or older than what it has promised, where `recover = "manual"` in
    /// node.toml keeps it from doing so by itself. What is there stays in the folder under names that begin
    /// with `suspect-`. When the node is started, the others take it as a learner, fill it, and make it a
    /// voter again; until then it counts for nothing, so a majority of the others has to run. If the newest
    /// state of the folder is somewhere, put that in its place instead.
    ///
    /// By itself a node does this only while a majority of the others is sound. This command asks nobody: where a
    /// majority has begun anew, nobody is ever elected again, and no folder that is put back changes that.
    Recover(NodeRecover),
}

#[derive(Clone, Debug, Args)]
pub(super) struct NodeStart {
    /// The node's folder; its last part is the node's name
    #[arg(long, value_name = "FOLDER")]
    pub(super) data: PathBuf,

    /// Where certs/ is, if not two folders above the data
    #[arg(long, env = "ANNAL_DIR", default_value = ".")]
    pub(super) dir: PathBuf,

    #[command(flatten)]
    pub(super) child: ChildOptions,
}

/// How a child of `annal up` is told that it is one.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct ChildOptions {
    /// Stop when standard input ends: the parent holds the other end
    #[arg(long, hide = true)]
    pub(super) parent_pipe: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct NodeInspect {
    /// The node's folder
    #[arg(long, value_name = "FOLDER")]
    pub(super) data: PathBuf,

    /// Verify the chain up to this entry [default: the last]
    #[arg(long, value_name = "INDEX", value_parser = index)]
    pub(super) at: Option<Index>,

    /// Show the entries from this one on, with their records, instead of the sum
    #[arg(long, value_name = "INDEX", value_parser = index, conflicts_with = "at")]
    pub(super) from: Option<Index>,

    /// Show so many entries at most
    #[arg(long, value_name = "N", requires = "from")]
    pub(super) limit: Option<u64>,
}

/// Nothing is changed: the folder may be on a file system that is mounted read-only.
#[derive(Clone, Debug, Args)]
pub(super) struct Verify {
    /// A backup, and those that follow on it, in order
    #[arg(value_name = "FILE", required_unless_present = "data", conflicts_with = "data")]
    pub(super) files: Vec<PathBuf>,

    /// A stopped node's folder
    #[arg(long, value_name = "FOLDER")]
    pub(super) data: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct NodeRecover {
    /// The node's folder
    #[arg(long, value_name = "FOLDER")]
    pub(super) data: PathBuf,

    /// That this node is stopped, and that what it has promised is in the others' hands
    #[arg(value_name = "begin-anew", value_parser = ["begin-anew"])]
    pub(super) confirmation: String,
}

#[derive(Clone, Debug, Args)]
pub(super) struct NodeSetTerm {
    /// The node's folder
    #[arg(long, value_name = "FOLDER")]
    pub(super) data: PathBuf,

    /// The term [default: the lowest that is safe]
    #[arg(long, value_name = "TERM")]
    pub(super) term: Option<u64>,

    /// That no node of the cluster runs: what this takes back, none may rely on
    #[arg(value_name = "all-nodes-are-stopped", value_parser = ["all-nodes-are-stopped"])]
    pub(super) confirmation: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum Registry {
    /// Run the registry in the foreground
    Start(RegistryStart),
    /// Who led last
    Leader(Connection),
    /// Who led each term, oldest first
    Terms(Connection),
    /// Have the registry forget who led a term that was made up (admins only)
    Forget(RegistryForget),
}

#[derive(Clone, Debug, Args)]
pub(super) struct RegistryForget {
    /// The term
    #[arg(long, value_name = "TERM")]
    pub(super) term: u64,

    /// All later terms as well
    #[arg(long)]
    pub(super) and_later: bool,

    #[command(flatten)]
    pub(super) connection: Connection,
}

#[derive(Clone, Debug, Args)]
pub(super) struct RegistryStart {
    /// The registry's folder
    #[arg(long, value_name = "FOLDER", default_value = "./data/registry")]
    pub(super) data: PathBuf,

    /// Where certs/ is, if not two folders above the data
    #[arg(long, env = "ANNAL_DIR", default_value = ".")]
    pub(super) dir: PathBuf,

    #[command(flatten)]
    pub(super) child: ChildOptions,
}

/// How to reach a cluster.
#[derive(Clone, Debug, Args)]
pub(super) struct Connection {
    /// Where certs/ is [default: here, or the next folder above that has it]
    #[arg(long, global = true, env = "ANNAL_DIR", default_value = ".", hide_default_value = true)]
    #[arg(help_heading = CONNECTION)]
    pub(super) dir: PathBuf,

    /// The registry's address [default: as certs/cluster.toml says]
    #[arg(long, global = true, env = "ANNAL_REGISTRY", value_name = "ADDR")]
    #[arg(help_heading = CONNECTION)]
    pub(super) registry: Option<String>,

    /// The nodes' addresses [default: as certs/cluster.toml says]
    #[arg(long, global = true, env = "ANNAL_NODES", value_name = "ADDR,…", value_delimiter = ',')]
    #[arg(help_heading = CONNECTION)]
    pub(super) nodes: Vec<String>,

    /// How long to try, as 500ms or 1m, or `none` [default: 5s; for lines that are appended none]
    #[arg(long, global = true, env = "ANNAL_TIMEOUT", value_name = "TIME")]
    #[arg(value_parser = timeout, help_heading = CONNECTION)]
    pub(super) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = false)]
pub(super) struct Client {
    #[command(flatten)]
    pub(super) connection: Connection,

    #[command(subcommand)]
    pub(super) verb: Option<ClientVerb>,
}

/// A verb of the client as a command of its own.
#[derive(Debug, Args)]
pub(super) struct Short<T: Args> {
    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    flags: T,
}

impl<T: Args> Short<T> {
    /// What it is short for.
    pub(super) fn client(self, verb: impl FnOnce(T) -> ClientVerb) -> Client {
        self.connection.client(verb(self.flags))
    }
}

impl Connection {
    /// The client's command that this verb is short for.
    pub(super) fn client(self, verb: ClientVerb) -> Client {
        Client { connection: self, verb: Some(verb) }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum ClientVerb {
    /// Append records: each argument one, or each line of the input
    Append(Append),
    /// Read records, from the first or from where you say
    Read(Read),
    /// Show the last records, and with -f those to come
    Tail(Tail),
    /// Set or show the log's fence, which an append can name
    Fence(Fence),
    /// Create, list, close and delete logs
    Log(Logs),
    /// Let the log begin later: the records before are gone
    Trim(Trim),
    /// Show how far a producer is: its last record's number and offset
    Outcome(OutcomeOf),
    /// Show which producers there are, or forget one
    Producers(Producers),
    /// Show every node's state
    Status(Look),
    /// Watch nodes, rates and events on a screen; q ends it
    Top,
    /// Show who leads
    Leader,
    /// Show who led each term, oldest first, as the registry knows
    Terms,
    /// Crash the leader and wait for the next
    CrashLeader,
    /// Write the log of the running cluster into a file, as an admin
    Backup(Backup),
}

/// All that was acknowledged before it begins is in it: every log with its offsets, times and settings,
/// producers and fences. It is read from one node's disk, makes way for appends, and goes on at another node
/// where one fails. The file gets its name when all of it is on the disk.
#[derive(Clone, Debug, Args)]
pub(super) struct Backup {
    /// The file to write, which is not there yet
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,

    /// Only what came after this backup; to restore it takes both
    #[arg(long, value_name = "FILE")]
    pub(super) from: Option<PathBuf>,
}

/// Of which log.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct OfLog {
    /// The log, as `annal log create` made it [default: main]
    #[arg(long = "log", global = true, env = "ANNAL_LOG_NAME", value_name = "NAME")]
    pub(super) log_name: Option<LogName>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct Append {
    #[command(flatten)]
    pub(super) of: OfLog,

    /// The records, in one request; `-` alone takes each line of standard input, but after `--`
    /// every word is a record
    #[arg(value_name = "TEXT", required_unless_present = "file", conflicts_with = "file")]
    pub(super) records: Vec<OsString>,

    /// Take each line of this file as a record
    #[arg(long, value_name = "F")]
    pub(super) file: Option<PathBuf>,

    /// Take each line as an object that `annal read --json` printed, and append its record
    #[arg(long)]
    pub(super) from_json: bool,

    /// Repeat an append whose outcome is unknown; its records must be given again
    #[arg(long = "as", value_name = "TOKEN")]
    pub(super) token: Option<String>,

    /// Append lines as this producer, which goes on where its last process was: lines of the input that
    /// are in the log already are left out
    #[arg(long, value_name = "NAME", value_parser = label::<64>, conflicts_with = "token")]
    pub(super) producer: Option<ProducerName>,

    #[command(flatten)]
    pub(super) conditions: AppendConditions,
}

/// What must be so for an append.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Conditions")]
pub(super) struct AppendConditions {
    /// Append only if the next offset is N; of lines, only if nobody appends between them either
    #[arg(long, value_name = "N")]
    pub(super) expect_offset: Option<u64>,

    /// Append only if this is the log's fence, as `annal fence` set it
    #[arg(long, value_name = "TOKEN", value_parser = label::<36>)]
    pub(super) fence: Option<FenceToken>,
}

impl AppendConditions {
    /// As the client takes them.
    pub(super) fn options(&self) -> AppendOptions {
        AppendOptions { expect_offset: self.expect_offset.map(Offset::new), fence: self.fence }
    }

    /// Those of lines that come after so many.
    pub(super) fn after(&self, lines: u64) -> Self {
        let later = |offset: u64| offset.saturating_add(lines);
        Self { expect_offset: self.expect_offset.map(later), fence: self.fence }
    }

    /// The flags that say them.
    pub(super) fn flags(&self) -> Vec<OsString> {
        let expected =
            self.expect_offset.map(|at| ["--expect-offset".into(), at.to_string().into()]);
        let fence = self.fence.map(|token| ["--fence".into(), token.to_string().into()]);
        expected.into_iter().chain(fence).flatten().collect()
    }
}

impl Append {
    /// These records, as one request.
    pub(super) fn of(records: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            records: records.into_iter().collect(),
            file: None,
            from_json: false,
            token: None,
            producer: None,
            conditions: AppendConditions::default(),
            of: OfLog::default(),
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(super) struct Read {
    #[command(flatten)]
    pub(super) of: OfLog,

    #[command(flatten)]
    pub(super) range: Range,

    #[command(flatten)]
    pub(super) form: Form,

    /// Read what a node knows to be committed, though newer records may be acknowledged
    #[arg(long)]
    pub(super) stale: bool,

    /// Have this node serve it, from its own disk
    #[arg(long, value_name = "NAME")]
    pub(super) node: Option<NodeId>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct Tail {
    #[command(flatten)]
    pub(super) of: OfLog,

    #[command(flatten)]
    pub(super) range: Range,

    #[command(flatten)]
    pub(super) form: Form,
}

/// Which fence the log is to have.
#[derive(Clone, Debug, Args)]
pub(super) struct Fence {
    #[command(flatten)]
    pub(super) of: OfLog,

    /// The fence to set: 1 to 36 printable characters without a space [default: show it]
    #[arg(value_name = "TOKEN", value_parser = label::<36>)]
    pub(super) token: Option<FenceToken>,

    /// Take it away: then no append that names one is taken
    #[arg(long, conflicts_with = "token")]
    pub(super) clear: bool,
}

/// What is to be done with logs.
#[derive(Clone, Debug, Args)]
pub(super) struct Logs {
    #[command(subcommand)]
    pub(super) verb: LogVerb,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum LogVerb {
    /// Create a log, unless there is one of this name
    Create {
        /// Its name: letters, digits, `.`, `_`, `-`, and `/` between parts
        #[arg(value_name = "NAME")]
        name: LogName,

        /// Begin with the records of this log, and go on without it: nothing is copied
        #[arg(long, value_name = "LOG")]
        fork_of: Option<LogName>,

        /// Begin with those before this offset [default: all that there are]
        #[arg(long, value_name = "OFFSET", requires = "fork_of")]
        at: Option<u64>,

        #[command(flatten)]
        settings: NewSettings,
    },
    /// Show which logs there are
    List {
        /// Only those whose names begin so
        #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
        prefix: String,
    },
    /// Show how a log stands
    Describe {
        /// Its name
        #[arg(value_name = "NAME")]
        name: LogName,
    },
    /// Change how much of a log is kept, from now on
    Configure {
        /// Its name
        #[arg(value_name = "NAME")]
        name: LogName,

        #[command(flatten)]
        kept: Kept,
    },
    /// Close a log: nothing is appended to it any more
    Close {
        /// Its name
        #[arg(value_name = "NAME")]
        name: LogName,
    },
    /// Delete a log with all its records, once its name is typed again
    Delete {
        /// Its name
        #[arg(value_name = "NAME")]
        name: LogName,

        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// What a log is created with.
#[derive(Clone, Debug, Args)]
pub(super) struct NewSettings {
    /// Of what type its records are, as text/plain; over HTTP it is theirs [default:
    /// application/octet-stream]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<ContentType>,

    #[command(flatten)]
    kept: Kept,

    /// Delete it when nobody has appended to it or read it for so long, as 30m or 7d
    #[arg(long, value_name = "DURATION", value_parser = whole_seconds)]
    expire_idle: Option<Expiry>,

    /// Delete it at this time, as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = expires_at, conflicts_with = "expire_idle")]
    expire_at: Option<Expiry>,
}

/// A time of whole seconds.
fn whole_seconds(text: &str) -> Result<Expiry, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time.subsec_nanos() > 0 {
        return Err("it is counted in whole seconds".to_owned());
    }
    Ok(Expiry::Idle { seconds: time.as_secs() })
}

fn expires_at(text: &str) -> Result<Expiry, String> {
    let time = parse_rfc3339(text);
    time.map(Expiry::At).ok_or_else(|| "a time is as 2026-01-31T12:00:00Z".to_owned())
}

/// How much of a log is kept. What is beyond one of these goes, some time after.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Kept {
    /// Let records go that are older, as 12h or 7d; none keeps all
    #[arg(long = "retention-age", value_name = "TIME", value_parser = amount::age)]
    age: Option<Limit>,

    /// Let the oldest go as long as so many bytes of newer ones are left, as 10GB; none keeps all
    #[arg(long = "retention-bytes", value_name = "BYTES", value_parser = amount::bytes)]
    bytes: Option<Limit>,

    /// Let the oldest go as long as N newer ones are left; none keeps all
    #[arg(long = "retention-records", value_name = "N", value_parser = amount::count)]
    records: Option<Limit>,
}

impl Kept {
    /// What is kept, where this was kept and nothing else is said.
    pub(super) fn upon(self, former: Retention) -> Retention {
        let mut kept = former;
        let limits = [
            (&mut kept.age_ms, self.age),
            (&mut kept.bytes, self.bytes),
            (&mut kept.records, self.records),
        ];
        for (limit, said) in limits {
            if let Some(Limit(said)) = said {
                *limit = said;
            }
        }
        kept
    }

    /// Whether nothing is said.
    pub(super) fn is_silent(self) -> bool {
        let Self { age, bytes, records } = self;
        [age, bytes, records].iter().all(Option::is_none)
    }
}

impl From<NewSettings> for LogSettings {
    fn from(new: NewSettings) -> Self {
        let NewSettings { content_type, kept, expire_idle, expire_at } = new;
        let retention = kept.upon(Retention::ALL);
        Self { content_type, expiry: expire_idle.or(expire_at), retention }
    }
}

/// Where the log is to begin.
#[derive(Clone, Debug, Args)]
pub(super) struct Trim {
    #[command(flatten)]
    pub(super) of: OfLog,

    /// The offset of the first record that stays
    #[arg(long, value_name = "N")]
    pub(super) before: u64,
}

/// Whose outcome.
#[derive(Clone, Debug, Args)]
pub(super) struct OutcomeOf {
    #[command(flatten)]
    pub(super) of: OfLog,

    /// The producer's name
    #[arg(long, value_name = "NAME", value_parser = label::<64>)]
    pub(super) producer: ProducerName,
}

/// What is to be done with producers.
#[derive(Clone, Debug, Args)]
pub(super) struct Producers {
    #[command(flatten)]
    pub(super) of: OfLog,

    #[command(subcommand)]
    pub(super) verb: ProducersVerb,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum ProducersVerb {
    /// Show all of them, and how far they are
    List,
    /// Forget one: its records stay, and its name is free
    Forget {
        /// Its name
        #[arg(value_name = "NAME", value_parser = label::<64>)]
        name: ProducerName,
    },
}

/// What is to be done with the members.
#[derive(Debug, Args)]
pub(super) struct Cluster {
    #[command(flatten)]
    pub(super) connection: Connection,

    #[command(subcommand)]
    pub(super) verb: ClusterVerb,
}

#[derive(Debug, Subcommand)]
pub(super) enum ClusterVerb {
    /// Show who votes, who learns, where they are, and how far behind
    Members,
    /// Add a node: write its folder, and take it as a learner, which votes once it has what the others have
    ///
    /// To be run where `annal init` was run: ca.key is there. It says how the new node is started, and waits
    /// until it votes, ten minutes at most or as --timeout says. Interrupted, or out of time, it can be given again: what was begun goes on by itself.
    Add {
        /// The new node's name, as n4
        #[arg(value_name = "NODE")]
        node: NodeId,
        /// Where the others reach it, as node4.example.org:7101
        #[arg(long, value_name = "ADDR")]
        address: Address,
        /// Let it stay a learner: it has the log, and does not vote
        #[arg(long)]
        learner: bool,
        /// Do not wait until it votes
        #[arg(long)]
        no_wait: bool,
    },
    /// Remove a node: it ends when it hears of it
    ///
    /// Refused if those that are left would have no majority that is heard. A leader hands over first.
    Remove {
        /// Which, as n2
        #[arg(value_name = "NODE")]
        node: NodeId,
    },
    /// Put a new node in the place of one, which may be dead
    ///
    /// The new one is added as a learner and filled; then the two change places in one step, so that no more
    /// voters are needed meanwhile than before.
    Replace {
        /// Which is to go, as n2
        #[arg(value_name = "NODE")]
        node: NodeId,
        /// The new node's name, as n5
        #[arg(long, value_name = "NODE")]
        with: NodeId,
        /// Where the others reach the new node, as node5.example.org:7101
        #[arg(long, value_name = "ADDR")]
        address: Address,
        /// Do not wait until they have changed places
        #[arg(long)]
        no_wait: bool,
    },
    /// Let another node lead
    Transfer {
        /// Which, as n3 [default: whoever has most]
        #[arg(long, value_name = "NODE")]
        to: Option<NodeId>,
    },
    /// Say where a node is reached from now on; what it binds is in its node.toml
    Address {
        /// Which, as n2
        #[arg(value_name = "NODE")]
        node: NodeId,
        /// Where the others reach it, as node4.example.org:7101
        #[arg(value_name = "ADDR")]
        address: Address,
    },
}

/// What is to be done with access tokens.
#[derive(Debug, Args)]
pub(super) struct Tokens {
    #[command(flatten)]
    pub(super) connection: Connection,

    #[command(subcommand)]
    pub(super) verb: TokenVerb,
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenVerb {
    /// Make a token, signed with certs/tokens.key, and print it
    Create(NewToken),
    /// Show what a token allows, and until when
    Show {
        /// The token [default: a line of standard input, where nobody sees it]
        #[arg(value_name = "TOKEN")]
        token: Option<String>,
    },
    /// Let a token hold no more, on all nodes, before it expires
    Revoke {
        /// Its id, as `annal token show` has it, or the token [default: a line of standard input]
        #[arg(value_name = "ID|TOKEN")]
        token: Option<String>,
    },
    /// Show which tokens and certificates are revoked and have not expired
    ListRevoked,
    /// Make a new key to sign tokens with; those of the former key hold on
    NewKey {
        /// Let no token hold that a former key has signed
        #[arg(long)]
        drop_former: bool,
    },
}

/// What a token is to be.
#[derive(Debug, Args)]
pub(super) struct NewToken {
    /// For which logs: a name, as orders/eu; all below a part, as orders/*; or all, *. May be repeated
    #[arg(long = "log", value_name = "PATTERN")]
    pub(super) logs: Vec<LogPattern>,

    /// What it allows: read, append, manage (create, close, delete), and observe (see the cluster's state)
    #[arg(long, value_name = "RIGHT,…", value_delimiter = ',', required = true)]
    #[arg(hide_possible_values = true)]
    pub(super) allow: Vec<Allowed>,

    /// How long it holds, as 12h or 30d
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = life)]
    pub(super) expires: Duration,

    /// What to call it, for whoever sees it listed
    #[arg(long, value_name = "NAME", value_parser = label::<64>)]
    pub(super) name: Option<Label<64>>,
}

/// What is to be done with certificates.
#[derive(Debug, Args)]
pub(super) struct Certs {
    #[command(flatten)]
    pub(super) connection: Connection,

    #[command(subcommand)]
    pub(super) verb: CertVerb,
}

#[derive(Debug, Subcommand)]
pub(super) enum CertVerb {
    /// Make a certificate with a new key: for a client, or for a node in the place of its lost one
    Issue(NewCertificate),
    /// Make certificates anew, each with a new key and what it allows: those that expire within 30 days
    Renew {
        /// Those of these holders, whenever they expire
        #[arg(value_name = "NAME", conflicts_with = "all")]
        names: Vec<String>,
        /// All, whenever they expire
        #[arg(long)]
        all: bool,
    },
    /// Let a certificate hold no more, on all nodes, before it expires
    Revoke {
        /// Its id, as `annal cert show` has it, or its file
        #[arg(value_name = "ID|FILE")]
        certificate: OsString,
    },
    /// Show who has a certificate, until when, and what it allows
    Show {
        /// The one in this file [default: all that were made here]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// What a certificate is to be.
#[derive(Debug, Args)]
pub(super) struct NewCertificate {
    /// What its holder is
    #[arg(value_name = "ROLE", value_enum)]
    pub(super) role: CertRole,

    /// Its holder's name: n1 for a node, registry for the registry
    #[arg(value_name = "NAME")]
    pub(super) name: String,

    /// What a client may do: read, append, manage (create, close, delete), and observe (see the cluster's
    /// state) [default: everything that is not an admin's]
    #[arg(long, value_name = "RIGHT,…", value_delimiter = ',', hide_possible_values = true)]
    pub(super) allow: Vec<Allowed>,

    /// With which logs: a name, as orders/eu; all below a part, as orders/*; or all, *. May be repeated
    #[arg(long = "log", value_name = "PATTERN")]
    pub(super) logs: Vec<LogPattern>,

    /// How long it holds, as 90d
    #[arg(long, value_name = "DURATION", default_value = "365d", value_parser = life)]
    pub(super) expires: Duration,
}

/// What a holder of a certificate can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CertRole {
    /// Appends and reads.
    Client,
    /// A client that may break things, and revoke.
    Admin,
    /// A member of the cluster.
    Node,
    /// The registry.
    Registry,
}

impl From<CertRole> for CertificateRole {
    fn from(role: CertRole) -> Self {
        match role {
            CertRole::Client => Self::Client,
            CertRole::Admin => Self::Admin,
            CertRole::Node => Self::Node,
            CertRole::Registry => Self::Registry,
        }
    }
}

/// What a token or a certificate can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Allowed {
    /// Read logs.
    Read,
    /// Append to them.
    Append,
    /// Create, close, and delete them.
    Manage,
    /// See how the cluster is.
    Observe,
}

/// How long a token or a certificate holds.
fn life(text: &str) -> Result<Duration, String> {
    let (least, most) = (Duration::from_secs(1), limits::TOKEN_LIFE_MAX);
    let life = humantime::parse_duration(text).ok();
    let life = life.filter(|life| (least..=most).contains(life) && life.subsec_nanos() == 0);
    let days = most.as_secs() / (24 * 60 * 60);
    life.ok_or_else(|| format!("it holds for 1s to {days}d, in whole seconds, as 12h or 30d"))
}

/// How often the state is shown.
#[derive(Clone, Debug, Args)]
pub(super) struct Look {
    /// Show it again each second, until interrupted
    #[arg(short = 'w', long)]
    pub(super) watch: bool,
}

/// Which records.
#[derive(Clone, Debug, Args)]
pub(super) struct Range {
    /// Begin at this offset
    #[arg(long, value_name = "N", group = "begin")]
    pub(super) from: Option<u64>,

    /// Begin so many records before the end
    #[arg(short = 'n', long, value_name = "N", group = "begin", alias = "lines")]
    pub(super) last: Option<u64>,

    /// Begin at this time: a date as 2026-01-31 or 2026-01-31T12:00:00Z, or how long ago, as 10m
    #[arg(long, value_name = "TIME", group = "begin", value_parser = moment)]
    pub(super) since: Option<Timestamp>,

    /// End before the first record of this time or later
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(super) until: Option<Timestamp>,

    /// At most so many records
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u64>,

    /// Go on with what is appended later, until interrupted
    #[arg(short = 'f', long)]
    pub(super) follow: bool,
}

/// How records look.
#[derive(Clone, Debug, Args)]
pub(super) struct Form {
    /// Print the bytes of one record, and nothing else
    #[arg(long, group = "form", conflicts_with_all = ["limit", "follow", "json"])]
    pub(super) raw: bool,

    /// End each record with a NUL instead of a newline, as `xargs -0` takes it
    #[arg(short = '0', long, group = "form", conflicts_with = "json")]
    pub(super) null: bool,

    /// Print this for each record: %o offset, %t time, %T term, %i entry, %r record; \n ends a line
    #[arg(long, value_name = "TEXT", group = "form", conflicts_with = "json")]
    #[arg(value_parser = Template::parse)]
    pub(super) format: Option<Template>,
}

impl Form {
    /// The shape that is asked for.
    pub(super) fn shape(self) -> Shape {
        match self {
            Self { format: Some(template), .. } => Shape::Template(template),
            Self { raw: true, .. } => Shape::Raw,
            Self { null: true, .. } => Shape::Null,
            Self { .. } => Shape::Line,
        }
    }
}

fn label<const MAX: usize>(text: &str) -> Result<Label<MAX>, String> {
    text.parse().map_err(|error: LabelError| error.to_string())
}

fn index(text: &str) -> Result<Index, String> {
    let number: u64 = text.parse().map_err(|_| "an index is a number from 1".to_owned())?;
    match number {
        0 => Err("the first entry has index 1".to_owned()),
        number => Ok(Index::new(number)),
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    match text {
        "none" => Ok(limits::CLIENT_TIMEOUT_NONE),
        text => duration(text).map_err(|error| format!("{error}, or is `none`")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|_| "a time is a number and a unit, as 500ms, 5s or 1m".to_owned())?;
    if duration.is_zero() || duration > limits::CLIENT_TIMEOUT_MAX {
        let highest = humantime::format_duration(limits::CLIENT_TIMEOUT_MAX);
        return Err(format!("a time lies above 0 and is at most {highest}"));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Arguments::grammar().debug_assert();
    }

    /// Every command, with its words.
    fn commands(command: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
        let inner = command
            .get_subcommands()
            .flat_map(|inner| commands(inner, format!("{path} {}", inner.get_name()).trim_start()));
        [(path.to_owned(), command.clone())].into_iter().chain(inner).collect()
    }

    #[test]
    fn every_command_has_examples_and_each_is_understood() {
        for (path, command) in commands(&Arguments::grammar(), "") {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            if command.has_subcommands() && text.is_empty() {
                continue;
            }
            let lines: Vec<_> = text.lines().filter(|line| line.contains("annal ")).collect();
            assert!(!lines.is_empty(), "{path} has no example");
            for line in lines {
                let typed = &line[line.find("annal ").unwrap()..];
                let typed = typed.split("  ").next().unwrap().split(['>', '<']).next().unwrap();
                let words = crate::cli::quote::words(typed).unwrap();
                let understood = Arguments::try_parse_from(words);
                assert!(understood.is_ok(), "{path}: {typed}: {}", understood.unwrap_err());
            }
        }
    }

    #[test]
    fn only_what_belongs_to_a_place_has_a_variable() {
        const OF_A_PLACE: [&str; 8] =
            ["dir", "registry", "nodes", "timeout", "json", "log_filter", "log_format", "log_name"];
        // `up --nodes` is how many, the demo makes a place of its own, and a registry is made there.
        const OTHERS: [&str; 4] =
            ["annal up --nodes", "annal init --nodes", "annal init --registry", "annal demo --dir"];
        fn check(command: &clap::Command, path: &str) {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
                let expected = match name {
                    // As other programs call it.
                    "log_filter" => "ANNAL_LOG".to_owned(),
                    name => format!("ANNAL_{}", name.to_uppercase()),
                };
                let is_other = OTHERS.contains(&format!("{path} --{name}").as_str());
                let has_one = OF_A_PLACE.contains(&name) && !is_other;
                assert_eq!(variable, has_one.then_some(expected), "{path} --{name}");
            }
            for inner in command.get_subcommands() {
                check(inner, &format!("{path} {}", inner.get_name()));
            }
        }
        check(&Arguments::command(), "annal");
    }

    #[test]
    fn options_of_the_connection_may_stand_before_and_after_the_verb() {
        for line in [
            ["annal", "client", "--timeout", "1s", "append", "hi"],
            ["annal", "client", "append", "hi", "--timeout", "1s"],
        ] {
            let Command::Client(client) = Arguments::try_parse_from(line).unwrap().command else {
                panic!("not a client command");
            };
            assert_eq!(client.connection.timeout, Some(Duration::from_secs(1)));
        }
    }

    #[test]
    fn verbs_of_the_client_are_commands_of_their_own() {
        let long = Arguments::try_parse_from(["annal", "client", "tail", "-f", "--timeout", "1s"]);
        let short = Arguments::try_parse_from(["annal", "tail", "-f", "--timeout", "1s"]);
        let (Command::Client(long), Command::Tail(short)) =
            (long.unwrap().command, short.unwrap().command)
        else {
            panic!("not these commands");
        };
        assert_eq!(format!("{:?}", short.client(ClientVerb::Tail)), format!("{long:?}"));
    }

    #[test]
    fn times_and_indexes_have_bounds() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        for bad in ["0s", "5", "-1s", "400days", ""] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(index("7"), Ok(Index::new(7)));
        assert!(index("0").is_err());
    }
}
