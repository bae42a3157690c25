//! A job that copies the lines of a file into the log, each once, however often it is killed.
//!
//! A batch gets a name, a [`Token`], before it is sent, and the name is written down first. A job that
//! finds one from an earlier process sends the same batch under the same name: whether the first had
//! arrived or not, it is in the log once. In the folder of a cluster (`cargo run --release -- up` makes
//! one where it is called):
//!
//! ```text
//! seq 1 100000 > lines
//! cargo run --release --example exactly_once -- lines   # stop it with Ctrl-C, and start it again
//! ```
//!
//! How far it is stands in `lines.state`.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use annal::{Bytes, Client, Settings, Token};

/// Lines that go into the log together, or not at all.
const BATCH: usize = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let input = std::env::args().nth(1).ok_or("which file?")?;
    run(Path::new("."), Path::new(&input)).await
}

pub(crate) async fn run(directory: &Path, input: &Path) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(Settings::from_dir(directory)?)?;
    let text = fs::read_to_string(input)?;
    let records: Vec<Bytes> =
        text.lines().map(|line| Bytes::copy_from_slice(line.as_bytes())).collect();
    let file = PathBuf::from(format!("{}.state", input.display()));
    let mut state = State::read(&file)?;
    while let Some(batch) = records.get(state.done..).filter(|rest| !rest.is_empty()) {
        let batch = batch.get(..BATCH).unwrap_or(batch).to_vec();
        let token = match state.token {
            Some(token) => token,
            None => client.prepare(&batch).await?,
        };
        State { token: Some(token), ..state }.write(&file)?;
        let count = batch.len();
        append(&client, token, batch).await?;
        state = State { done: state.done + count, token: None };
        state.write(&file)?;
    }
    client.close().await;
    Ok(())
}

/// Waits until the batch of this token is in the log. An error says so: what is not known stays
/// written down, and the next run of the job settles it.
async fn append(client: &Client, token: Token, batch: Vec<Bytes>) -> Result<(), Box<dyn Error>> {
    let mut appender = client.resume(token);
    appender.send(batch).await?;
    appender.next().await?.ok_or("no answer came")?;
    Ok(())
}

/// How far the job is: what must outlive it.
#[derive(Clone, Copy)]
struct State {
    /// Lines that are in the log.
    done: usize,
    /// The name of the batch after them, if it may have been sent.
    token: Option<Token>,
}

impl State {
    fn read(file: &Path) -> Result<Self, Box<dyn Error>> {
        if !file.exists() {
            return Ok(Self { done: 0, token: None });
        }
        let text = fs::read_to_string(file)?;
        let mut words = text.split_whitespace();
        let done = words.next().ok_or("the state is empty")?.parse()?;
        let token = words.next().map(str::parse).transpose()?;
        Ok(Self { done, token })
    }

    /// Writes it so that a crash leaves the old state or the new one, and never half of one.
    fn write(&self, file: &Path) -> Result<(), Box<dyn Error>> {
        let new = file.with_extension("new");
        let token = self.token.map(|token| token.to_string()).unwrap_or_default();
        let mut written = File::create(&new)?;
        writeln!(written, "{} {token}", self.done)?;
        written.sync_all()?;
        fs::rename(new, file)?;
        // So that the new name is on the disk as well.
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(())
    }
}
