//! A job that copies the lines of a file into the log, each once, and keeps nothing: the cluster knows how
//! far it is, by its name.
//!
//! Whoever opens the producer of a name is it from then on: a former process that still runs is refused. In
//! the folder of a cluster (`cargo run --release -- up` makes one where it is called):
//!
//! ```text
//! seq 1 100000 > lines
//! cargo run --release --example producer -- numbers lines   # stop it with Ctrl-C, and start it again
//! ```
//!
//! `exactly_once` does the same without a name, and writes down how far it is.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use annal::{AppendOptions, Bytes, Client, ProducerName, Settings};

/// Lines that go into the log together, or not at all.
const BATCH: usize = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let name = words.next().ok_or("which name?")?.parse()?;
    let input = words.next().ok_or("which file?")?;
    run(Path::new("."), name, Path::new(&input), &mut io::stdout()).await
}

pub(crate) async fn run(
    directory: &Path,
    name: ProducerName,
    input: &Path,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(Settings::from_dir(directory)?)?;
    let text = fs::read_to_string(input)?;
    let records: Vec<Bytes> =
        text.lines().map(|line| Bytes::copy_from_slice(line.as_bytes())).collect();
    let producer = client.producer(name, &AppendOptions::default()).await?;
    let known = usize::try_from(producer.last_seq())?;
    writeln!(out, "process {} of {name}: {known} lines are in the log", producer.epoch())?;
    let (mut sender, mut receiver) = producer.split();
    // One half sends, as far ahead as the window allows, while the other one hears what arrived.
    let rest = records.get(known..).unwrap_or_default().to_vec();
    let sending = tokio::spawn(async move {
        for batch in rest.chunks(BATCH) {
            // An error here is the end of it, and the other half knows why.
            if sender.send(batch.to_vec()).await.is_err() {
                return;
            }
        }
    });
    while receiver.next().await?.is_some() {}
    sending.await?;
    writeln!(out, "{} more", receiver.acknowledged_records())?;
    client.close().await;
    Ok(())
}
