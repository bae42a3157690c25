//! Prints the log's records from an offset on, and goes on with those that are appended later, also
//! when the leader changes: without a gap and without a repetition.
//!
//! In the folder of a cluster (`cargo run --release -- up` makes one where it is called):
//!
//! ```text
//! cargo run --release --example follow                 # from the beginning
//! cargo run --release --example follow -- 17           # from offset 17
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use annal::{Client, Offset, ReadFrom, ReadOptions, Settings, Step};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let from = std::env::args().nth(1).map_or(Ok(0), |offset| offset.parse())?;
    run(Path::new("."), Offset::new(from), None, io::stdout().lock()).await
}

pub(crate) async fn run(
    directory: &Path,
    from: Offset,
    limit: Option<u64>,
    mut output: impl Write,
) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(Settings::from_dir(directory)?)?;
    let from = ReadFrom::Offset(from);
    let options = ReadOptions { from, limit, follow: true, ..ReadOptions::default() };
    let mut reader = client.read(options);
    // `next` would give up after a while without a leader; `step` says so, and goes on.
    while let Some(step) = reader.step().await? {
        match step {
            Step::Records(records) => {
                for record in records {
                    let text = String::from_utf8_lossy(&record.bytes);
                    writeln!(output, "{}: {text}", record.offset)?;
                }
            }
            Step::Waits(error) => writeln!(io::stderr(), "waiting: {error}")?,
            Step::GoesOn => writeln!(io::stderr(), "going on")?,
        }
    }
    client.close().await;
    Ok(())
}
