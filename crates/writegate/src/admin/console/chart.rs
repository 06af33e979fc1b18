//! The course of a figure as a drawing, with its figures in words and in a table. Knows no gateway.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::super::api::HistoryStep;
use super::super::moment::{self, Utc};

/// What a chart shows.
pub(super) struct Chart<'c> {
    pub(super) title: &'c str,
    /// How a value is written.
    pub(super) unit: fn(f64) -> String,
    /// Lines and their names: the first is drawn strongest.
    pub(super) lines: Vec<(&'c str, &'c [f32])>,
}

/// The time that charts span.
#[derive(Clone, Copy)]
pub(super) struct Span<'s> {
    /// When the last value is of, RFC 3339.
    pub(super) until: &'s str,
    /// Of a value.
    pub(super) seconds: u64,
    /// Values from side to side.
    pub(super) values: usize,
}

impl<'s> Span<'s> {
    pub(super) const fn of(until: &'s str, step: &HistoryStep, values: usize) -> Self {
        Self { until, seconds: step.seconds, values }
    }

    /// The time of the value that comes `before` the last one, as hours and minutes.
    fn time(&self, before: usize) -> String {
        let until = moment::parse(self.until, 0).unwrap_or_default();
        let back = i64::try_from(self.seconds * before as u64 * 1000).unwrap_or_default();
        Utc(until - back).to_string().get(11..16).unwrap_or_default().to_owned()
    }
}

/// Points of a line.
const POINTS: usize = 180;
/// Rows of the table.
const ROWS: usize = 12;
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 100.0;

pub(super) fn chart(chart: &Chart<'_>, span: &Span<'_>) -> Markup {
    let most = chart.lines.iter().flat_map(|(_, values)| *values).copied().fold(0.0_f32, f32::max);
    let last = |values: &[f32]| values.last().map_or_else(|| "-".to_owned(), |last| (chart.unit)(f64::from(*last)));
    let rows = table(chart, span);
    html! {
        figure.chart {
            figcaption {
                strong { (chart.title) }
                @for (at, (name, values)) in chart.lines.iter().enumerate() {
                    " " span class={ "key key" (at) } { (name) " " b { (last(values)) } }
                }
            }
            @if rows.is_empty() {
                p.quiet { "Nothing to draw yet: a point comes every " (span.seconds) " s." }
            } @else {
                div.plot {
                    span.most { (crate::figures::plain(&(chart.unit)(f64::from(most)))) }
                    svg role="img" aria-label={ (chart.title) ": the table below has its figures" }
                        viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" {
                        @for (at, (_, values)) in chart.lines.iter().enumerate().rev() {
                            path class={ "line line" (at) } vector-effect="non-scaling-stroke"
                                d=(path(values, most, span.values)) {}
                        }
                    }
                    span.from { (span.time(span.values)) }
                    span.until { (span.time(0)) }
                }
                details id={ "table-" (chart.title.replace(' ', "-")) } {
                    summary { "As a table" }
                    table {
                        thead {
                            tr {
                                th scope="col" { "until" } @for (name, _) in &chart.lines { th scope="col" { (name) ", most" } }
                            }
                        }
                        tbody {
                            @for (time, cells) in &rows { tr { th scope="row" { (time) } @for cell in cells { td { (cell) } } } }
                        }
                    }
                }
            }
        }
    }
}

/// Times, and the most of each line until then.
fn table(chart: &Chart<'_>, span: &Span<'_>) -> Vec<(String, Vec<String>)> {
    let each = span.values.div_ceil(ROWS);
    let columns: Vec<Vec<f32>> = chart.lines.iter().map(|(_, values)| most_of(values, each)).collect();
    let rows = columns.iter().map(Vec::len).max().unwrap_or_default();
    (0..rows)
        .rev()
        .map(|before| {
            let cell = |column: &Vec<f32>| {
                let value = column.len().checked_sub(before + 1).and_then(|at| column.get(at));
                value.map_or_else(|| "-".to_owned(), |value| (chart.unit)(f64::from(*value)))
            };
            (span.time(before * each), columns.iter().map(cell).collect())
        })
        .collect()
}

/// The most of each so many values, counted from the last one.
fn most_of(values: &[f32], each: usize) -> Vec<f32> {
    values.rchunks(each.max(1)).rev().map(|chunk| chunk.iter().copied().fold(0.0, f32::max)).collect()
}

/// A line whose last value is at the right side; where there is none yet it is not drawn.
#[expect(clippy::cast_precision_loss, reason = "a few hundred points")]
fn path(values: &[f32], most: f32, all: usize) -> String {
    let each = all.div_ceil(POINTS);
    let points = most_of(values, each);
    let step = WIDTH / (all.div_ceil(each) as f64 - 1.0).max(1.0);
    let scale = if most > 0.0 { (HEIGHT - 4.0) / f64::from(most) } else { 0.0 };
    let mut path = String::new();
    for (at, value) in points.iter().enumerate() {
        let x = WIDTH - (points.len() - 1 - at) as f64 * step;
        let y = HEIGHT - 2.0 - f64::from(*value) * scale;
        // Writing to a String cannot fail.
        write!(path, "{}{x:.0} {y:.1}", if at == 0 { 'M' } else { 'L' }).unwrap_or_default();
    }
    // A single point is a dot, not nothing.
    if points.len() == 1 { path.clone() + &path.replacen('M', "L", 1) } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_is_at_the_right_and_the_most_is_at_the_top() {
        assert_eq!(path(&[0.0, 10.0, 5.0], 10.0, 60), "M696 98.0L708 2.0L720 50.0");
        assert_eq!(path(&[5.0], 10.0, 60), "M720 50.0L720 50.0");
        assert_eq!(path(&[0.0; 720], 0.0, 720).split('L').count(), POINTS);
    }

    #[test]
    fn tables_have_the_most_of_each_part_and_its_time() {
        let values: Vec<f32> = (1..=40_u8).map(f32::from).collect();
        let span = Span { until: "2026-01-31T18:00:05.000Z", seconds: 15, values: 720 };
        let chart = Chart { title: "x", unit: |value| format!("{value}"), lines: vec![("a", &values)] };
        assert_eq!(table(&chart, &span), [("18:00".to_owned(), vec!["40".to_owned()])]);
        let values = vec![1.0; 61];
        let chart = Chart { title: "x", unit: |value| format!("{value}"), lines: vec![("a", &values)] };
        let times: Vec<_> = table(&chart, &span).into_iter().map(|(time, _)| time).collect();
        assert_eq!(times, ["17:45", "18:00"]);
        assert_eq!(most_of(&[3.0, 1.0, 2.0], 2), [3.0, 2.0]);
    }
}
