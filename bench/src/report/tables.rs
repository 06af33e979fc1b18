//! A section of the report: what was run, how, and its table.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;

use crate::figures::{Figure, Spread};
use crate::results::{Circumstances, Results, Row, SectionResults};
use crate::sections::Section;

/// `pictures` are file names and titles.
pub(super) fn section(
    text: &mut String,
    section: Section,
    results: Option<&SectionResults>,
    pictures: &[(String, String)],
) -> Result<()> {
    let about = section.about();
    writeln!(text, "\n## {}\n\n{}\n", about.title, about.text)?;
    let Some(results) = results else {
        writeln!(text, "Not run.")?;
        return Ok(());
    };
    circumstances(text, &results.circumstances)?;
    let columns: Vec<Figure> = about.columns.iter().copied().filter(|figure| !is_empty(*figure, results)).collect();
    let headings: Vec<_> = columns.iter().map(|figure| figure.heading()).collect();
    writeln!(text, "| {} | gateway | {} |", about.varies, headings.join(" | "))?;
    writeln!(text, "| --- | --- |{}", " ---: |".repeat(columns.len()))?;
    for row in &results.rows {
        let cells: Vec<_> = columns.iter().map(|figure| cell(row, *figure)).collect();
        writeln!(text, "| {} | {} | {} |", row.case, row.contender.name(), cells.join(" | "))?;
    }
    for failure in &results.failures {
        // A gateway's last words may be many lines.
        let line = failure.lines().next().unwrap_or_default();
        writeln!(text, "\n*Not measured:* {line}")?;
    }
    for (name, title) in pictures {
        writeln!(text, "\n![{title}]({name})")?;
    }
    Ok(())
}

/// A column that no row has anything to say in, and that is calculated, is left out.
fn is_empty(figure: Figure, results: &SectionResults) -> bool {
    let calculated = matches!(figure, Figure::CpuRatio | Figure::CpuEach | Figure::CpuOver | Figure::DiskRatio);
    calculated && !results.rows.iter().any(|row| row.figures.contains_key(&figure))
}

fn cell(row: &Row, figure: Figure) -> String {
    let Some(Spread { median, low, high }) = row.figures.get(&figure).copied() else {
        // What is calculated needs other rows, which not all have.
        let calculated = matches!(figure, Figure::CpuRatio | Figure::CpuEach | Figure::CpuOver);
        return if calculated { String::new() } else { "not run".to_owned() };
    };
    let text = figure.text(median);
    if figure == Figure::Cpu && low < high {
        return format!("{text} ({}–{})", figure.text(low), figure.text(high));
    }
    text
}

fn circumstances(text: &mut String, run: &Circumstances) -> Result<()> {
    let Circumstances { date, machine, load_average, revision, command, load, runs, .. } = run;
    let times = if *runs == 1 { "One run".to_owned() } else { format!("Medians of {runs} runs") };
    writeln!(text, "{times}: {load}.\n")?;
    writeln!(
        text,
        "<sub>{date}, {machine}; load average before {load_average}; revision {revision}; `bench {command}`</sub>\n"
    )?;
    Ok(())
}

/// Of the columns that are in any table.
pub(super) fn legend(text: &mut String, results: &Results) -> Result<()> {
    let figures: BTreeSet<Figure> =
        results.sections.keys().flat_map(|section| section.about().columns.iter().copied()).collect();
    let sentences: BTreeSet<&str> = figures.into_iter().filter_map(Figure::legend).collect();
    for sentence in sentences {
        writeln!(text, "* {sentence}")?;
    }
    writeln!(text, "* Whatever is per sample is per sample received, not per sample and endpoint.")?;
    Ok(())
}
