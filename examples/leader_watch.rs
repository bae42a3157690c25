//! Says who leads whenever that changes, and who does not answer.
//!
//! In the folder of a cluster (`cargo run --release -- up` makes one where it is called):
//!
//! ```text
//! cargo run --release --example leader_watch           # then, elsewhere: cargo client crash-leader
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use annal::{Client, Settings, Status};

/// From one look to the next.
const EVERY: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(Path::new("."), usize::MAX, io::stdout().lock()).await
}

/// Watches until so many changes were told; what is found first is one.
pub(crate) async fn run(
    directory: &Path,
    changes: usize,
    mut output: impl Write,
) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(Settings::from_dir(directory)?)?;
    let (mut said, mut told) = (String::new(), 0);
    while told < changes {
        let now = describe(&client.status().await);
        if now != said {
            writeln!(output, "{now}")?;
            (said, told) = (now, told + 1);
        }
        tokio::time::sleep(EVERY).await;
    }
    client.close().await;
    Ok(())
}

fn describe(status: &Status) -> String {
    let silent: Vec<_> = status
        .nodes
        .iter()
        .filter(|node| node.said.is_err())
        .map(|node| node.node.to_string())
        .collect();
    let leader = match (&status.leader, &status.unavailable) {
        (Some(leading), _) => format!("{} leads term {}", leading.node, leading.term),
        (None, Some(why)) => format!("nobody leads: {why}"),
        (None, None) => "nobody leads".to_owned(),
    };
    if silent.is_empty() { leader } else { format!("{leader}; no answer of {}", silent.join(", ")) }
}
