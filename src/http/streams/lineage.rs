//! What a fork has of those that it goes back to.

use super::super::house::House;
use super::place::Place;
use super::refusal::Refusal;
use crate::client::Fork;

/// Whether a fork has this place of one of those that it goes back to.
pub(super) async fn is_inherited(
    house: &House,
    fork: Option<&Fork>,
    place: Place,
) -> Result<bool, Refusal> {
    let mut fork = fork.cloned();
    // NB: no chain of forks is long, and each is of an older log.
    while let Some(Fork { source, number, at, .. }) = fork {
        if number == place.number || place.offset > at {
            return Ok(place.offset <= at);
        }
        let state = house.client.log_state(&source).await;
        fork = state.map_err(|error| Refusal::of_log(number, &error))?.fork;
    }
    Ok(false)
}
