//! The goals, and whether the results reach them. What is a goal is written here; what is reached is calculated.

use std::fmt::Write as _;

use anyhow::Result;

use crate::contender::Contender;
use crate::figures::Figure;
use crate::results::Results;
use crate::sections::{Section, backlog, endpoints, fan_out, protocols, rules, series, soak, start, throughput};

/// A bound of one figure.
struct Goal {
    what: &'static str,
    section: Section,
    /// `None`: the section's first case.
    case: Option<String>,
    figure: Figure,
    /// Beside it; `None` where no peer was run or it would say nothing.
    peer: Option<Contender>,
    bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    AtMost(f64),
    LessThan(f64),
    AtLeast(f64),
    /// At most so many times the same contender's figure of another case.
    TimesCase(f64, &'static str),
    /// At most so many times another figure of the same row.
    TimesFigure(f64, Figure),
}

/// What came of a goal.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Reached {
    value: f64,
    holds: bool,
}

impl Goal {
    fn new(what: &'static str, section: Section, case: &str, figure: Figure, bound: Bound) -> Self {
        let peer = Some(Contender::VmagentSnappy);
        Self { what, section, case: Some(case.to_owned()), figure, peer, bound }
    }

    fn beside(self, peer: Option<Contender>) -> Self {
        Self { peer, ..self }
    }

    /// A contender's figure, or what of it is compared; `None` when it was not run.
    fn value(&self, results: &Results, contender: Contender) -> Option<f64> {
        let first = || results.sections.get(&self.section)?.rows.first().map(|row| row.case.clone());
        let case = self.case.clone().or_else(first)?;
        let of = |case: &str, figure| results.median(self.section, case, contender, figure);
        let value = of(&case, self.figure)?;
        let divisor = match self.bound {
            Bound::TimesCase(_, case) => of(case, self.figure)?,
            Bound::TimesFigure(_, figure) => of(&case, figure)?,
            Bound::AtMost(_) | Bound::LessThan(_) | Bound::AtLeast(_) => 1.0,
        };
        Some(value / divisor).filter(|value| value.is_finite())
    }

    fn reached(&self, results: &Results) -> Option<Reached> {
        let value = self.value(results, Contender::Writegate)?;
        let holds = match self.bound {
            Bound::AtMost(bound) | Bound::TimesCase(bound, _) | Bound::TimesFigure(bound, _) => value <= bound,
            Bound::LessThan(bound) => value < bound,
            Bound::AtLeast(bound) => value >= bound,
        };
        Some(Reached { value, holds })
    }

    fn text(&self, value: f64) -> String {
        match self.bound {
            Bound::TimesCase(..) | Bound::TimesFigure(..) => format!("{value:.2}"),
            _ => self.figure.text(value),
        }
    }

    fn bound_text(&self) -> String {
        match self.bound {
            Bound::AtMost(bound) | Bound::TimesCase(bound, _) | Bound::TimesFigure(bound, _) => {
                format!("≤ {}", self.text(bound))
            }
            Bound::LessThan(bound) => format!("< {}", self.text(bound)),
            Bound::AtLeast(bound) => format!("≥ {}", self.text(bound)),
        }
    }
}

/// All of them as a Markdown table.
pub(super) fn table(results: &Results) -> Result<String> {
    let mut text = String::from(
        "| what | goal | Writegate | vmagent or other | bare relay | |\n| --- | ---: | ---: | ---: | ---: | --- |\n",
    );
    for goal in goals() {
        let reached = goal.reached(results);
        let own = reached.map_or_else(|| "not run".to_owned(), |reached| goal.text(reached.value));
        let peers = goal.peer.and_then(|peer| Some((peer, goal.value(results, peer)?)));
        let peers = match peers {
            Some((Contender::VmagentSnappy, value)) => goal.text(value),
            Some((peer, value)) => format!("{} ({})", goal.text(value), peer.name()),
            None if goal.peer.is_some() => "not run".to_owned(),
            None => String::new(),
        };
        let verdict = match reached {
            Some(Reached { holds: true, .. }) => "holds",
            Some(_) => "**does not hold**",
            None => "",
        };
        let floor = goal.value(results, Contender::BareRelay).map(|value| goal.text(value)).unwrap_or_default();
        writeln!(text, "| {} | {} | {own} | {peers} | {floor} | {verdict} |", goal.what, goal.bound_text())?;
    }
    Ok(text)
}

