//! A configuration in a recording: numbers in a fixed order.

use core::time::Duration;

use crate::config::{
    Config, DetectorConfig, DiscoveryConfig, Dissemination, LinkConfig, MembersConfig,
    MulticastConfig, ObjectsConfig, Reliability, TableConfig,
};
use crate::crypto::Epoch;
use crate::wire::Malformed;

/// Settings in a configuration.
pub(super) const NUMBERS: usize = 44;

/// A configuration as numbers, in a fixed order; durations in nanoseconds.
pub(super) fn numbers(config: &Config) -> [u64; NUMBERS] {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let Config { link, members, multicast, table, detector, discovery, objects, security: _ } =
        config;
    let dissemination = match multicast.dissemination {
        Dissemination::Trees => 0,
        Dissemination::Multicast => 1,
        Dissemination::Both => 2,
        Dissemination::Gossip => 3,
    };
    [
        link.datagram_bytes as u64,
        link.epoch.0.into(),
        nanos(link.rotate_every),
        link.keyless.into(),
        members.records_max as u64,
        nanos(multicast.round),
        multicast.rounds_aligned.into(),
        multicast.digest_fanout.into(),
        multicast.reliability.nines.into(),
        multicast.give_up_rounds_min.into(),
        multicast.give_up_rounds_max.into(),
        multicast.idle_rounds.into(),
        multicast.long_term_bufferers.into(),
        multicast.buffer_bytes_max as u64,
        multicast.repair_bytes_per_round as u64,
        multicast.solicit_bytes_per_round as u64,
        multicast.solicit_on_arrival.into(),
        multicast.push_old.into(),
        nanos(multicast.gap_wait),
        nanos(multicast.solicit_retry),
        nanos(multicast.tail_wait),
        dissemination,
        multicast.tree_arity.into(),
        multicast.tree_spares.into(),
        multicast.send_rate,
        multicast.send_burst_bytes as u64,
        multicast.send_queue_bytes as u64,
        multicast.streams_max as u64,
        nanos(table.round),
        table.refresh_rounds.into(),
        table.silent_rounds.into(),
        table.gone_rounds.into(),
        table.bytes_per_round as u64,
        table.rows_max as u64,
        nanos(detector.probe_timeout),
        detector.observers.into(),
        detector.return_rounds.into(),
        nanos(discovery.turn),
        nanos(objects.round),
        objects.fetch_bytes_per_round as u64,
        objects.serve_bytes_per_round as u64,
        objects.store_bytes_max as u64,
        multicast.pull_offered.into(),
        multicast.receive_rate_max,
    ]
}

pub(super) fn config(numbers: &[u64; NUMBERS]) -> Result<Config, Malformed> {
    let mut numbers = numbers.iter().copied();
    let mut number = || numbers.next().ok_or(Malformed);
    fn as_<T: TryFrom<u64>>(number: u64) -> Result<T, Malformed> {
        T::try_from(number).map_err(|_| Malformed)
    }
    fn yes(number: u64) -> Result<bool, Malformed> {
        if number > 1 { Err(Malformed) } else { Ok(number == 1) }
    }
    let link = LinkConfig {
        datagram_bytes: as_(number()?)?,
        epoch: Epoch(as_(number()?)?),
        rotate_every: Duration::from_nanos(number()?),
        keyless: yes(number()?)?,
    };
    let members = MembersConfig { records_max: as_(number()?)? };
    let mut multicast = MulticastConfig {
        round: Duration::from_nanos(number()?),
        rounds_aligned: yes(number()?)?,
        digest_fanout: as_(number()?)?,
        reliability: Reliability { nines: as_(number()?)? },
        give_up_rounds_min: as_(number()?)?,
        give_up_rounds_max: as_(number()?)?,
        idle_rounds: as_(number()?)?,
        long_term_bufferers: as_(number()?)?,
        buffer_bytes_max: as_(number()?)?,
        repair_bytes_per_round: as_(number()?)?,
        solicit_bytes_per_round: as_(number()?)?,
        solicit_on_arrival: yes(number()?)?,
        push_old: yes(number()?)?,
        pull_offered: true,
        gap_wait: Duration::from_nanos(number()?),
        solicit_retry: Duration::from_nanos(number()?),
        tail_wait: Duration::from_nanos(number()?),
        dissemination: match number()? {
            0 => Dissemination::Trees,
            1 => Dissemination::Multicast,
            2 => Dissemination::Both,
            3 => Dissemination::Gossip,
            _ => return Err(Malformed),
        },
        tree_arity: as_(number()?)?,
        tree_spares: yes(number()?)?,
        send_rate: number()?,
        send_burst_bytes: as_(number()?)?,
        send_queue_bytes: as_(number()?)?,
        receive_rate_max: 0,
        streams_max: as_(number()?)?,
    };
    let table = TableConfig {
        round: Duration::from_nanos(number()?),
        refresh_rounds: as_(number()?)?,
        silent_rounds: as_(number()?)?,
        gone_rounds: as_(number()?)?,
        bytes_per_round: as_(number()?)?,
        rows_max: as_(number()?)?,
    };
    let detector = DetectorConfig {
        probe_timeout: Duration::from_nanos(number()?),
        observers: as_(number()?)?,
        return_rounds: as_(number()?)?,
    };
    let discovery = DiscoveryConfig { turn: Duration::from_nanos(number()?) };
    let objects = ObjectsConfig {
        round: Duration::from_nanos(number()?),
        fetch_bytes_per_round: as_(number()?)?,
        serve_bytes_per_round: as_(number()?)?,
        store_bytes_max: as_(number()?)?,
    };
    (multicast.pull_offered, multicast.receive_rate_max) = (yes(number()?)?, number()?);
    Ok(Config { link, members, multicast, table, detector, discovery, objects, security: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_comes_back() {
        let mut changed = Config::wan();
        changed.multicast.dissemination = Dissemination::Both;
        changed.multicast.rounds_aligned = true;
        changed.multicast.receive_rate_max = 1_000_000;
        changed.link.datagram_bytes = 9000;
        changed.link.keyless = true;
        changed.link.rotate_every = Duration::from_secs(60);
        changed.discovery.turn = Duration::from_secs(1);
        assert_eq!(config(&numbers(&changed)), Ok(changed));
    }
}
