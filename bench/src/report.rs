//! The report: medians as Markdown tables, with everything that is needed to repeat them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;

use crate::SideBySide;
use crate::contender::Contender;
use crate::figures::Figures;
use crate::machine;
use crate::side_by_side::{CONNECTIONS, Case, Pace, SERIES_PER_REQUEST};

/// What a reader must know beside the settings.
#[derive(Debug)]
pub(crate) struct Circumstances {
    /// Of those that ran.
    pub(crate) versions: BTreeMap<Contender, String>,
    /// The machine's load average before the first run: figures of a busy machine compare badly.
    pub(crate) load_before: String,
}

/// Writes it.
pub(crate) fn markdown(
    settings: &SideBySide,
    run: &Circumstances,
    medians: &BTreeMap<Case, Figures>,
) -> Result<String> {
    let mut text = String::from("# Gateways side by side\n\n");
    introduction(&mut text, settings, run)?;
    for pace in [Pace::Paced, Pace::FlatOut] {
        let title = match pace {
            Pace::Paced => format!("{} samples a second", settings.rate),
            Pace::FlatOut => "As fast as answers come".to_owned(),
        };
        writeln!(text, "\n## {title}")?;
        for fan_out in &settings.fan_out {
            let plural = if *fan_out == 1 { "" } else { "s" };
            writeln!(text, "\n{fan_out} endpoint{plural}:\n")?;
            table(&mut text, medians, (pace, *fan_out))?;
        }
        further_endpoints(&mut text, settings, medians, pace)?;
    }
    legend(&mut text)?;
    Ok(text)
}

fn introduction(text: &mut String, settings: &SideBySide, run: &Circumstances) -> Result<()> {
    let numbers: Vec<_> = settings.fan_out.iter().map(u16::to_string).collect();
    writeln!(
        text,
        "Written by `cargo run --release -p bench -- side-by-side --fan-out {} --seconds {} --runs {} --rate {} \
         --series {}`\n(after `cargo xtask peers`) on {}: {}; load average before the first run {}.\n",
        numbers.join(","),
        settings.seconds,
        settings.runs,
        settings.rate,
        settings.series,
        machine::date(),
        machine::description(),
        run.load_before
    )?;
    writeln!(
        text,
        "Each gateway gets the same remote write 1.0 load: {} series of about 11 labels, {SERIES_PER_REQUEST} samples \
         a request,\n{CONNECTIONS} connections; and delivers all of it to each endpoint (one process of endpoints that \
         decompress and count). Senders,\nendpoints and gateway share the machine. Medians of {} run(s) of {} s, \
         interleaved, each in a fresh process and directory,\nafter one warm-up round.\n",
        settings.series, settings.runs, settings.seconds
    )?;
    writeln!(text, "| gateway | version | a 2xx means |\n| --- | --- | --- |")?;
    for (contender, version) in &run.versions {
        writeln!(text, "| {} | {version} | {} |", contender.name(), contender.promise())?;
    }
    Ok(())
}

fn table(text: &mut String, medians: &BTreeMap<Case, Figures>, of: (Pace, u16)) -> Result<()> {
    writeln!(
        text,
        "| gateway | CPU s per million samples | peak memory, MiB | ack p50, ms | ack p99, ms | taken, samples/s \
         | delivered, samples/s | received, B/sample | on disk, B/sample | written, B/sample | lost | refused |"
    )?;
    writeln!(text, "| --- |{}", " ---: |".repeat(11))?;
    for ((pace, fan_out, contender), figures) in medians {
        if (*pace, *fan_out) == of {
            writeln!(
                text,
                "| {} | {:.3} | {:.0} | {:.1} | {:.1} | {:.0} | {:.0} | {:.1} | {:.1} | {:.1} | {} | {} |",
                contender.name(),
                figures.cpu,
                figures.memory,
                figures.ack_p50,
                figures.ack_p99,
                figures.taken,
                figures.delivered,
                figures.received,
                figures.on_disk,
                figures.written,
                figures.lost,
                figures.refused
            )?;
        }
    }
    Ok(())
}

/// What one more endpoint costs: from the fewest to the most that were measured.
fn further_endpoints(
    text: &mut String,
    settings: &SideBySide,
    medians: &BTreeMap<Case, Figures>,
    pace: Pace,
) -> Result<()> {
    let (Some(fewest), Some(most)) = (settings.fan_out.iter().min(), settings.fan_out.iter().max()) else {
        return Ok(());
    };
    if fewest == most {
        return Ok(());
    }
    writeln!(text, "\nEach further endpoint, from {fewest} to {most}:\n")?;
    writeln!(text, "| gateway | CPU s per million samples |\n| --- | ---: |")?;
    for ((case_pace, fan_out, contender), few) in medians {
        let many = medians.get(&(pace, *most, *contender));
        if let (true, Some(many)) = ((*case_pace, fan_out) == (pace, fewest), many) {
            let each = (many.cpu - few.cpu) / f64::from(most - fewest);
            writeln!(text, "| {} | {each:.3} |", contender.name())?;
        }
    }
    Ok(())
}

fn legend(text: &mut String) -> Result<()> {
    writeln!(
        text,
        "\nCPU is the gateway process' user and system time from the load's start until every endpoint has everything. \
         *On disk* is what\nthe data directory occupies then, *written* what the kernel accounts to the process as \
         written to the device (segments that\nare written ahead count twice), each per sample received. *Lost* are \
         samples that an endpoint never got, *refused* requests\nthat were not answered with 2xx and sent again."
    )?;
    Ok(())
}
