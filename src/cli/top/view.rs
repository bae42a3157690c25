//! How the screen is drawn.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Row, Sparkline, Table};

use super::model::Model;
use crate::cli::escape::escaped;
use crate::cli::status_rows::{role_name, short_time, time_since};
use crate::client::{NodeStatus, Role, Status};
use crate::types::ByteCount;

/// What is not looked at first.
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
/// The rows that rates take.
const RATE_ROWS: u16 = 4;

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, has_colours: bool) {
    let look = Look { has_colours };
    let Some(status) = &model.status else {
        return frame.render_widget(Paragraph::new("asking all nodes …"), frame.area());
    };
    let nodes = u16::try_from(status.nodes.len()).unwrap_or(u16::MAX).saturating_add(1);
    let rows = [
        Constraint::Length(2),
        Constraint::Length(RATE_ROWS),
        Constraint::Length(nodes),
        Constraint::Min(2),
        Constraint::Length(1),
    ];
    let [head, rates, table, events, foot] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(Paragraph::new(look.head(status, model)), head);
    look.draw_rates(frame, rates, model);
    frame.render_widget(look.table(status), table);
    draw_events(frame, events, model);
    let keys = Span::styled("q or Ctrl-C ends; times are UTC", DIM);
    frame.render_widget(Paragraph::new(keys), foot);
}

/// What may be used.
#[derive(Clone, Copy)]
struct Look {
    has_colours: bool,
}

impl Look {
    fn colour(self, colour: Color) -> Style {
        if self.has_colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// Who leads, and how much there is.
    fn head(self, status: &Status, model: &Model) -> Vec<Line<'static>> {
        let leads = match (&status.leader, &status.unavailable) {
            (Some(leading), _) => {
                let text = format!("{} leads term {}", leading.node, leading.term);
                Span::styled(text, self.colour(Color::Green).add_modifier(Modifier::BOLD))
            }
            (None, reason) => {
                let reason = reason.as_ref().map_or("no leader".to_owned(), ToString::to_string);
                Span::styled(escaped(&reason), self.colour(Color::Red))
            }
        };
        let cluster = Span::styled(format!("cluster {}", status.cluster), DIM);
        let answer = status.nodes.iter().filter(|node| node.said.is_ok()).count();
        let rate = model.rates.front().copied().unwrap_or(0);
        let count = status.next_offset().map_or("-".to_owned(), |offset| offset.to_string());
        let numbers = format!(
            "{count} records in main, {rate} records/s; {answer} of {} nodes answer",
            status.nodes.len()
        );
        vec![Line::from(vec![leads, Span::raw("  "), cluster]), Line::from(numbers)]
    }

    /// Records a second, the newest to the left.
    fn draw_rates(self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let data: Vec<u64> = model.rates.iter().copied().take(area.width.into()).collect();
        let highest = data.iter().max().copied().unwrap_or(0);
        let title = format!("records/s, now to the left, up to {highest} ");
        let block = Block::new().borders(Borders::TOP).title(title);
        let rates = Sparkline::default().data(&data).style(self.colour(Color::Cyan)).block(block);
        frame.render_widget(rates, area);
    }

    fn table(self, status: &Status) -> Table<'static> {
        let heads = ["NODE", "ROLE", "TERM", "COMMIT", "NEXT", "LAG", "HEARD", "UPTIME", "DISK"];
        let widths = [4, 13, 5, 9, 9, 4, 9, 11, 8].map(Constraint::Length);
        let rows = status.nodes.iter().map(|node| {
            let style = self.of_role(node.said.as_ref().ok().map(|said| said.role));
            Row::new(cells(status, node)).style(style)
        });
        Table::new(rows, widths).header(Row::new(heads).style(DIM)).column_spacing(1)
    }

    fn of_role(self, role: Option<Role>) -> Style {
        match role {
            Some(Role::Leader) => self.colour(Color::Green).add_modifier(Modifier::BOLD),
            Some(Role::Candidate | Role::PreCandidate | Role::Recovering | Role::Damaged) => {
                self.colour(Color::Yellow)
            }
            Some(Role::Follower | Role::Learner) => Style::new(),
            None => self.colour(Color::Red),
        }
    }
}

