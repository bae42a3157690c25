//! `annal top`: a screen that shows how the cluster is, and goes on showing it.
//!
//! Each second everybody is asked ([`model`] keeps the answers, how many records a second that makes, and
//! [`news`]: what has changed between two of them), and [`view`] draws it all anew. [`screen`] is the
//! terminal, which is as it was when this ends, however it does. It asks what `status` asks, and knows
//! nothing that `status` does not say.

mod model;
mod news;
mod screen;
mod view;

use std::io::{self, IsTerminal as _};

use tokio::time::{Instant, sleep_until};

use self::model::Model;
use self::screen::Screen;
use super::failure::{End, Failure};
use super::output::{Paint, Printer};
use super::runtime::{Leaving, Signals};
use crate::client::{Client, Status};
use crate::limits::STATUS_WATCH_EVERY;
use crate::outcome::Outcome;

/// Finds out whether there is somebody who can look.
///
/// # Errors
/// There is no terminal, or JSON was asked for.
pub(super) fn check(printer: &Printer) -> Result<(), Failure> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() && !printer.is_json() {
        return Ok(());
    }
    let sentence = "`annal top` is a screen for people, and this is no terminal";
    let hint = "`annal status --watch --json` prints the same for programs";
    Err(Failure::new(Outcome::Usage, sentence, hint))
}

/// Shows the cluster until `q`, Ctrl-C or a signal.
pub(super) async fn run(client: &Client) -> Result<(), End> {
    let mut signals = Signals::new()?;
    // Is dropped after the screen, which gives the terminal back.
    let _leaving = Leaving::watch(screen::give_back_keys)?;
    let mut screen = Screen::open()?;
    let mut model = Model::default();
    let has_colours = Paint::of_stdout().is_shown();
    let mut asking = Box::pin(ask(client, Instant::now()));
    loop {
        screen.draw(|frame| view::draw(frame, &model, has_colours))?;
        tokio::select! {
            status = &mut asking => {
                let now = Instant::now();
                model.note(status, now);
                asking.set(ask(client, now + STATUS_WATCH_EVERY));
            }
            leaves = screen.is_left() => if leaves { return Ok(()) },
            () = signals.next() => return Ok(()),
        }
    }
}

/// Asks how the cluster is, then.
async fn ask(client: &Client, when: Instant) -> Status {
    sleep_until(when).await;
    client.status().await
}
