//! Scenarios: experiments as they stand in TOML files, each at full size and at a small one.

use serde::Deserialize;
use thiserror::Error;

use crate::experiment::astrolabe::Astrolabe;
use crate::experiment::bimodality::Bimodality;
use crate::experiment::buffers::Buffers;
use crate::experiment::detector::Detector;
use crate::experiment::fec::Fec;
use crate::experiment::figure1::Figure1;
use crate::experiment::figure2::Figure2;
use crate::experiment::figure3::Figure3;
use crate::experiment::micropartitions::Micropartitions;
use crate::experiment::ratings::Ratings;
use crate::experiment::scaling::Scaling;
use crate::experiment::troubles::Troubles;
use crate::experiment::{Experiment, SettingError};

/// The scenarios that come with the laboratory: their names, and their files.
pub const BUILT_IN: [(&str, &str); 12] = [
    ("figure1", include_str!("../scenarios/figure1.toml")),
    ("figure3", include_str!("../scenarios/figure3.toml")),
    ("micropartitions", include_str!("../scenarios/micropartitions.toml")),
    ("figure2", include_str!("../scenarios/figure2.toml")),
    ("fec", include_str!("../scenarios/fec.toml")),
    ("buffers", include_str!("../scenarios/buffers.toml")),
    ("bimodality", include_str!("../scenarios/bimodality.toml")),
    ("astrolabe", include_str!("../scenarios/astrolabe.toml")),
    ("detector", include_str!("../scenarios/detector.toml")),
    ("ratings", include_str!("../scenarios/ratings.toml")),
    ("scaling", include_str!("../scenarios/scaling.toml")),
    ("troubles", include_str!("../scenarios/troubles.toml")),
];

/// How much of a scenario is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it: minutes.
    Full,
    /// A little of everything: seconds.
    Small,
}

impl Extent {
    fn of<T>(self, full: T, small: T) -> T {
        match self {
            Self::Full => full,
            Self::Small => small,
        }
    }
}

/// A text that is no scenario.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// It can't be read.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A setting makes no sense.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// A scenario's file.
#[derive(Debug, Deserialize)]
#[serde(tag = "experiment", rename_all = "lowercase")]
enum Scenario {
    Figure1 { full: Figure1, small: Figure1 },
    Figure3 { full: Figure3, small: Figure3 },
    Micropartitions { full: Micropartitions, small: Micropartitions },
    Figure2 { full: Figure2, small: Figure2 },
    Fec { full: Fec, small: Fec },
    Buffers { full: Buffers, small: Buffers },
    Bimodality { full: Bimodality, small: Bimodality },
    Astrolabe { full: Astrolabe, small: Astrolabe },
    Detector { full: Detector, small: Detector },
    Ratings { full: Ratings, small: Ratings },
    Scaling { full: Scaling, small: Scaling },
    Troubles { full: Troubles, small: Troubles },
}

/// Reads a scenario.
///
/// # Errors
/// It is no TOML, names no experiment, or leaves out or adds a setting; or one makes no sense.
pub fn parse(text: &str, extent: Extent) -> Result<Box<dyn Experiment>, ScenarioError> {
    let experiment: Box<dyn Experiment> = match toml::from_str(text)? {
        Scenario::Figure1 { full, small } => Box::new(extent.of(full, small)),
        Scenario::Figure3 { full, small } => Box::new(extent.of(full, small)),
        Scenario::Micropartitions { full, small } => Box::new(extent.of(full, small)),
        Scenario::Figure2 { full, small } => Box::new(extent.of(full, small)),
        Scenario::Fec { full, small } => Box::new(extent.of(full, small)),
        Scenario::Buffers { full, small } => Box::new(extent.of(full, small)),
        Scenario::Bimodality { full, small } => Box::new(extent.of(full, small)),
        Scenario::Astrolabe { full, small } => Box::new(extent.of(full, small)),
        Scenario::Detector { full, small } => Box::new(extent.of(full, small)),
        Scenario::Ratings { full, small } => Box::new(extent.of(full, small)),
        Scenario::Scaling { full, small } => Box::new(extent.of(full, small)),
        Scenario::Troubles { full, small } => Box::new(extent.of(full, small)),
    };
    experiment.check()?;
    Ok(experiment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_built_in_can_be_read() {
        for (name, text) in BUILT_IN {
            for extent in [Extent::Full, Extent::Small] {
                let experiment = parse(text, extent).unwrap_or_else(|it| panic!("{name}: {it}"));
                assert!(!experiment.jobs().is_empty());
            }
        }
    }

    #[test]
    fn what_is_no_scenario_is_refused_and_says_why() {
        let bad = |text: &str| parse(text, Extent::Full).err().map(|error| error.to_string());
        assert!(bad("experiment = 'figure9'").unwrap().contains("figure9"));
        let text = BUILT_IN[0].1;
        assert!(bad(&text.replace("seeds", "sheds")).unwrap().contains("sheds"));
        let rate = bad(&text.replacen("rate = 200", "rate = 0", 1)).unwrap();
        assert_eq!(rate, "load.rate is 0: it must be from 1 to 10000");
        let seeds = bad(&text.replacen("seeds = [1, 2, 3]", "seeds = []", 1)).unwrap();
        assert_eq!(seeds, "seeds is empty: give at least one value");
    }
}
