//! Writes `results.json`, the report and its plots into a directory. Renders what is there; measures nothing.

mod goals;
mod plots;
mod tables;

pub(crate) use goals::soak_holds;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;

use crate::contender::Contender;
use crate::results::Results;
use crate::sections::Section;

/// The report's file name.
const FILE: &str = "README.md";

/// Writes all of it.
pub(crate) fn write(results: &Results, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    results.write(directory)?;
    let results = results.clone().derive();
    let mut pictures = BTreeMap::new();
    for (section, of_it) in &results.sections {
        let plots = plots::of(*section, of_it);
        for (name, plot) in &plots {
            let path = directory.join(name);
            std::fs::write(&path, plot.svg()).with_context(|| format!("write {}", path.display()))?;
        }
        pictures.insert(*section, plots.into_iter().map(|(name, plot)| (name, plot.title)).collect::<Vec<_>>());
    }
    let path = directory.join(FILE);
    std::fs::write(&path, markdown(&results, &pictures)?).with_context(|| format!("write {}", path.display()))
}

/// The report; `results` with what follows from them.
fn markdown(results: &Results, pictures: &BTreeMap<Section, Vec<(String, String)>>) -> Result<String> {
    let mut text = String::from(INTRODUCTION);
    who(&mut text, results)?;
    writeln!(text, "\n## Goals\n")?;
    text += "What Writegate is built to reach, and what the last runs gave. *vmagent* is vmagent with snappy out unless \
             said otherwise. The *bare relay* is what a gateway with this promise cannot leave out, on the same machine in \
             the same run; [limits](limits.md) says what forbids the goals that do not hold.\n\n";
    text += &goals::table(results)?;
    for section in Section::value_variants() {
        let of_it = results.sections.get(section);
        tables::section(&mut text, *section, of_it, pictures.get(section).map_or(&[], Vec::as_slice))?;
    }
    writeln!(text, "\n## What the columns are\n")?;
    tables::legend(&mut text, results)?;
    Ok(text)
}

const INTRODUCTION: &str = "# Performance

Written by `cargo run --release -p bench -- all` (after `cargo xtask peers`); do not edit. `bench render` writes it again from
[`results.json`](results.json). A section can be run by itself (`--section fan-out,series`); each says when, where and how
it was run last.

Every gateway gets the same generated load (series as a Kubernetes cluster has them) and delivers all of it to each
endpoint. Senders, endpoints and gateway are three processes on one machine, connected over loopback; the endpoints
decompress and count. Each run has fresh processes and an empty directory, begins after every series was sent once, and
ends when every endpoint has everything. Runs are interleaved; the medians are reported. Gateways have their defaults
unless a section says otherwise.

What a 2xx to the sender means differs, and is a large part of what the gateways cost:

";

fn who(text: &mut String, results: &Results) -> Result<()> {
    writeln!(text, "| gateway | version | a 2xx means |\n| --- | --- | --- |")?;
    let mut versions: BTreeMap<Contender, &str> = BTreeMap::new();
    for section in results.sections.values() {
        versions
            .extend(section.circumstances.versions.iter().map(|(contender, version)| (*contender, version.as_str())));
    }
    for contender in Contender::value_variants() {
        let version = versions.get(contender).copied().unwrap_or("not run");
        writeln!(text, "| {} | {version} | {} |", contender.name(), contender.promise())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figure;
    use crate::results::tests::section;

    #[test]
    fn a_report_without_results_says_so_everywhere() {
        let text = markdown(&Results::default(), &BTreeMap::new()).expect("text");
        for section in Section::value_variants() {
            assert!(text.contains(&format!("## {}\n", section.about().title)), "{section:?}");
        }
        assert!(text.contains("| Writegate | not run |") && !text.contains("holds"), "{text}");
    }

    #[test]
    fn what_was_run_is_written_as_report_and_data_and_plots_and_rendered_alike_again() {
        let directory = tempfile::tempdir().expect("directory");
        let rows = section(&[
            ("1, flat out", 1.0, Contender::Writegate, &[(Figure::Cpu, 0.2), (Figure::Lost, 0.0)]),
            ("3, flat out", 3.0, Contender::Writegate, &[(Figure::Cpu, 0.22), (Figure::Lost, 0.0)]),
            ("3, flat out", 3.0, Contender::VmagentSnappy, &[(Figure::Cpu, 2.2)]),
        ]);
        let results = Results { sections: BTreeMap::from([(Section::FanOut, rows)]) };
        write(&results, directory.path()).expect("written");
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).expect(name);
        let report = read("README.md");
        assert!(report.contains("| 3, flat out | Writegate | 0.220 | 0.100 | 0.010 | not run |"), "{report}");
        assert!(report.contains("](fan-out-cpu.svg)") && read("fan-out-cpu.svg").contains("Writegate"));
        write(&Results::read(directory.path()).expect("read"), directory.path()).expect("written again");
        assert_eq!(read("README.md"), report);
    }
}
