//! A broken assertion in a run is a finding, not the end of the program.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static SIMULATING: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Runs a part of a simulation. If an assertion breaks, what it said and where is returned; on other
/// threads, and outside of simulations, a panic stays what it was.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if SIMULATING.get() {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                let payload = info.payload_as_str().unwrap_or("a panic without words");
                CAUGHT.set(Some(format!("{payload} ({place})")));
            } else {
                before(info);
            }
        }));
    });
    let outer = SIMULATING.replace(true);
    // What is left of the world after a panic is only looked at, never run on.
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    SIMULATING.set(outer);
    outcome.map_err(|_| CAUGHT.take().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_assertion_is_caught_with_its_words_and_place() {
        let caught = caught(|| assert_eq!(1, 2, "one is not {}", "two")).unwrap_err();
        assert!(
            caught.contains("one is not two") && caught.contains("(src/sim/panics.rs:"),
            "{caught}"
        );
        assert_eq!(super::caught(|| 7), Ok(7));
    }
}
