//! `annal up`: a whole cluster in one terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::args::{self, LogFormat, Shared};
use super::background;
use super::children::{Children, Event, Part, ending};
use super::connection::{self, Target};
use super::escape::escaped;
use super::failure::{End, Failure};
use super::init::{IN_USE, at_free, parts};
use super::output::{Closed, Printer, talk};
use super::parent::ChildWord;
use super::quote::{command_line, program};
use super::rows::ReadyRow;
use super::running::Running;
use super::runtime::{self, Signals};
use super::up_lines::Lines;
use crate::address::Address;
use crate::client::{Client, Leading, Status};
use crate::config::{CERTS_FOLDER, ClusterConfig};
use crate::limits;
use crate::node::init::{InitOptions, init_if_empty, is_of_machines};
use crate::node::ports;
use crate::outcome::Outcome;
use crate::types::Offset;

/// The pause before a crashed part is restarted, the first time and at most.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(500);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(8);
/// A part that has run this long begins again with the shortest pause.
const STEADY_TIME: Duration = Duration::from_secs(30);
/// How often a cluster that is not ready yet is asked.
const READY_POLL: Duration = Duration::from_millis(100);
/// How often one that is ready is asked how much is appended.
const RATE_POLL: Duration = Duration::from_secs(1);
const LINES_HINT: &str = "the lines above say why; correct that and start again";

/// Makes the cluster if there is none, starts it, and stays until Ctrl-C.
pub(super) fn run(args: &args::Up, shared: &Shared, printer: &mut Printer) -> Result<(), End> {
    let cluster = find_or_make(args)?;
    if args.detach {
        return runtime::wait(leave(args, shared, &cluster, printer));
    }
    let running = Running::take(&args.dir)?;
    runtime::wait(async { Up::new(args, shared, &cluster, running)?.stay(printer).await })
}

/// Leaves it running in the background.
async fn leave(
    args: &args::Up,
    shared: &Shared,
    cluster: &ClusterConfig,
    printer: &mut Printer,
) -> Result<(), End> {
    let process = background::start(args, shared).await?;
    let client = connection::connect_as_client(&connection::of_directory(&args.dir)?)?;
    let status = client.status().await;
    let Some(leading) = status.leader else {
        let hint = "it is up, and an election is under way: `annal status` shows it";
        return Err(Failure::new(status.outcome(), "the leader was lost again", hint).into());
    };
    let log = background::log_in(&args.dir).display().to_string();
    let row = ReadyRow { process: Some(process), log: Some(log), ..ready(args, cluster, leading) };
    Ok(printer.print_now(&row)?)
}

fn find_or_make(args: &args::Up) -> Result<ClusterConfig, Failure> {
    let certs = args.dir.join(CERTS_FOLDER);
    let cluster = match ClusterConfig::load(&certs) {
        Err(error) if error.is_missing() => match make(args)? {
            Some(cluster) => return Ok(cluster),
            // Another made one meanwhile, or there is a part of one.
            None => ClusterConfig::load(&certs)?,
        },
        found => found?,
    };
    if is_of_machines(&args.dir) {
        let sentence = "the parts of this cluster are for machines of their own: none runs here";
        let hint = "on each machine its unit is started; `annal status` asks them";
        return Err(Failure::new(Outcome::Failed, sentence, hint));
    }
    if let Some(asked) = args.base_port {
        check_ports(asked, &cluster)?;
    }
    let found = cluster.nodes.len();
    if args.nodes.is_some_and(|asked| usize::from(asked) != found) {
        talk(format_args!("the cluster that is there has {found} node(s); it is started as it is"));
    }
    Ok(cluster)
}

/// Makes a cluster at ports that nobody uses now. `None`: there is something already.
fn make(args: &args::Up) -> Result<Option<ClusterConfig>, Failure> {
    let count = args.nodes.unwrap_or(limits::NODES_DEFAULT);
    let options = match args.base_port {
        Some(base_port) => at_free(InitOptions::local(&args.dir, count, base_port)?)?,
        None => ports::local_at_free_ports(&args.dir, count)?,
    };
    let Some(cluster) = init_if_empty(&options)? else { return Ok(None) };
    if let Some(sentence) = ports::why_others(&options).filter(|_| args.base_port.is_none()) {
        talk(sentence);
    }
    let dir = args.dir.display().to_string();
    talk(format_args!("made a new cluster of {count} node(s) in {}", escaped(&dir)));
    Ok(Some(cluster))
}

