//! Which plots a section has.

use crate::contender::Contender;
use crate::experiment::Watched;
use crate::figures::Figure;
use crate::plot::{Axis, Plot, PlotLine};
use crate::results::SectionResults;
use crate::sections::{Section, fan_out};

/// File names and plots; none without anything to see.
pub(super) fn of(section: Section, results: &SectionResults) -> Vec<(String, Plot)> {
    let plots = match section {
        Section::FanOut => {
            let title = "Cost against fan-out";
            vec![("cpu", against_x(title, results, Figure::Cpu, Axis { label: "endpoints", logarithmic: false }))]
        }
        Section::Series => {
            let axis = || Axis { label: "series", logarithmic: true };
            let memory = against_x("Memory against series", results, Figure::Memory, axis());
            // Between the gateways lie powers of ten.
            let memory = Plot { y: Axis { logarithmic: true, ..memory.y }, ..memory };
            vec![("memory", memory), ("cpu", against_x("Cost against series", results, Figure::Cpu, axis()))]
        }
        Section::Outage | Section::Soak => over_time(section, results),
        _ => Vec::new(),
    };
    let seen = plots.into_iter().filter(|(_, plot)| plot.lines.iter().any(|line| line.points.len() > 1));
    seen.map(|(what, plot)| (format!("{}-{what}.svg", section.name()), plot)).collect()
}

fn contenders(results: &SectionResults) -> Vec<Contender> {
    let mut contenders: Vec<_> = results.rows.iter().map(|row| row.contender).collect();
    contenders.sort();
    contenders.dedup();
    contenders
}

/// One figure over what is varied, a line for each contender.
fn against_x(title: &str, results: &SectionResults, figure: Figure, x: Axis) -> Plot {
    // Of the fan-out section the cases at a fixed rate are another line.
    let paced = |case: &str| !case.ends_with(fan_out::FLAT_OUT) && case.contains(" samples/s");
    let line = |contender: Contender| {
        let rows = results.rows.iter().filter(|row| row.contender == contender && !paced(&row.case));
        let points = rows.filter_map(|row| Some((row.x, row.figures.get(&figure)?.median))).collect();
        PlotLine { name: contender.name().to_owned(), points, marks: true }
    };
    let lines = contenders(results).into_iter().map(line).collect();
    Plot { title: title.to_owned(), x, y: Axis { label: figure.heading(), logarithmic: false }, lines }
}

/// Each thing that was watched, a line for each contender.
fn over_time(section: Section, results: &SectionResults) -> Vec<(&'static str, Plot)> {
    let kinds = [
        (Watched::Lag, "lag", "Lag", "samples missing at the slowest endpoint"),
        (Watched::Memory, "memory", "Memory", "MiB resident"),
        (Watched::Cpu, "cpu", "CPU", "cores"),
    ];
    let during = if section == Section::Outage { "an outage" } else { "a long run" };
    let plot = |(watched, name, title, label)| {
        let lines = results.lines.iter().filter(|line| line.watched == watched);
        let lines = lines.map(|line| PlotLine {
            name: line.contender.name().to_owned(),
            points: line.points.clone(),
            marks: false,
        });
        let (x, y) = (Axis { label: "seconds", logarithmic: false }, Axis { label, logarithmic: false });
        (name, Plot { title: format!("{title} during {during}"), x, y, lines: lines.collect() })
    };
    kinds.into_iter().map(plot).collect()
}
