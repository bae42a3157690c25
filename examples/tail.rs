//! Prints the last records and those that are appended later, one by one, out of a stream: as it can be
//! put beside other things to wait for.
//!
//! In the folder of a cluster (`cargo run --release -- up` makes one where it is called):
//!
//! ```text
//! cargo run --release --example tail                   # the last ten, and what comes; Ctrl-C ends it
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use annal::{Client, ReadFrom, ReadOptions, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(Path::new("."), 10, None, io::stdout().lock()).await
}

/// Prints so many of the last records, and goes on until there were as many as the limit says.
pub(crate) async fn run(
    directory: &Path,
    last: u64,
    limit: Option<u64>,
    mut output: impl Write,
) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(Settings::from_dir(directory)?)?;
    let options = ReadOptions { from: ReadFrom::Last(last), limit, ..ReadOptions::default() };
    // It is a `Stream` as well, for those who have adapters for these.
    let mut tail = client.tail(options);
    loop {
        tokio::select! {
            record = tail.next() => match record? {
                Some(record) => {
                    let text = String::from_utf8_lossy(&record.bytes);
                    writeln!(output, "{}: {text}", record.offset)?;
                }
                None => break,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    client.close().await;
    Ok(())
}