/// As many of the newest as there is room for.
fn draw_events(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let line = |(time, what): &(String, String)| {
        Line::from(vec![Span::styled(format!("{time}  "), DIM), Span::raw(escaped(what))])
    };
    let lines: Vec<_> = model.events.iter().take(area.height.into()).map(line).collect();
    let block = Block::new().borders(Borders::TOP).title("events ");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn cells(status: &Status, node: &NodeStatus) -> [String; 9] {
    let said = node.said.as_ref().ok();
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let heard = status.last_contact(node.node);
    let uptime = said.map(|said| Duration::from_millis(said.vitals.uptime_ms));
    let disk = said.and_then(|said| said.vitals.disk);
    [
        node.node.to_string(),
        said.map_or("unreachable", |said| role_name(said.role)).to_owned(),
        shown(said.map(|said| said.term.to_string())),
        shown(said.map(|said| said.commit_index.to_string())),
        shown(said.map(|said| said.next_offset.to_string())),
        shown(status.lag(node).map(|lag| lag.to_string())),
        shown(heard.map(largest_unit)),
        shown(uptime.map(short_time)),
        shown(disk.map(|disk| ByteCount(disk.used_bytes).to_string())),
    ]
}

/// How long ago, in its largest unit: a column has no room for two, and who looks at it counts along.
fn largest_unit(time: Duration) -> String {
    let whole = time_since(time);
    whole.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use tokio::time::Instant;

    use super::super::model::testing::{n, status, unreachable};
    use super::*;
    use crate::client::DiskUse;

    /// What is on a screen of this size, without spaces at the ends of lines.
    fn screen(model: &Model, columns: u16, rows: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(frame, model, false)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |row: u16| -> String {
            (0..columns).map(|column| buffer[(column, row)].symbol()).collect()
        };
        let lines: Vec<_> = (0..rows).map(|at| row(at).trim_end().to_owned()).collect();
        lines.join("\n")
    }

    fn model() -> Model {
        let mut model = Model::default();
        let begin = Instant::now();
        for (seconds, records) in [(0, 0), (1, 100), (2, 500)] {
            model.note(status(Some(1), 3, records), begin + Duration::from_secs(seconds));
        }
        let mut last = unreachable(status(Some(1), 3, 1_300), 3);
        let said = last.nodes[0].said.as_mut().unwrap();
        said.vitals.disk = Some(DiskUse { used_bytes: 51 << 20, free_bytes: 1 << 40 });
        said.vitals.heard_ms = vec![(n(2), 12), (n(3), 3_639_000)];
        model.note(last, begin + Duration::from_secs(3));
        for (time, _) in &mut model.events {
            "12:00:00".clone_into(time);
        }
        model
    }

    #[test]
    fn a_screen_of_80_columns_has_it_all() {
        let expected = "\
n1 leads term 3  cluster 00000000000000000000000000000001
1300 records in main, 800 records/s; 2 of 3 nodes answer
records/s, now to the left, up to 800 ──────────────────────────────────────────
█
█▄
██▃
NODE ROLE          TERM  COMMIT    NEXT      LAG  HEARD     UPTIME      DISK
n1   leader        3     1301      1300      0    -         1 min 1 s   51 MiB
n2   follower      3     1301      1300      0    12 ms     1 min 1 s   -
n3   unreachable   -     -         -         -    1 h       -           -
events ─────────────────────────────────────────────────────────────────────────
12:00:00  n3 does not answer
12:00:00  n1 leads term 3";
        let shown = screen(&model(), 80, 24);
        let shown: Vec<_> = shown.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(shown[..shown.len() - 1].join("\n"), expected);
        assert_eq!(shown.last(), Some(&"q or Ctrl-C ends; times are UTC"));
    }

    #[test]
    fn every_size_of_a_screen_can_be_drawn() {
        for (columns, rows) in [(1, 1), (10, 3), (40, 8), (200, 50), (600, 100)] {
            screen(&model(), columns, rows);
            screen(&Model::default(), columns, rows);
        }
    }

    #[test]
    fn why_nobody_leads_is_said() {
        let mut model = Model::default();
        model.note(status(None, 3, 0), Instant::now());
        assert!(screen(&model, 80, 24).starts_with("no leader  cluster"));
    }
}
