//! The medians of every section, as they are kept in `results.json`, and the figures that follow from them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::experiment::Watched;
use crate::figures::{Figure, Spread};
use crate::sections::{Section, fan_out};

/// The file's name.
pub(crate) const FILE: &str = "results.json";

/// All sections that were ever run, each as it was run last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) sections: BTreeMap<Section, SectionResults>,
}

/// One section.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SectionResults {
    pub(crate) circumstances: Circumstances,
    /// In the order in which the cases are told.
    pub(crate) rows: Vec<Row>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lines: Vec<Line>,
    /// Cases that could not be run, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) failures: Vec<String>,
}

/// How a section was run: what a reader needs to repeat it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Circumstances {
    pub(crate) date: String,
    pub(crate) machine: String,
    /// Of the minute before the first run.
    pub(crate) load_average: String,
    /// Of this repository.
    pub(crate) revision: String,
    /// The arguments of this program.
    pub(crate) command: String,
    /// How much was sent, in words.
    pub(crate) load: String,
    pub(crate) runs: u32,
    pub(crate) versions: BTreeMap<Contender, String>,
}

/// One contender in one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) x: f64,
    pub(crate) contender: Contender,
    pub(crate) figures: BTreeMap<Figure, Spread>,
}

/// Something over time, in seconds, of the last run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) watched: Watched,
    pub(crate) contender: Contender,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Results {
    /// What the directory has; nothing when it has no such file.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("understand {}; remove it to begin anew", path.display()))
    }

    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE);
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// A median, if it was measured.
    pub(crate) fn median(&self, section: Section, case: &str, contender: Contender, figure: Figure) -> Option<f64> {
        let rows = &self.sections.get(&section)?.rows;
        let row = rows.iter().find(|row| row.case == case && row.contender == contender)?;
        row.figures.get(&figure).map(|spread| spread.median)
    }

    /// Adds the figures that follow from others.
    pub(crate) fn derive(mut self) -> Self {
        for (section, results) in &mut self.sections {
            let measured = results.rows.clone();
            for row in &mut results.rows {
                derive(*section, &measured, row);
            }
        }
        self
    }
}

fn derive(section: Section, measured: &[Row], row: &mut Row) {
    let cpu = |row: &Row| row.figures.get(&Figure::Cpu).map(|spread| spread.median);
    let of = |case: &str, contender| measured.iter().find(|row| row.case == case && row.contender == contender);
    let mut derived = Vec::new();
    if let Some(own) = cpu(row) {
        if let Some(vmagents) = of(&row.case, Contender::VmagentSnappy).and_then(cpu).filter(|cpu| *cpu > 0.0) {
            derived.push((Figure::CpuRatio, own / vmagents));
        }
        let first = measured.iter().find(|other| other.contender == row.contender);
        if let (Section::Rules, Some(plain)) = (section, first.filter(|first| first.case != row.case).and_then(cpu)) {
            derived.push((Figure::CpuOver, own - plain));
        }
        let flat_out = section == Section::FanOut && row.case.ends_with(fan_out::FLAT_OUT);
        if let (true, Some(one)) = (flat_out && row.x > 1.0, of(&fan_out::flat_out(1), row.contender).and_then(cpu)) {
            derived.push((Figure::CpuEach, (own - one) / (row.x - 1.0)));
        }
    }
    let median = |figure| row.figures.get(&figure).map(|spread| spread.median);
    if let (Some(on_disk), Some(received)) = (median(Figure::OnDisk), median(Figure::Received)) {
        derived.push((Figure::DiskRatio, on_disk / received));
    }
    row.figures.extend(derived.into_iter().map(|(figure, value)| (figure, Spread::of(value))));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Case, x, contender, figures.
    pub(crate) type TestRow<'a> = (&'a str, f64, Contender, &'a [(Figure, f64)]);

    /// A section of such rows.
    pub(crate) fn section(rows: &[TestRow<'_>]) -> SectionResults {
        let row = |(case, x, contender, figures): &TestRow<'_>| Row {
            case: (*case).to_owned(),
            x: *x,
            contender: *contender,
            figures: figures.iter().map(|(figure, value)| (*figure, Spread::of(*value))).collect(),
        };
        let circumstances = Circumstances::default();
        SectionResults { circumstances, rows: rows.iter().map(row).collect(), lines: Vec::new(), failures: Vec::new() }
    }

    #[test]
    fn proportions_and_differences_follow_from_the_medians() {
        let (own, peer) = (Contender::Writegate, Contender::VmagentSnappy);
        let fan_out = section(&[
            ("1, flat out", 1.0, own, &[(Figure::Cpu, 0.25), (Figure::OnDisk, 44.0), (Figure::Received, 40.0)]),
            ("1, flat out", 1.0, peer, &[(Figure::Cpu, 1.0)]),
            ("8, flat out", 8.0, own, &[(Figure::Cpu, 0.32)]),
            ("8, at a rate", 8.0, own, &[(Figure::Cpu, 0.5)]),
        ]);
        let rules = section(&[("none", 0.0, own, &[(Figure::Cpu, 0.2)]), ("edit", 1.0, own, &[(Figure::Cpu, 0.9)])]);
        let sections = BTreeMap::from([(Section::FanOut, fan_out), (Section::Rules, rules)]);
        let results = Results { sections }.derive();
        let fan_out = |case, figure| results.median(Section::FanOut, case, own, figure);
        assert_eq!(fan_out("1, flat out", Figure::CpuRatio), Some(0.25));
        assert_eq!(fan_out("1, flat out", Figure::DiskRatio), Some(1.1));
        assert_eq!(fan_out("1, flat out", Figure::CpuEach), None);
        assert!(fan_out("8, flat out", Figure::CpuEach).is_some_and(|each| (each - 0.01).abs() < 1e-9));
        assert_eq!(fan_out("8, at a rate", Figure::CpuEach), None);
        let over = |case| results.median(Section::Rules, case, own, Figure::CpuOver);
        assert_eq!(over("none"), None);
        assert!(over("edit").is_some_and(|over| (over - 0.7).abs() < 1e-9));
    }

    #[test]
    fn what_is_written_is_read_again_and_sections_are_kept_apart() {
        let directory = tempfile::tempdir().expect("directory");
        let mut results = Results::read(directory.path()).expect("nothing there");
        let one = section(&[("1, flat out", 1.0, Contender::Writegate, &[(Figure::Cpu, 0.25)])]);
        results.sections.insert(Section::FanOut, one.clone());
        results.write(directory.path()).expect("written");
        let mut results = Results::read(directory.path()).expect("read");
        results.sections.insert(Section::Series, section(&[]));
        results.write(directory.path()).expect("written");
        let results = Results::read(directory.path()).expect("read");
        assert_eq!(results.sections.len(), 2);
        assert_eq!(results.sections.get(&Section::FanOut).map(|section| &section.rows), Some(&one.rows));
    }
}
