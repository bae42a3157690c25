//! The terminal: a screen of its own while this lives, and the keys that are pressed.

use std::io::{self, Stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};
use tokio::sync::mpsc;

use crate::cli::failure::{End, Failure};
use crate::outcome::Outcome;
use crate::remedy;

/// How often the thread that waits for keys looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);
/// Keys that wait to be looked at. Whoever leans on the keyboard loses some.
const KEYS_MAX: usize = 16;

/// See the module.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    keys: mpsc::Receiver<Event>,
    is_closed: Arc<AtomicBool>,
    reading: Option<JoinHandle<()>>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It does what it is told no more.
    pub(super) fn open() -> Result<Self, Failure> {
        enable_raw_mode().map_err(|error| unusable(&error))?;
        // From here on, whatever fails, it is given back.
        let taken = execute!(io::stdout(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        let terminal = taken.map_err(|error| {
            give_back();
            unusable(&error)
        })?;
        let (sender, keys) = mpsc::channel(KEYS_MAX);
        let is_closed = Arc::new(AtomicBool::new(false));
        let closed = is_closed.clone();
        let reading = thread::spawn(move || read_keys(&closed, &sender));
        Ok(Self { terminal, keys, is_closed, reading: Some(reading) })
    }

    /// Draws all of it.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<(), End> {
        self.terminal.draw(draw).map_err(|error| unusable(&error))?;
        Ok(())
    }

    /// Waits for a key, or for the terminal to have another size. Returns whether that is the end.
    pub(super) async fn is_left(&mut self) -> bool {
        match self.keys.recv().await {
            Some(Event::Key(key)) => is_farewell(&key),
            Some(_) => false,
            // There is no keyboard any more.
            None => true,
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::Relaxed);
        // The keys pressed from now on are somebody else's.
        if let Some(reading) = self.reading.take() {
            end(reading);
        }
        give_back();
    }
}

/// Waits for the thread that reads keys, unless it looks no more whether it is wanted: where the terminal
/// is gone, whoever waits for its keys reads its end again and again.
fn end(reading: JoinHandle<()>) {
    let give_up = Instant::now() + LOOK * 4;
    while !reading.is_finished() {
        if Instant::now() >= give_up {
            return;
        }
        thread::sleep(LOOK / 10);
    }
    let _ = reading.join();
}

fn give_back() {
    // A terminal that is gone needs nothing.
    let _ = execute!(io::stdout(), LeaveAlternateScreen);
    give_back_keys();
}

/// Has the terminal show again what is typed. Writes nothing to it.
pub(super) fn give_back_keys() {
    let _ = disable_raw_mode();
}

fn read_keys(is_closed: &AtomicBool, keys: &mpsc::Sender<Event>) {
    while !is_closed.load(Ordering::Relaxed) {
        match event::poll(LOOK) {
            Ok(false) => {}
            Ok(true) => match event::read() {
                Ok(event) => drop(keys.try_send(event)),
                Err(_) => return,
            },
            Err(_) => return,
        }
    }
}

/// `q`, Escape, Ctrl-C or Ctrl-D.
fn is_farewell(key: &KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
        KeyCode::Char('c' | 'd') => key.modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

fn unusable(error: &io::Error) -> Failure {
    let sentence = format!("the terminal cannot be used: {error}");
    let hint = remedy::of(error, "`annal status --watch` needs less of a terminal");
    Failure::new(Outcome::Failed, sentence, hint)
}
