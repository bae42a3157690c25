//! `annal outcome` and `annal producers`: how far named producers are.

use super::args::ProducersVerb;
use super::failure::{End, Failure};
use super::output::Printer;
use super::rows::ProducerRow;
use crate::client::{AppendError, Client};
use crate::label::ProducerName;
use crate::outcome::Outcome;

/// Prints how far a producer is.
pub(super) async fn outcome(
    client: &Client,
    name: ProducerName,
    printer: &mut Printer,
) -> Result<(), End> {
    let state = client.producer_state(name).await?;
    let state = state.ok_or_else(|| {
        let error = AppendError::NoProducer { producer: name };
        Failure::of_append(&error, &error)
    })?;
    Ok(printer.print_now(&ProducerRow::from(state))?)
}

/// Lists producers, or forgets one.
pub(super) async fn run(
    client: &Client,
    verb: ProducersVerb,
    printer: &mut Printer,
) -> Result<(), End> {
    match verb {
        ProducersVerb::List => {
            let states = client.producers().await?;
            for state in states {
                printer.print_now(&ProducerRow::from(state))?;
            }
            Ok(())
        }
        ProducersVerb::Forget { name } => {
            let forgotten = client.forget_producer(name).await;
            Ok(forgotten.map(|_| ()).map_err(|error| unforgotten(name, &error))?)
        }
    }
}

fn unforgotten(name: ProducerName, error: &AppendError) -> Failure {
    if error.token().is_some() {
        let sentence = format!("no answer came: producer {name} may be forgotten, or may still be");
        return Failure::new(Outcome::Unknown, sentence, "`annal producers list` shows it");
    }
    Failure::of_append(error, error)
}
