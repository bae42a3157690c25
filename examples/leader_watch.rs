//! Says who leads whenever that changes.
//!
//! In the folder of a cluster (`cargo run --release -- up` makes one where it is called):
//!
//! ```text
//! cargo run --release --example leader_watch           # then, elsewhere: cargo client crash-leader
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use annal::{Client, Leading, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(Path::new("."), usize::MAX, io::stdout().lock()).await
}

/// Watches until so many changes were told; who is found first is one.
pub(crate) async fn run(
    directory: &Path,
    changes: usize,
    mut output: impl Write,
) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(Settings::from_dir(directory)?)?;
    let mut leader = client.leader();
    for _ in 0..changes {
        leader.changed().await?;
        let now = *leader.borrow_and_update();
        match now {
            Some(Leading { node, term }) => writeln!(output, "{node} leads term {term}")?,
            None => writeln!(output, "nobody leads")?,
        }
    }
    client.close().await;
    Ok(())
}
