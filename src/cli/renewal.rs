//! A server's certificate while it runs: loaded anew when its files change, or at once at SIGHUP; and what is
//! said of one that expires soon.

use std::time::Duration;

use tokio::signal::unix::SignalKind;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::failure::Failure;
use super::moment::shown;
use super::runtime::listen;
use crate::date::wall_clock;
use crate::limits::{CERTIFICATE_LOOK, CERTIFICATE_WARNED_EVERY};
use crate::net::Credentials;
use crate::net::tls::TlsError;
use crate::node::certificates::is_expiring;

/// Keeps the certificate current until the runtime ends.
///
/// # Errors
/// The signal cannot be listened to.
pub(super) fn keep_current(credentials: Credentials, hang_up_asks: bool) -> Result<(), Failure> {
    let mut hang_ups = hang_up_asks.then(|| listen(SignalKind::hangup())).transpose()?;
    tokio::spawn(async move {
        let mut renewal = Renewal::default();
        renewal.warn_of_end(&credentials);
        loop {
            let asked = match &mut hang_ups {
                None => {
                    sleep(CERTIFICATE_LOOK).await;
                    false
                }
                Some(hang_ups) => tokio::select! {
                    () = sleep(CERTIFICATE_LOOK) => false,
                    _ = hang_ups.recv() => true,
                },
            };
            let looking = credentials.clone();
            let found = spawn_blocking(move || looking.reload()).await;
            renewal.tell(&credentials, found.expect("a panic ends the process"), asked);
            renewal.warn_of_end(&credentials);
        }
    });
    Ok(())
}

/// What has been said.
#[derive(Default)]
struct Renewal {
    /// What was wrong at the look before, and whether that was said: who copies two files is in between
    /// for a moment.
    trouble: Option<(String, bool)>,
    /// When it was said last that the certificate expires.
    warned: Option<Instant>,
}

impl Renewal {
    fn tell(&mut self, credentials: &Credentials, found: Result<bool, TlsError>, asked: bool) {
        match found {
            Ok(true) => {
                let until = shown(credentials.expires());
                tracing::info!("its certificate was loaded anew: it holds until {until}");
                self.warned = None;
                self.trouble = None;
            }
            Ok(false) => {
                if asked {
                    tracing::info!("its certificate is as it was");
                }
                self.trouble = None;
            }
            Err(error) => {
                let sentence = error.to_string();
                let known = self.trouble.take().filter(|(before, _)| *before == sentence);
                let was_said = known.as_ref().is_some_and(|(_, was_said)| *was_said);
                let is_to_be_said = asked || (known.is_some() && !was_said);
                if is_to_be_said {
                    let hint = error.hint();
                    tracing::error!("the former certificate is shown still: {sentence} ({hint})");
                }
                self.trouble = Some((sentence, was_said || is_to_be_said));
            }
        }
    }

    fn warn_of_end(&mut self, credentials: &Credentials) {
        let expires = credentials.expires();
        let is_said = self.warned.is_some_and(|at| at.elapsed() < CERTIFICATE_WARNED_EVERY);
        if is_said || !is_expiring(expires, wall_clock()) {
            return;
        }
        self.warned = Some(Instant::now());
        let left = Duration::from_millis(expires.get().saturating_sub(wall_clock().get()));
        let (days, until) = (left.as_secs() / (24 * 60 * 60), shown(expires));
        tracing::warn!(
            "its certificate expires in {days} days, at {until}: `annal cert renew` where ca.key is"
        );
    }
}
