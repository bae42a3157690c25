//! `annal up`: a whole cluster in one terminal.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use tokio::time::{Instant, sleep, sleep_until};

use super::args::{self, LogFormat, Shared};
use super::children::{Children, Event, Part, ending};
use super::client;
use super::connection::{self, Target};
use super::failure::{Code, End, Failure};
use super::init::parts;
use super::output::{Closed, Paint, Printer, colour, talk};
use super::quote::{command_line, program};
use super::rows::ReadyRow;
use super::runtime::{self, Signals};
use crate::client::{Client, Leading};
use crate::limits;
use crate::node::config::ClusterConfig;
use crate::node::init::{CERTS_FOLDER, InitOptions, init_if_empty};

/// The pause before a crashed part is restarted, the first time and at most.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(500);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(8);
/// A part that has run this long begins again with the shortest pause.
const STEADY_TIME: Duration = Duration::from_secs(30);
/// How often a cluster that is not ready yet is asked.
const READY_POLL: Duration = Duration::from_millis(100);

/// Makes the cluster if there is none, starts it, and stays until Ctrl-C.
pub(super) fn run(args: &args::Up, shared: &Shared, printer: &mut Printer) -> Result<(), End> {
    let cluster = find_or_make(args)?;
    runtime::wait(async {
        let mut up = Up::new(args, shared, &cluster)?;
        up.start_all()?;
        up.stay(printer).await
    })
}

fn find_or_make(args: &args::Up) -> Result<ClusterConfig, Failure> {
    let count = args.nodes.unwrap_or(limits::NODES_DEFAULT);
    let options = InitOptions::local(&args.dir, count, args.base_port)?;
    if let Some(cluster) = init_if_empty(&options)? {
        let dir = args.dir.display();
        talk(format_args!("made a new cluster of {count} node(s) in {dir}"));
        return Ok(cluster);
    }
    let cluster = ClusterConfig::load(&args.dir.join(CERTS_FOLDER))?;
    let found = cluster.nodes.len();
    if args.nodes.is_some_and(|asked| usize::from(asked) != found) {
        talk(format_args!("the cluster that is there has {found} node(s); it is started as it is"));
    }
    Ok(cluster)
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
    paint: Paint,
    log_format: LogFormat,
    /// The width of the longest name.
    width: usize,
}

impl<'a> Up<'a> {
    fn new(
        args: &'a args::Up,
        shared: &Shared,
        cluster: &'a ClusterConfig,
    ) -> Result<Self, Failure> {
        let target = connection::of_directory(&args.dir)?;
        let children = Children::new(&args.dir, shared);
        let parts = parts_of(cluster);
        let width = parts.iter().map(|part| part.to_string().len()).max().unwrap_or(0);
        let (starts, due) = (BTreeMap::new(), BTreeMap::new());
        let (paint, log_format) = (Paint::of_stderr(), shared.log_format);
        Ok(Self { args, cluster, target, children, starts, due, paint, log_format, width })
    }

    fn start_all(&mut self) -> Result<(), Failure> {
        parts_of(self.cluster).into_iter().try_for_each(|part| self.start(part))
    }

    fn start(&mut self, part: Part) -> Result<(), Failure> {
        self.due.remove(&part);
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

    /// Shows what the children do until a signal says that it is enough.
    async fn stay(&mut self, printer: &mut Printer) -> Result<(), End> {
        let mut signals = Signals::new()?;
        let client = client::connect_as_client(&self.target)?;
        let mut ready = tokio::spawn(first_leader(client));
        let mut is_ready = false;
        loop {
            let next_restart = self.due.values().min().copied();
            tokio::select! {
                event = self.children.next() => self.on_event(event)?,
                leader = &mut ready, if !is_ready => {
                    is_ready = true;
                    if let Ok(leading) = leader {
                        self.say_ready(leading, printer)?;
                    }
                }
                () = at(next_restart) => self.restart_due()?,
                () = signals.next() => break,
            }
        }
        ready.abort();
        self.stop(&mut signals).await
    }

    fn on_event(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Line { part, text } => {
                self.pass_on(part, &text);
                return Ok(());
            }
            Event::Ended { part, status } => {
                self.show(part, &ending(status));
                let is_hopeless = matches!(status.code(), Some(0 | 2 | 6));
                if self.args.restart && !is_hopeless {
                    let pause =
                        self.starts.get(&part).map_or(RESTART_PAUSE_MIN, |(_, pause)| *pause);
                    self.due.insert(part, Instant::now() + pause);
                } else {
                    let command = part.command(&self.args.dir);
                    self.show(part, &format!("stays down until it is restarted: {command}"));
                }
            }
        }
        if self.children.running().is_empty() && self.due.is_empty() {
            let hint = "the lines above say why; correct that and start again";
            return Err(Failure::new(Code::Failed, "every part of the cluster has ended", hint));
        }
        Ok(())
    }

