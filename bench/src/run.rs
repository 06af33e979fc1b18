//! Runs a section: every contender in turn, again and again, so that a busy moment of the machine hits them all.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::case::{Amount, Case};
use crate::contender::Contender;
use crate::experiment::{self, Outcome};
use crate::figures::{Figures, medians, thousands};
use crate::results::{Circumstances, Line, Row, SectionResults};
use crate::traffic::Recordings;
use crate::{machine, say};

/// The versions of those that are installed; a word about the others.
pub(crate) fn versions(contenders: &[Contender]) -> Result<BTreeMap<Contender, String>> {
    let mut versions = BTreeMap::new();
    for contender in contenders {
        match contender.version()? {
            Some(version) => drop(versions.insert(*contender, version)),
            None => say(&format!("skipped: {} is not installed; `cargo xtask peers` fetches it", contender.name())),
        }
    }
    Ok(versions)
}

/// Runs the cases so many times. A case that fails is told and left out.
pub(crate) async fn cases(
    cases: &[Case],
    runs: u32,
    versions: &BTreeMap<Contender, String>,
    command: &str,
) -> Result<SectionResults> {
    let taking_part: BTreeSet<_> = cases.iter().map(|case| case.contender).collect();
    let mut versions = versions.clone();
    versions.retain(|contender, _| taking_part.contains(contender));
    let circumstances = Circumstances {
        date: machine::date(),
        machine: machine::description(),
        load_average: machine::load(),
        revision: machine::revision(),
        command: command.to_owned(),
        load: in_words(cases),
        runs,
        versions,
    };
    let recordings = Recordings::new()?;
    let mut figures: Vec<Vec<Figures>> = vec![Vec::new(); cases.len()];
    let mut lines: Vec<Vec<Line>> = vec![Vec::new(); cases.len()];
    let mut failures = Vec::new();
    for number in 1..=runs {
        for ((case, figures), lines) in cases.iter().zip(&mut figures).zip(&mut lines) {
            let title = format!("{}, {}", case.name, case.contender.name());
            match experiment::run(case, &recordings).await {
                Ok(Outcome { figures: more, lines: watched }) => {
                    say(&format!("run {number}, {title}: {more:.3?}"));
                    figures.extend(more);
                    let line = |(watched, points)| Line { watched, contender: case.contender, points };
                    *lines = watched.into_iter().map(line).collect();
                }
                Err(error) => {
                    say(&format!("run {number}, {title}: {error:#}"));
                    failures.push(format!("{title}, run {number}: {error:#}"));
                }
            }
        }
    }
    let row = |(case, figures): (&Case, &Vec<Figures>)| Row {
        case: case.name.clone(),
        x: case.x,
        contender: case.contender,
        figures: medians(figures),
    };
    let rows = cases.iter().zip(&figures).filter(|(_, figures)| !figures.is_empty()).map(row).collect();
    Ok(SectionResults { circumstances, rows, lines: lines.into_iter().flatten().collect(), failures })
}

/// What is sent, where it does not differ from case to case as a range.
fn in_words(cases: &[Case]) -> String {
    let range = |values: Vec<u32>| {
        let (least, most) = (values.iter().min().copied(), values.iter().max().copied());
        let [least, most] = [least, most].map(|value| thousands(value.unwrap_or(0).into()));
        if least == most { least } else { format!("{least} to {most}") }
    };
    let of = |value: fn(&Case) -> u32| range(cases.iter().map(value).collect());
    let time = cases.iter().find_map(|case| match case.traffic.amount {
        Amount::For(time) => Some(format!(", {} s of load", time.as_secs())),
        Amount::Rounds(_) => None,
    });
    format!(
        "{} series of about 11 labels, {} samples a request, {} connections{}",
        of(|case| case.traffic.series),
        of(|case| case.traffic.samples_per_request),
        of(|case| case.traffic.connections),
        time.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::case::TrafficSpec;

    #[test]
    fn the_load_is_told_in_words_with_ranges_where_it_varies() {
        let case = |series| {
            let traffic = TrafficSpec::new(series, Amount::For(Duration::from_secs(6)));
            Case::new("a", 0.0, Contender::Writegate, traffic)
        };
        let words = in_words(&[case(10_000), case(1_000_000)]);
        assert!(words.starts_with("10,000 to 1,000,000 series of"), "{words}");
        assert!(words.ends_with("2,000 samples a request, 4 connections, 6 s of load"), "{words}");
    }
}
