//! The processes of a peer: started, measured, killed, and never left behind.
//!
//! Every process has a group of its own, so that what it starts dies with it, and so that Ctrl-C in
//! the terminal reaches this program only, which then drops, and so kills, them all. Nothing is
//! stopped gently: the data is thrown away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::{Instant, sleep, timeout};

/// The first port that is tried: below those that the kernel gives to outgoing connections.
const PORT_FIRST: u16 = 21_000;

/// The last one.
const PORT_LAST: u16 = 32_000;

/// How long one question to a server may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a cluster may take to be as it should: three Java or Erlang machines on two cores.
const WAIT_TIMEOUT: Duration = Duration::from_mins(2);

/// How long to wait before a server is asked again.
const WAIT_PAUSE: Duration = Duration::from_millis(100);

/// One server: how it is started, and its process while there is one.
struct Server {
    command: Command,
    child: Option<Child>,
}

/// All processes of one cluster. Dropping them kills them, and removes their data.
pub(crate) struct Servers {
    /// Where the data goes; the logs are beside it, and stay.
    pub(crate) data: PathBuf,
    /// By name.
    servers: BTreeMap<String, Server>,
}

impl Servers {
    /// No servers yet, and an empty folder for them.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder).context("cannot empty the folder of a peer")?;
        }
        let data = folder.join("data");
        fs::create_dir_all(&data).context("cannot make a folder")?;
        Ok(Self { data: fs::canonicalize(data)?, servers: BTreeMap::new() })
    }

    /// Starts one more server, whose output goes to a file of its name.
    pub(crate) fn start(&mut self, name: &str, mut command: Command) -> Result<()> {
        let log = File::create(self.data.with_file_name(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.current_dir(&self.data).process_group(0);
        self.servers.insert(name.to_owned(), Server { command, child: None });
        self.restart(name)
    }

    /// Starts a server that is not running, or was killed.
    pub(crate) fn restart(&mut self, name: &str) -> Result<()> {
        let server = self.servers.get_mut(name).context("there is no such server")?;
        server.end();
        let child = server.command.spawn();
        let program = server.command.get_program().display();
        server.child = Some(child.with_context(|| format!("cannot start {program}"))?);
        Ok(())
    }

    /// Ends a server, and all that it started, as `kill -9` does, without waiting for its end.
    pub(crate) fn kill(&self, name: &str) -> Result<()> {
        let child = self.servers.get(name).and_then(|server| server.child.as_ref());
        kill_group(child.context("the server to kill does not run")?)
    }

    /// CPU seconds, user's and system's, that the servers and all that they started have used. A
    /// process that ended is counted by the one that waited for it.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let mut ours: BTreeSet<u32> =
            self.servers.values().filter_map(|server| Some(server.child.as_ref()?.id())).collect();
        let processes = processes()?;
        let mut known = 0;
        while known < ours.len() {
            known = ours.len();
            let children = processes.iter().filter(|process| ours.contains(&process.parent));
            let children: Vec<u32> = children.map(|process| process.id).collect();
            ours.extend(children);
        }
        let ticks: u64 = processes.iter().filter(|p| ours.contains(&p.id)).map(|p| p.ticks).sum();
        #[expect(clippy::cast_precision_loss, reason = "a count of ticks is far below 2^52")]
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.servers.clear();
        // What stays is removed when the peer is measured again.
        let _ = fs::remove_dir_all(&self.data);
    }
}

impl Server {
    /// Kills what runs, and waits for its end.
    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself: then there is nobody to kill, and that is as good.
            let _ = kill_group(&child);
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn kill_group(child: &Child) -> Result<()> {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
    kill_process_group(id, Signal::KILL).context("cannot kill a server")
}

/// What `/proc/PID/stat` says of a process.
struct Process {
    id: u32,
    parent: u32,
    /// Of the CPU: its own and those of its children that ended.
    ticks: u64,
}

fn processes() -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(id) = entry?.file_name().to_string_lossy().parse() else { continue };
        // A process may end while we look.
        let Ok(line) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        // The name, in brackets, may hold anything; the state follows it.
        let (_, fields) = line.rsplit_once(')').context("/proc/PID/stat has an unknown form")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        ensure!(fields.len() > 14, "/proc/PID/stat is too short");
        let mut ticks = 0;
        for field in &fields[11..=14] {
            ticks += field.parse::<u64>()?;
        }
        found.push(Process { id, parent: fields[1].parse()?, ticks });
    }
    Ok(found)
}

/// The first of `count` ports in a row on which nobody listens, TCP or UDP, and which this program
/// has not given out before.
pub(crate) fn free_ports(count: u16) -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(PORT_FIRST);
    let free = |port: u16| {
        TcpListener::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok()
    };
    loop {
        let first = NEXT.fetch_add(count, Ordering::Relaxed);
        if first > PORT_LAST {
            bail!("no {count} free ports in a row between {PORT_FIRST} and {PORT_LAST}");
        }
        if (first..first + count).all(free) {
            return Ok(first);
        }
    }
}

/// Asks again and again until there is an answer. The error of a wait that ran out says what the
/// last question came to.
pub(crate) async fn wait_for<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + WAIT_TIMEOUT;
    loop {
        let error = match timeout(QUESTION_TIMEOUT, ask()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => anyhow!("no answer in {QUESTION_TIMEOUT:?}"),
        };
        if Instant::now() >= end {
            return Err(error.context(format!("{what} took more than {WAIT_TIMEOUT:?}")));
        }
        sleep(WAIT_PAUSE).await;
    }
}

/// What a command that ends by itself prints; an error if it fails or takes too long.
pub(crate) async fn output_of(command: Command, limit: Duration) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(limit, command.output())
        .await
        .with_context(|| format!("{name} took more than {limit:?}"))?
        .with_context(|| format!("cannot run {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().last().unwrap_or("it said nothing").trim();
    ensure!(output.status.success(), "{name} failed ({}): {last}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