/// A cluster that is there keeps its ports: whoever asks for others is told, before it is started.
fn check_ports(asked: u16, cluster: &ClusterConfig) -> Result<(), Failure> {
    let registry = cluster.registry.as_ref().map(|address| (0, address));
    let found = registry.into_iter().chain((1..).zip(cluster.nodes.values()));
    let is_asked = |(place, at): (u16, &Address)| asked.checked_add(place) == Some(at.port());
    if found.clone().all(is_asked) {
        return Ok(());
    }
    let ports: Vec<_> = found.map(|(_, address)| address.port().to_string()).collect();
    let sentence = format!("the cluster that is there has the ports {}", ports.join(", "));
    let hint = "without --base-port it is started as it is; --dir makes another elsewhere";
    Err(Failure::new(Outcome::Usage, sentence, hint))
}

struct Up<'a> {
    args: &'a args::Up,
    cluster: &'a ClusterConfig,
    target: Target,
    children: Children,
    /// When each part was started last, and the pause before its next restart.
    starts: BTreeMap<Part, (Instant, Duration)>,
    /// Parts that wait to be restarted, and until when.
    due: BTreeMap<Part, Instant>,
    /// Parts that have ended, though they may run again.
    ended: BTreeSet<Part>,
    /// Parts that have ended with damage.
    damaged: BTreeSet<Part>,
    /// What each part told last.
    complaints: BTreeMap<Part, ChildWord>,
    is_ready: bool,
    running: Running,
    lines: Lines,
    /// Where the log ended when that was looked at last.
    end: Option<(Instant, Offset)>,
}

impl<'a> Up<'a> {
    fn new(
        args: &'a args::Up,
        shared: &Shared,
        cluster: &'a ClusterConfig,
        running: Running,
    ) -> Result<Self, Failure> {
        let target = connection::of_directory(&args.dir)?;
        // Whatever their lines shall look like, they are put in order first.
        let of_children = Shared { log_format: LogFormat::Json, ..shared.clone() };
        let children = Children::new(&args.dir, &of_children);
        let lines = Lines::new(shared.log_format, &parts_of(cluster));
        Ok(Self {
            args,
            cluster,
            target,
            children,
            starts: BTreeMap::new(),
            due: BTreeMap::new(),
            ended: BTreeSet::new(),
            damaged: BTreeSet::new(),
            complaints: BTreeMap::new(),
            is_ready: false,
            running,
            lines,
            end: None,
        })
    }

    fn start_all(&mut self) -> Result<(), Failure> {
        parts_of(self.cluster).into_iter().try_for_each(|part| self.start(part))
    }

    fn start(&mut self, part: Part) -> Result<(), Failure> {
        self.due.remove(&part);
        self.complaints.remove(&part);
        self.children.start(part)?;
        let pause = match self.starts.get(&part) {
            Some((started, pause)) if started.elapsed() < STEADY_TIME => {
                (*pause * 2).min(RESTART_PAUSE_MAX)
            }
            _ => RESTART_PAUSE_MIN,
        };
        self.starts.insert(part, (Instant::now(), pause));
        Ok(())
    }

    /// Starts all and stays until a signal says that it is enough, or all is in vain.
    async fn stay(&mut self, printer: &mut Printer) -> Result<(), End> {
        let mut signals = Signals::new()?;
        tokio::select! {
            are_free = wait_for_addresses(self.cluster) => are_free?,
            () = signals.next() => return Ok(()),
        }
        let result = match self.start_all() {
            Ok(()) => self.watch(&mut signals, printer).await,
            Err(failure) => Err(failure.into()),
        };
        self.lines.show();
        let stopped = self.stop(&mut signals).await;
        self.lines.show();
        result.and(stopped)
    }

    /// Shows what the children do until a signal says that it is enough.
    async fn watch(&mut self, signals: &mut Signals, printer: &mut Printer) -> Result<(), End> {
        let client = connection::connect_as_client(&self.target)?;
        let mut asked = Instant::now() + READY_POLL;
        let mut asking = pin!(ask(&client, asked));
        loop {
            let next_restart = self.due.values().min().copied();
            let asks = !self.is_ready || self.lines.are_watched();
            tokio::select! {
                event = self.children.next() => self.on_event(event)?,
                status = &mut asking, if asks => {
                    self.on_status(&status, printer)?;
                    // One that does not answer is waited for, which is pause enough.
                    let pause = if self.is_ready { RATE_POLL } else { READY_POLL };
                    asked = (asked + pause).max(Instant::now());
                    asking.set(ask(&client, asked));
                }
                () = at(next_restart) => self.restart_due()?,
                () = at(self.lines.due()) => self.lines.show(),
                () = signals.next() => return Ok(()),
            }
        }
    }

