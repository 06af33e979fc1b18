//! The sections of the report, one file each: what is varied, and who takes part.

pub(crate) mod backlog;
pub(crate) mod endpoints;
pub(crate) mod fan_out;
pub(crate) mod isolation;
pub(crate) mod outage;
pub(crate) mod protocols;
pub(crate) mod requests;
pub(crate) mod rules;
pub(crate) mod series;
pub(crate) mod soak;
pub(crate) mod start;
pub(crate) mod tenants;
pub(crate) mod throughput;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::figures::Figure;
use crate::sizes::Sizes;

/// A section, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Section {
    FanOut,
    Protocols,
    Rules,
    Series,
    Tenants,
    Isolation,
    Requests,
    Endpoints,
    Backlog,
    Start,
    Outage,
    Throughput,
    Soak,
}

/// What the report says about a section.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) title: &'static str,
    /// What is done, and what to know about it. Sizes are added from what was run.
    pub(crate) text: &'static str,
    /// Heading of the first column: what distinguishes the cases.
    pub(crate) varies: &'static str,
    pub(crate) columns: &'static [Figure],
    /// Whether repeating it is worth its time: otherwise it is run once.
    pub(crate) repeats: bool,
}

impl Section {
    pub(crate) const fn about(self) -> &'static About {
        match self {
            Self::FanOut => &fan_out::ABOUT,
            Self::Protocols => &protocols::ABOUT,
            Self::Rules => &rules::ABOUT,
            Self::Series => &series::ABOUT,
            Self::Tenants => &tenants::ABOUT,
            Self::Isolation => &isolation::ABOUT,
            Self::Requests => &requests::ABOUT,
            Self::Endpoints => &endpoints::ABOUT,
            Self::Backlog => &backlog::ABOUT,
            Self::Start => &start::ABOUT,
            Self::Outage => &outage::ABOUT,
            Self::Throughput => &throughput::ABOUT,
            Self::Soak => &soak::ABOUT,
        }
    }

    /// What is run; nothing for what has a command of its own.
    pub(crate) fn cases(self, sizes: &Sizes) -> Vec<Case> {
        match self {
            Self::FanOut => fan_out::cases(sizes),
            Self::Protocols => protocols::cases(sizes),
            Self::Rules => rules::cases(sizes),
            Self::Series => series::cases(sizes),
            Self::Tenants => tenants::cases(sizes),
            Self::Isolation => isolation::cases(sizes),
            Self::Requests => requests::cases(sizes),
            Self::Endpoints => endpoints::cases(sizes),
            Self::Backlog => backlog::cases(sizes),
            Self::Start => start::cases(sizes),
            Self::Outage => outage::cases(sizes),
            Self::Throughput => throughput::cases(sizes),
            Self::Soak => Vec::new(),
        }
    }

    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Those of `bench all`.
    pub(crate) fn of_all() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied().filter(|section| *section != Self::Soak)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Contender;

    /// Every gateway is there.
    fn sizes(quick: bool) -> Sizes {
        let contenders = Contender::value_variants().to_vec();
        let time = std::time::Duration::from_secs(1);
        Sizes { quick, runs: 1, time, backlog: 100_000_000, outage: time, log_bytes: 20 << 30, contenders }
    }

    #[test]
    fn no_two_cases_of_a_section_are_the_same_row() {
        for section in Section::of_all() {
            for quick in [false, true] {
                let cases = section.cases(&sizes(quick));
                let mut rows: Vec<_> = cases.iter().map(|case| (case.name.clone(), case.contender)).collect();
                assert!(!rows.is_empty(), "{section:?}");
                rows.sort();
                let all = rows.len();
                rows.dedup();
                assert_eq!(rows.len(), all, "{section:?}");
            }
        }
    }

    #[test]
    fn writegate_is_in_every_case() {
        for section in Section::of_all() {
            let cases = section.cases(&sizes(false));
            for case in &cases {
                let same = |other: &&Case| other.name == case.name && other.contender == Contender::Writegate;
                assert!(cases.iter().any(|other| same(&other)) || section == Section::Backlog, "{}", case.name);
            }
        }
    }
}
