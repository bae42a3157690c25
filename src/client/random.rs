//! What a client draws by chance.

use super::backoff::Jitter;

/// A number that nobody else has.
pub(super) fn draw() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("every system that runs this gives out random bytes");
    u128::from_le_bytes(bytes)
}

/// The pauses of one who begins now: others that began at the same time pause for other times.
pub(super) fn draw_jitter() -> Jitter {
    Jitter::new(getrandom::u64().expect("every system that runs this gives out random bytes"))
}