    fn on_status(&mut self, status: &Status, printer: &mut Printer) -> Result<(), End> {
        if self.is_ready {
            self.say_rate(status);
        } else if let Some(leading) = self.leader_if_ready(status) {
            self.is_ready = true;
            self.running.ready()?;
            self.lines.show();
            self.say_ready(leading, printer)?;
        }
        Ok(())
    }

    /// Says how much is appended, while anything is.
    fn say_rate(&mut self, status: &Status) {
        let (Some(leading), Some(offset)) = (status.leader, status.next_offset()) else { return };
        let now = Instant::now();
        let Some((then, before)) = self.end.replace((now, offset)) else { return };
        let records = offset.get().saturating_sub(before.get());
        let milliseconds = (now - then).as_millis().max(1);
        let rate = u128::from(records) * 1000 / milliseconds;
        if records > 0 {
            self.lines.say(Part::Node(leading.node), &format!("{} records/s", rate.max(1)));
        }
    }

    /// The leader, if it is one of ours and all of ours serve. A child that waits for its folder
    /// would be taken for a cluster that runs there already. One that has ended before may never
    /// come, and is not waited for.
    fn leader_if_ready(&self, status: &Status) -> Option<Leading> {
        let running = self.children.running();
        let serves = |part: &Part| match part {
            Part::Registry => true,
            Part::Node(ours) => {
                status.nodes.iter().any(|node| node.node == *ours && node.said.is_ok())
            }
        };
        let all_serve = running.iter().all(|part| self.ended.contains(part) || serves(part));
        let is_ours = |leading: &Leading| running.contains(&Part::Node(leading.node));
        status.leader.filter(|leading| all_serve && is_ours(leading))
    }