/// In the report's order.
fn goals() -> Vec<Goal> {
    use Bound::{AtLeast, AtMost, LessThan};
    let mut goals = of_cost();
    let hundred_million = backlog::name(100_000_000);
    let large_log = start::name(20 << 30);
    let three = fan_out::flat_out(3);
    goals.extend([
        Goal::new("peak memory at 3 endpoints, MiB", Section::FanOut, &three, Figure::Memory, AtMost(40.0)),
        Goal::new(
            "peak memory with 10 million series, MiB",
            Section::Series,
            &series::name(10_000_000),
            Figure::Memory,
            AtMost(64.0),
        )
        .beside(None),
        Goal::new(
            "draining 100 million samples to 3 endpoints, samples/s each",
            Section::Backlog,
            &hundred_million,
            Figure::Delivered,
            AtLeast(1_500_000.0),
        )
        .beside(None),
        Goal::new("peak memory meanwhile, MiB", Section::Backlog, &hundred_million, Figure::Memory, AtMost(96.0))
            .beside(None),
        Goal::new("ready with a log of 20 GiB, s", Section::Start, &large_log, Figure::Ready, LessThan(1.0))
            .beside(None),
        Goal::new("the same after SIGKILL, s", Section::Start, &large_log, Figure::ReadyAfterKill, LessThan(1.0))
            .beside(None),
        Goal::new(
            "acknowledged at 100,000 samples/s, p99 in ms",
            Section::Endpoints,
            endpoints::ONE,
            Figure::AckP99,
            LessThan(25.0),
        ),
        Goal::new("log bytes per byte received", Section::Backlog, &hundred_million, Figure::DiskRatio, AtMost(1.2))
            .beside(None),
        Goal::new(
            "arrival p99 with 5 endpoints, 2 of them dead, in proportion to 1 endpoint",
            Section::Endpoints,
            endpoints::FIVE_TWO_DEAD,
            Figure::ArrivalP99,
            Bound::TimesCase(1.2, endpoints::ONE),
        ),
        Goal::new(
            "taken for 2 endpoints, samples/s (on 8 cores)",
            Section::Throughput,
            throughput::CASE,
            Figure::Taken,
            AtLeast(1_000_000.0),
        ),
        Goal::new(
            "peak memory meanwhile, MiB",
            Section::Throughput,
            throughput::CASE,
            Figure::Memory,
            LessThan(1_024.0),
        ),
    ]);
    goals.extend(of_soak());
    goals
}

/// Of CPU seconds per million samples.
fn of_cost() -> Vec<Goal> {
    use Bound::AtMost;
    let (three, eight) = (fan_out::flat_out(3), fan_out::flat_out(8));
    let prometheus = Some(Contender::PrometheusAgent);
    vec![
        Goal::new(
            "CPU s per million samples, 3 endpoints, everything synced to disk",
            Section::FanOut,
            &three,
            Figure::Cpu,
            AtMost(0.25),
        ),
        Goal::new("the same in proportion to vmagent", Section::FanOut, &three, Figure::CpuRatio, AtMost(0.1))
            .beside(None),
        Goal::new("each further endpoint", Section::FanOut, &eight, Figure::CpuEach, AtMost(0.015)),
        Goal::new("remote write 2.0 in and out", Section::Protocols, protocols::V2_V2, Figure::Cpu, AtMost(0.25))
            .beside(prometheus),
        Goal::new("1.0 in, 2.0 out", Section::Protocols, protocols::V1_V2, Figure::Cpu, AtMost(1.0)).beside(prometheus),
        Goal::new("2.0 in, 1.0 out", Section::Protocols, protocols::V2_V1, Figure::Cpu, AtMost(1.0)).beside(prometheus),
        Goal::new("1.0 in, zstd out", Section::Protocols, protocols::V1_ZSTD, Figure::Cpu, AtMost(1.0))
            .beside(Some(Contender::VmagentZstd)),
        Goal::new(
            "keep and drop rules at one endpoint, more than without",
            Section::Rules,
            rules::KEEP_DROP_ONE,
            Figure::CpuOver,
            AtMost(0.15),
        ),
        Goal::new(
            "rules that edit labels at one endpoint, more than without",
            Section::Rules,
            rules::EDIT_ONE,
            Figure::CpuOver,
            AtMost(1.0),
        ),
    ]
}