    fn restart_due(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        let due: Vec<_> =
            self.due.iter().filter(|(_, when)| **when <= now).map(|(part, _)| *part).collect();
        due.into_iter().try_for_each(|part| {
            self.show(part, "is restarted");
            self.start(part)
        })
    }

    fn say_ready(&self, leading: Leading, printer: &mut Printer) -> Result<(), End> {
        let said = printer.print_now(&ReadyRow {
            leader: leading.node,
            term: leading.term,
            cluster: self.cluster.cluster,
            dir: self.args.dir.display().to_string(),
            nodes: parts(&self.cluster.nodes),
            commands: self.commands(),
        });
        match said {
            // The cluster is what was asked for, whether or not anybody reads that it is ready.
            Ok(()) | Err(Closed::Quietly) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn commands(&self) -> Vec<String> {
        let client = |words: &[&str]| {
            let words = [program(), "client"].into_iter().chain(words.iter().copied());
            let words = words.map(ToOwned::to_owned);
            let dir = self.args.dir.to_string_lossy().into_owned();
            let dir = (dir != ".").then_some(["--dir".to_owned(), dir]);
            command_line(words.chain(dir.into_iter().flatten()))
        };
        vec![
            client(&["append", "hello"]),
            client(&["tail", "-f"]),
            client(&["status"]),
            client(&["crash-leader"]),
        ]
    }

    /// Stops all in an orderly way; who does not, or at a second signal, is ended.
    async fn stop(&mut self, signals: &mut Signals) -> Result<(), End> {
        talk("stopping; once more to stop at once");
        self.children.ask_to_stop();
        let deadline = Instant::now() + limits::STOP_TIMEOUT;
        let mut late = Vec::new();
        while !self.children.running().is_empty() {
            tokio::select! {
                event = self.children.next() => match event {
                    Event::Line { part, text } => self.pass_on(part, &text),
                    Event::Ended { part, status } => self.show(part, &ending(status)),
                },
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
        Err(Failure::new(Code::Failed, sentence, hint).into())
    }

    /// Shows a line of a child's log. One in JSON says itself whose it is.
    fn pass_on(&self, part: Part, line: &str) {
        match self.log_format {
            LogFormat::Human => self.show(part, line),
            LogFormat::Json => talk(line),
        }
    }

    fn show(&self, part: Part, text: &str) {
        let prefix = format!("{part:<width$} |", width = self.width);
        talk(format_args!("{} {text}", self.paint.paint(style_of(part), prefix)));
    }
}

fn parts_of(cluster: &ClusterConfig) -> Vec<Part> {
    let registry = cluster.registry.map(|_| Part::Registry);
    registry.into_iter().chain(cluster.nodes.keys().map(|node| Part::Node(*node))).collect()
}

fn style_of(part: Part) -> Style {
    const COLOURS: [AnsiColor; 6] = [
        AnsiColor::Cyan,
        AnsiColor::Yellow,
        AnsiColor::Magenta,
        AnsiColor::Green,
        AnsiColor::Blue,
        AnsiColor::BrightRed,
    ];
    match part {
        Part::Registry => Style::new().dimmed(),
        Part::Node(node) => colour(COLOURS[usize::from(node.get() - 1) % COLOURS.len()]),
    }
}

/// The first leader that serves.
async fn first_leader(client: Client) -> Leading {
    loop {
        if let Some(leading) = client.status().await.leader {
            return leading;
        }
        sleep(READY_POLL).await;
    }
}

/// Waits until then, or for ever.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}