    fn on_event(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Line { part, text } => {
                self.lines.add(part, &text);
                return Ok(());
            }
            Event::Told { part, word } => {
                self.complaints.insert(part, word);
                return Ok(());
            }
            Event::Ended { part, status } => {
                self.lines.say(part, &ending(status));
                self.ended.insert(part);
                // A node that finds damage begins anew when it is started, if it may; once is enough to know.
                let is_damaged = status.code() == Some(6);
                let was_removed = status.code() == Some(4);
                let is_hopeless = was_removed
                    || matches!(status.code(), Some(0 | 2))
                    || is_damaged && !self.damaged.insert(part);
                if self.args.restart && !is_hopeless {
                    let pause =
                        self.starts.get(&part).map_or(RESTART_PAUSE_MIN, |(_, pause)| *pause);
                    self.due.insert(part, Instant::now() + pause);
                } else if !was_removed {
                    let command = part.command(&self.args.dir);
                    self.lines.say(part, &format!("to restart it: {command}"));
                }
                if !self.is_ready {
                    self.check_hope(part, status)?;
                }
            }
        }
        if self.children.running().is_empty() && self.due.is_empty() {
            let sentence = "every part of the cluster has ended";
            return Err(Failure::new(Outcome::Failed, sentence, LINES_HINT));
        }
        Ok(())
    }

    /// Whether the cluster can still come up, now that a part has ended.
    fn check_hope(&self, part: Part, status: ExitStatus) -> Result<(), Failure> {
        let (reason, hint, is_occupied) = match self.complaints.get(&part) {
            Some(ChildWord::Failed { sentence, hint, is_occupied }) => {
                (sentence.clone(), hint.clone(), *is_occupied)
            }
            Some(ChildWord::Recovered(_)) | None => (ending(status), LINES_HINT.to_owned(), false),
        };
        if is_occupied {
            let sentence = format!("{part} could not be started: {reason}");
            return Err(Failure::new(Outcome::Failed, sentence, hint));
        }
        let (count, majority) = (self.cluster.nodes.len(), self.cluster.nodes.len() / 2 + 1);
        let running = self.children.running();
        let parts = running.iter().chain(self.due.keys());
        let left = parts.filter(|part| matches!(part, Part::Node(_))).count();
        if left >= majority {
            return Ok(());
        }
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        let sentence = format!(
            "the cluster cannot come up with {left} of {count} node(s), it takes {majority}; \
             {part}: {reason}"
        );
        Err(Failure::new(code.map_or(Outcome::Failed, Outcome::of_exit_code), sentence, hint))
    }

    fn restart_due(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        let due: Vec<_> =
            self.due.iter().filter(|(_, when)| **when <= now).map(|(part, _)| *part).collect();
        due.into_iter().try_for_each(|part| {
            self.lines.say(part, "is restarted");
            self.start(part)
        })
    }

    fn say_ready(&self, leading: Leading, printer: &mut Printer) -> Result<(), End> {
        match printer.print_now(&ready(self.args, self.cluster, leading)) {
            // The cluster is what was asked for, whether or not anybody reads that it is ready.
            Ok(()) | Err(Closed::Quietly) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Stops all in an orderly way; who does not, or at a second signal, is ended.
    async fn stop(&mut self, signals: &mut Signals) -> Result<(), End> {
        if self.children.running().is_empty() {
            return Ok(());
        }
        talk("stopping; once more to stop at once");
        self.children.ask_to_stop();
        let deadline = Instant::now() + limits::STOP_TIMEOUT;
        let mut late = Vec::new();
        while !self.children.running().is_empty() {
            tokio::select! {
                event = self.children.next() => match event {
                    Event::Line { part, text } => self.lines.add(part, &text),
                    Event::Told { .. } => {}
                    // It has said itself that it stopped.
                    Event::Ended { status, .. } if status.success() => {}
                    Event::Ended { part, status } => self.lines.say(part, &ending(status)),
                },
                () = at(self.lines.due()) => self.lines.show(),
                () = sleep_until(deadline), if late.is_empty() => {
                    late = self.children.running();
                    self.children.kill();
                }
                () = signals.next() => {
                    late = self.children.running();
                    self.children.kill();
                }
            }
        }
        if late.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = late.iter().map(ToString::to_string).collect();
        let sentence = format!("{} had to be killed", names.join(", "));
        let hint = "nothing acknowledged is lost: the next start recovers it";
        Err(Failure::new(Outcome::Failed, sentence, hint).into())
    }
}

/// What is said of a cluster that is up.
fn ready(args: &args::Up, cluster: &ClusterConfig, leading: Leading) -> ReadyRow {
    ReadyRow {
        leader: leading.node,
        term: leading.term,
        cluster: cluster.cluster,
        dir: args.dir.display().to_string(),
        nodes: parts(&cluster.nodes),
        process: None,
        log: None,
        commands: commands(args),
    }
}

/// What to try next.
fn commands(args: &args::Up) -> Vec<String> {
    let dir = args.dir.to_string_lossy().into_owned();
    let dir: &[_] = if dir == "." { &[] } else { &["--dir".to_owned(), dir] };
    let line = |words: &[&str]| {
        let words = words.iter().map(|word| (*word).to_owned());
        command_line([program().to_owned()].into_iter().chain(words).chain(dir.iter().cloned()))
    };
    let mut lines = vec![
        // The prompt.
        line(&["client"]),
        line(&["client", "append", "hello"]),
        line(&["client", "tail", "-f"]),
        line(&["client", "status"]),
        line(&["client", "crash-leader"]),
    ];
    lines.extend(args.detach.then(|| line(&["down"])));
    lines
}

fn parts_of(cluster: &ClusterConfig) -> Vec<Part> {
    let registry = cluster.registry.as_ref().map(|_| Part::Registry);
    registry.into_iter().chain(cluster.nodes.keys().map(|node| Part::Node(*node))).collect()
}

/// Waits until nobody listens where the parts will: those before may still be ending.
///
/// # Errors
/// Somebody still does. A client would take them for the cluster that is to be started.
async fn wait_for_addresses(cluster: &ClusterConfig) -> Result<(), Failure> {
    let deadline = Instant::now() + limits::LOCK_TIMEOUT;
    while let Some((part, address)) = address_in_use(cluster) {
        if Instant::now() >= deadline {
            let sentence = format!("{part} cannot be started: {address} {IN_USE}");
            let hint = "if this cluster is running already, `annal client status` shows it";
            return Err(Failure::new(Outcome::Failed, sentence, hint));
        }
        sleep(READY_POLL).await;
    }
    Ok(())
}

fn address_in_use(cluster: &ClusterConfig) -> Option<(Part, &Address)> {
    addresses(cluster).find(|(_, address)| ports::is_in_use(address))
}

/// The parts that are running on this machine, whoever started them.
pub(super) fn parts_in_use(cluster: &ClusterConfig) -> Vec<Part> {
    addresses(cluster).filter(|(_, at)| ports::is_in_use(at)).map(|(part, _)| part).collect()
}

fn addresses(cluster: &ClusterConfig) -> impl Iterator<Item = (Part, &Address)> {
    let registry = cluster.registry.as_ref().map(|address| (Part::Registry, address));
    let nodes = cluster.nodes.iter().map(|(node, address)| (Part::Node(*node), address));
    registry.into_iter().chain(nodes)
}

/// Asks how the cluster is, then.
async fn ask(client: &Client, when: Instant) -> Status {
    sleep_until(when).await;
    client.status().await
}

/// Waits until then, or for ever.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}
