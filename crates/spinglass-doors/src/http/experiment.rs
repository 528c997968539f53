//! An experiment that the console shows: what it is set to, what it gives, moment by moment, and
//! how whoever looks on sets it otherwise. An agent has none; `spinglass demo --console` has.

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::{Json, Router, routing};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::changing::Trusted;
use super::{Door, Problem};

/// What is done to the members. All are shares, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knobs {
    /// Of the members: those that are stopped and continued.
    pub sleepers: f64,
    /// Of the slots of 100 ms: those in which such a member is stopped.
    pub asleep: f64,
    /// Of the packets that reach a member: those that it drops.
    pub loss: f64,
}

impl Knobs {
    /// As far as they may be turned: a member that never wakes is dead, and where all is lost
    /// nothing is to be seen.
    pub const MOST: Self = Self { sleepers: 1.0, asleep: 0.95, loss: 0.5 };

    /// Itself, if all are as far as they may be.
    ///
    /// # Errors
    /// One is not; the text says which, and how far it may be.
    pub fn check(self) -> Result<Self, String> {
        let Self { sleepers, asleep, loss } = self;
        let most = Self::MOST;
        for (name, share, most) in [
            ("sleepers", sleepers, most.sleepers),
            ("asleep", asleep, most.asleep),
            ("loss", loss, most.loss),
        ] {
            if !(0.0..=most).contains(&share) {
                return Err(format!("{name} lies between 0 and {most}, and {share} does not"));
            }
        }
        Ok(self)
    }
}

/// What was seen in one bin of time. Rates are messages per second.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Moment {
    /// Seconds since the experiment began.
    pub at: f64,
    /// What the sender is to publish.
    pub offered: f64,
    /// What the slowest healthy receiver delivered; none: all sleep.
    pub healthy_least: Option<f64>,
    /// What the average healthy receiver delivered.
    pub healthy: Option<f64>,
    /// What the average sleeper delivered; none: nobody sleeps.
    pub sleeping: Option<f64>,
    /// Repairs that all receivers were sent, a second.
    pub repairs: f64,
    /// Gaps that all receivers were told, a second.
    pub gaps: f64,
}

/// The experiment as it is told.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    /// Members, the sender included.
    pub members: usize,
    /// Those of them that sleep now.
    pub sleepers: usize,
    /// What it is set to, and as far as that goes.
    pub knobs: Knobs,
    /// See `knobs`.
    pub most: Knobs,
    /// The latest moments, oldest first.
    pub moments: Vec<Moment>,
}

/// An experiment, as the door knows it.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// What there is to tell.
    pub told: watch::Receiver<Told>,
    /// What it is to be set to.
    pub knobs: watch::Sender<Knobs>,
}

pub(super) fn routes() -> Router<Door> {
    Router::new().route("/v1/experiment", routing::get(told).patch(turn))
}

fn none() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "an agent has no experiment: `spinglass demo --console` has",
    )
}

async fn told(State(door): State<Door>) -> Result<Json<Told>, Problem> {
    let experiment = door.settings.experiment.as_ref().ok_or_else(none)?;
    let mut told = experiment.told.borrow().clone();
    // What was turned a moment ago is told as it was turned.
    told.knobs = *experiment.knobs.borrow();
    Ok(Json(told))
}

async fn turn(
    State(door): State<Door>,
    _: Trusted,
    knobs: Result<Json<Knobs>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let experiment = door.settings.experiment.as_ref().ok_or_else(none)?;
    let Json(knobs) = knobs?;
    let knobs = knobs.check().map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error))?;
    experiment.knobs.send_replace(knobs);
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knobs_turn_as_far_as_they_go() {
        assert_eq!(Knobs::MOST.check(), Ok(Knobs::MOST));
        let still = Knobs { sleepers: 0.0, asleep: 0.0, loss: 0.0 };
        assert_eq!(still.check(), Ok(still));
        for loss in [-0.1, 0.6, f64::NAN] {
            assert!(Knobs { loss, ..still }.check().is_err_and(|error| error.contains("loss")));
        }
        assert!(Knobs { asleep: 1.0, ..still }.check().is_err());
    }
}
