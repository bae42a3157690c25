//! What was measured, as one Markdown table or as JSON, an object a line.

use serde_json::{Value, json};

use crate::load::Load;
use crate::{CELLS, Cell};

/// All runs of one cell against one peer.
pub(crate) struct Row {
    pub(crate) cell: &'static Cell,
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
            "cell": self.cell.name,
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
        format!("| {} | {} | {durable} | {numbers} |\n", self.cell.title, self.title)
    }
}

/// The table, cell by cell, so that the peers stand side by side.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| work | log | durable when acknowledged | entries/s | p50 ms | p99 ms \
         | servers' CPU s / 1000 entries | errors |\n\
         | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for cell in &CELLS {
        for row in rows.iter().filter(|row| row.cell.name == cell.name) {
            text.push_str(&row.markdown());
        }
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
