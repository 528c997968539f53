//! Scenarios: experiments as they stand in TOML files, each at full size and at a small one.

use serde::Deserialize;
use thiserror::Error;

use crate::experiment::Experiment;
use crate::experiment::figure1::Figure1;
use crate::experiment::figure3::Figure3;

/// The scenarios that come with the laboratory: their names, and their files.
pub const BUILT_IN: [(&str, &str); 2] = [
    ("figure1", include_str!("../scenarios/figure1.toml")),
    ("figure3", include_str!("../scenarios/figure3.toml")),
];

/// How much of a scenario is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it: minutes.
    Full,
    /// A little of everything: seconds.
    Small,
}

/// A text that is no scenario.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// It can't be read.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// It says something that makes no sense.
    #[error("{0} must not be empty, nor have values that are 0 or too large")]
    Senseless(&'static str),
}

/// A scenario's file.
#[derive(Debug, Deserialize)]
#[serde(tag = "experiment", rename_all = "lowercase")]
enum Scenario {
    Figure1 { full: Figure1, small: Figure1 },
    Figure3 { full: Figure3, small: Figure3 },
}

/// Reads a scenario.
///
/// # Errors
/// It is no TOML, names no experiment, or leaves out or adds a setting; or one makes no sense.
pub fn parse(text: &str, extent: Extent) -> Result<Box<dyn Experiment>, ScenarioError> {
    let is_full = extent == Extent::Full;
    Ok(match toml::from_str(text)? {
        Scenario::Figure1 { full, small } => {
            let experiment = if is_full { full } else { small };
            experiment.check().map_err(ScenarioError::Senseless)?;
            Box::new(experiment)
        }
        Scenario::Figure3 { full, small } => {
            let experiment = if is_full { full } else { small };
            experiment.check().map_err(ScenarioError::Senseless)?;
            Box::new(experiment)
        }
    })
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
        assert!(bad(&text.replacen("rate = 200", "rate = 0", 1)).unwrap().contains("rate"));
    }
}
