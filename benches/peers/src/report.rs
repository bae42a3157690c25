//! What was measured, as one Markdown table or as JSON, an object a line.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::peer::Load;
use crate::{Cell, chosen_as};

/// All runs of one cell against one peer.
pub(crate) struct Row {
    pub(crate) cell: Cell,
    /// The peer with its version.
    pub(crate) title: String,
    /// Whether an entry is on the disks of a majority when it is acknowledged.
    pub(crate) durable: bool,
    pub(crate) runs: Runs,
}

/// At least one run.
pub(crate) enum Runs {
    Loads(Vec<Load>),
    /// Milliseconds from the kill to the first acknowledgement.
    Failovers(Vec<f64>),
}

impl Row {
    pub(crate) fn json(&self) -> Value {
        let mut row = json!({
            "cell": chosen_as(&self.cell),
            "peer": self.title,
            "durable_when_acknowledged": self.durable,
        });
        match &self.runs {
            Runs::Loads(loads) => {
                row["entries_per_s"] = median(loads, |load| load.entries_per_s).into();
                row["entries_per_s_runs"] =
                    loads.iter().map(|load| load.entries_per_s).collect::<Vec<_>>().into();
                row["p50_ms"] = median(loads, |load| load.p50_ms).into();
                row["p99_ms"] = median(loads, |load| load.p99_ms).into();
                row["cpu_s_per_1000"] = median(loads, |load| load.cpu_s_per_1000).into();
                row["errors"] = errors(loads).into();
            }
            Runs::Failovers(trials) => {
                row["median_ms"] = median(trials, |ms| *ms).into();
                row["trials_ms"] = trials.clone().into();
            }
        }
        row
    }

    fn markdown(&self) -> String {
        let durable = if self.durable { "yes" } else { "**no**" };
        let numbers = match &self.runs {
            Runs::Loads(loads) => format!(
                "{:.0} | {:.2} | {:.2} | {:.3} | {}",
                median(loads, |load| load.entries_per_s),
                median(loads, |load| load.p50_ms),
                median(loads, |load| load.p99_ms),
                median(loads, |load| load.cpu_s_per_1000),
                errors(loads),
            ),
            Runs::Failovers(trials) => format!(
                "| {:.0} | worst {:.0} | |",
                median(trials, |ms| *ms),
                trials.iter().copied().fold(0.0, f64::max),
            ),
        };
        format!("| {} | {} | {durable} | {numbers} |", self.cell.title(), self.title)
    }
}

/// The table, cell by cell, so that the peers stand side by side.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| work | log | durable when acknowledged | entries/s | p50 ms | p99 ms \
         | servers' CPU s / 1000 entries | errors |\n\
         | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| row.cell);
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", row.markdown());
    }
    text
}

/// The middle one, or the lower of the two that are.
fn median<T>(runs: &[T], number: impl Fn(&T) -> f64) -> f64 {
    let mut numbers: Vec<f64> = runs.iter().map(number).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

fn errors(loads: &[Load]) -> u64 {
    loads.iter().map(|load| load.errors).sum()
}