/// Of a long run, of whatever length and rate: `bench soak` fails where these do not hold.
fn of_soak() -> [Goal; 3] {
    let goal = |what, figure, bound| Goal { what, section: Section::Soak, case: None, figure, peer: None, bound };
    [
        goal(
            "memory late in a long run, in proportion to early",
            Figure::MemoryLate,
            Bound::TimesFigure(soak::MEMORY_MAY_GROW, Figure::MemoryEarly),
        ),
        goal("most lag in a long run, s of samples", Figure::LagSeconds, Bound::AtMost(soak::LAG_SECONDS)),
        goal("samples lost in a long run", Figure::Lost, Bound::AtMost(0.0)),
    ]
}

/// Whether a soak that was run reached its goals. In a short one memory may be as much more as the caches that are
/// still filling.
pub(crate) fn soak_holds(results: &Results, short: bool) -> bool {
    let filling = |goal: &Goal| short && goal.figure == Figure::MemoryLate;
    of_soak().iter().all(|goal| filling(goal) || goal.reached(results).is_some_and(|reached| reached.holds))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::results::tests::section;

    fn line(results: &Results, what: &str) -> String {
        let table = table(results).expect("text");
        table.lines().find(|line| line.starts_with(&format!("| {what}"))).expect("a goal").to_owned()
    }

    #[test]
    fn a_goal_holds_or_not_by_what_was_measured() {
        let (own, peer) = (Contender::Writegate, Contender::VmagentSnappy);
        for (cpu, verdict) in
            [(0.25, "| 0.250 | 2.500 |  | holds |"), (0.251, "| 0.251 | 2.500 |  | **does not hold** |")]
        {
            let rows = section(&[
                ("3, flat out", 3.0, own, &[(Figure::Cpu, cpu)]),
                ("3, flat out", 3.0, peer, &[(Figure::Cpu, 2.5)]),
            ]);
            let results = Results { sections: BTreeMap::from([(Section::FanOut, rows)]) };
            let line = line(&results, "CPU s per million samples");
            assert!(line.ends_with(verdict), "{line}");
        }
    }

    #[test]
    fn what_was_not_run_has_no_verdict() {
        assert!(line(&Results::default(), "ready with a log of 20 GiB").ends_with("| < 1.00 | not run |  |  |  |"));
        assert!(!soak_holds(&Results::default(), false));
    }

    #[test]
    fn a_goal_may_compare_two_cases_of_the_same_contender() {
        let own = Contender::Writegate;
        let rows = section(&[
            (endpoints::ONE, 0.0, own, &[(Figure::ArrivalP99, 10.0)]),
            (endpoints::FIVE_TWO_DEAD, 3.0, own, &[(Figure::ArrivalP99, 11.5)]),
        ]);
        let results = Results { sections: BTreeMap::from([(Section::Endpoints, rows)]) };
        let line = line(&results, "arrival p99 with 5");
        assert!(line.ends_with("| ≤ 1.20 | 1.15 | not run |  | holds |"), "{line}");
    }

    #[test]
    fn a_soak_fails_by_memory_by_lag_and_by_loss() {
        for (late, lag, lost, holds, short_holds) in [
            (55.0, 1.0, 0.0, true, true),
            (55.1, 1.0, 0.0, false, true),
            (50.0, 5.1, 0.0, false, false),
            (50.0, 1.0, 1.0, false, false),
        ] {
            let figures = [
                (Figure::MemoryEarly, 50.0),
                (Figure::MemoryLate, late),
                (Figure::LagSeconds, lag),
                (Figure::Lost, lost),
            ];
            let rows = section(&[("any", 0.0, Contender::Writegate, &figures)]);
            let results = Results { sections: BTreeMap::from([(Section::Soak, rows)]) };
            let verdicts = [false, true].map(|short| soak_holds(&results, short));
            assert_eq!(verdicts, [holds, short_holds], "{late} {lag} {lost}");
        }
    }
}
