//! Appends each line of stdin as a record, many on their way at once, and says where each went.
//!
//! In the folder of a cluster (`cargo run --release -- up` makes one where it is called):
//!
//! ```text
//! seq 1 1000 | cargo run --release --example append
//! seq 1 1000 | cargo run --release --example append -- path/to/that/folder
//! ```

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::path::Path;

use annal::{AppendError, AppendSender, Client, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    run(Path::new(&directory), io::stdin().lock(), io::stdout().lock()).await
}

pub(crate) async fn run(
    directory: &Path,
    input: impl BufRead,
    mut output: impl Write,
) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(Settings::from_dir(directory)?)?;
    // One half sends while the other gets the acknowledgements, in the order of the requests.
    let (sender, mut acknowledgements) = client.appender().split();
    let sending = send(sender, input);
    let receiving = async {
        while let Some(appended) = acknowledgements.next().await? {
            writeln!(output, "offset {} is on the disks of a majority", appended.offset)?;
        }
        Ok::<_, Box<dyn Error>>(())
    };
    let (sent, received) = tokio::join!(sending, receiving);
    client.close().await;
    // If an append failed, the receiving half knows why.
    received.and(sent)
}

async fn send(mut sender: AppendSender, input: impl BufRead) -> Result<(), Box<dyn Error>> {
    for line in input.lines() {
        match sender.send(vec![line?.into()]).await {
            Ok(()) => {}
            // An earlier one failed.
            Err(AppendError::Ended) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
