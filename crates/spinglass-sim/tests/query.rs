//! Questions, simulated: answers are whole when everybody can be reached, never wrong, and say
//! what they lack.

use std::time::Duration;

use spinglass_core::query::{Answer, Outcome, Question, QuestionId, Reach};
use spinglass_core::table::{Row, Value, ZonePath};
use spinglass_core::{Config, Prng, Reject, TableConfig};
use spinglass_sim::{Blind, Network, Setup, World};

/// Three levels: three zones of three regions of five agents.
const AGENTS: usize = 45;
/// What rules zones out.
const PROOFS: &str = "SELECT MIN(load) AS load, UNION(licence) AS licence FROM zone";
/// How long answers are waited for.
const WITHIN: Duration = Duration::from_secs(8);
/// Time after which every answer is there.
const PATIENCE: Duration = Duration::from_secs(9);

/// Agents whose loads are their numbers, of which every fourteenth has a licence.
fn fabric(seed: u64, network: Network) -> World {
    fabric_of(seed, network, 0)
}

fn fabric_of(seed: u64, network: Network, tamper_ppm: u32) -> World {
    let mut config = Config::lan();
    config.multicast.round = Duration::from_secs(60);
    let mut setup = Setup::new(AGENTS, config, seed);
    setup.config.table = TableConfig::default();
    (setup.region_members, setup.zone_children) = (5, 3);
    setup.tamper_ppm = tamper_ppm;
    let mut world = World::new(setup, network);
    for agent in 0..AGENTS {
        world.set_attribute(agent, "load", Value::Int(agent as i64)).expect("it can be set");
        let licence = if agent % 14 == 3 { Value::text("x") } else { Value::Null };
        world.set_attribute(agent, "licence", licence).expect("it can be set");
    }
    world.settle(&[("proofs", PROOFS.into())]);
    world
}

fn root() -> ZonePath {
    ZonePath::root()
}

fn ask(world: &mut World, agent: usize, zone: &ZonePath, sql: Option<&str>) -> QuestionId {
    let question = Question { zone: zone.clone(), sql: sql.map(Into::into), within: WITHIN };
    world.ask(agent, &question).expect("it can be asked")
}

fn answer(world: &mut World, agent: usize, zone: &ZonePath, sql: Option<&str>) -> Answer {
    let question = ask(world, agent, zone, sql);
    world.run(PATIENCE, &mut Blind);
    world.take_answer(agent, question).expect("every question is answered in time")
}

fn hosts(answer: &Answer) -> &[Row] {
    match &answer.outcome {
        Outcome::Hosts { rows, .. } => rows,
        other => panic!("{other:?} are no hosts"),
    }
}

fn loads(answer: &Answer) -> Vec<i64> {
    let load = |row: &Row| row.get("load").and_then(Value::as_int).expect("all have one");
    hosts(answer).iter().map(load).collect()
}

/// A question, and the loads of those hosts that it should find, in their order.
fn draw(rng: &mut Prng) -> (String, Vec<i64>) {
    let all = 0..AGENTS as i64;
    let bound = rng.below(AGENTS as u64) as i64;
    match rng.index(4) {
        0 => (
            format!("SELECT load FROM hosts WHERE load < {bound} ORDER BY load DESC"),
            all.filter(|load| *load < bound).rev().collect(),
        ),
        1 => (
            "SELECT load, zone FROM hosts WHERE licence = 'x' ORDER BY load LIMIT 3".into(),
            all.filter(|load| load % 14 == 3).take(3).collect(),
        ),
        2 => (
            format!("SELECT load FROM hosts WHERE load >= {bound} ORDER BY load LIMIT 7"),
            all.filter(|load| *load >= bound).take(7).collect(),
        ),
        _ => (
            format!("SELECT load FROM hosts WHERE load % 2 = {} ORDER BY load", bound % 2),
            all.filter(|load| load % 2 == bound % 2).collect(),
        ),
    }
}

#[test]
fn answers_are_whole_when_everybody_can_be_reached() {
    for seed in 0..50 {
        let mut world = fabric(seed, Network { loss_ppm: 100_000, ..Network::default() });
        let mut rng = Prng::new(seed).fork("questions");
        let (sql, want) = draw(&mut rng);
        let agent = rng.index(AGENTS);
        let answer = answer(&mut world, agent, &root(), Some(&sql));
        assert_eq!(loads(&answer), want, "seed {seed}: {sql}: {:?}", answer.reach);
        assert!(answer.reach.is_whole(), "seed {seed}: {sql}: {:?}", answer.reach);
        world.node(agent).expect("it lives").check_invariants();
    }
}

#[test]
fn every_zone_can_be_read_from_everywhere() {
    for seed in 0..50 {
        let mut world = fabric(seed, Network { loss_ppm: 100_000, ..Network::default() });
        let mut rng = Prng::new(seed).fork("zones");
        let (agent, other) = (rng.index(AGENTS), rng.index(AGENTS));
        let zone = world.setup().region(other).ancestor(1 + rng.index(2));
        let answer = answer(&mut world, agent, &zone, None);
        let Outcome::Zone(read) = answer.outcome else { panic!("seed {seed}: {answer:?}") };
        let there = world.node(other).unwrap().table();
        let names = there.rows(&zone).unwrap();
        let names: Vec<_> = names.iter().map(|row| row.name()).collect();
        assert_eq!(read.rows.iter().map(|aged| aged.row.name()).collect::<Vec<_>>(), names);
        assert_eq!(read.summary, there.summary(&zone).unwrap(), "seed {seed}: {zone}");
        assert!(answer.reach.is_whole(), "seed {seed}: {:?}", answer.reach);
    }
}

#[test]
fn summaries_keep_questions_from_where_nothing_is() {
    let mut world = fabric(1, Network::default());
    let taken = |world: &World| -> u64 {
        (0..AGENTS).map(|agent| world.stats(agent).questions_taken).sum()
    };
    for (sql, asked, ruled_out) in [
        ("SELECT load FROM hosts WHERE load >= 1000", 8, 0),
        ("SELECT load FROM hosts WHERE load < 0", 0, 4),
        ("SELECT load FROM hosts WHERE licence = 'y'", 0, 4),
        ("SELECT load FROM hosts WHERE load < 5 AND licence = 'x'", 0, 4),
        ("SELECT load FROM hosts WHERE zone = '/z001/z002'", 2, 4),
        ("SELECT load FROM hosts", 8, 0),
    ] {
        let before = taken(&world);
        let answer = answer(&mut world, 0, &root(), Some(sql));
        let Reach { asked: got, ruled_out: passed_by, .. } = answer.reach;
        assert_eq!((got, passed_by), (asked, ruled_out), "{sql}");
        assert_eq!(taken(&world) - before, u64::from(asked), "{sql}");
        assert!(answer.reach.is_whole(), "{sql}");
    }
}

#[test]
fn what_a_zone_computes_otherwise_proves_nothing() {
    let mut world = fabric(2, Network::default());
    // There, the least load is the greatest.
    let zone = world.setup().region(20).ancestor(1);
    let other = "SELECT MAX(load) AS load, UNION(licence) AS licence FROM zone";
    world.set_summary(20, &zone, "proofs", Some(other)).unwrap();
    world.run(Duration::from_secs(60), &mut Blind);
    let sql = "SELECT load FROM hosts WHERE load < 20 ORDER BY load";
    let answer = answer(&mut world, 0, &root(), Some(sql));
    assert_eq!(loads(&answer), (0..20).collect::<Vec<_>>());
    assert!(answer.reach.is_whole());
}

#[test]
fn the_dead_and_the_cut_off_are_told_of_and_nothing_is_made_up() {
    let (mut whole, mut partial) = (0, 0);
    for seed in 0..50 {
        let mut world = fabric(seed, Network { loss_ppm: 100_000, ..Network::default() });
        let mut rng = Prng::new(seed).fork("faults");
        let asker = rng.index(AGENTS);
        // Representatives of some regions die, all of them in one; a part is cut off.
        let dead: Vec<usize> = (0..AGENTS)
            .filter(|agent| {
                *agent != asker && (agent % 5 < rng.index(3) || (25..30).contains(agent))
            })
            .collect();
        dead.iter().for_each(|agent| world.crash(*agent));
        let cut = rng.index(3);
        if rng.chance_ppm(500_000) {
            let part = |agent: usize| u8::from(agent / 15 == cut && asker / 15 != cut);
            world.network.parts = (0..AGENTS).map(part).collect();
        }
        let sql = "SELECT load FROM hosts ORDER BY load";
        let answer = answer(&mut world, asker, &root(), Some(sql));
        let found = loads(&answer);
        assert!(found.is_sorted() && found.windows(2).all(|pair| pair[0] < pair[1]));
        // Rows of the dead may still be there: nobody knows yet. All others that are missing are
        // told of.
        let lacks = (0..AGENTS as i64).filter(|load| !found.contains(load)).count();
        assert_eq!(lacks > 0, !answer.reach.is_whole(), "seed {seed}: {lacks}, {:?}", answer.reach);
        whole += u32::from(lacks == 0);
        partial += u32::from(lacks > 0);
    }
    assert!(partial >= 20, "{whole} whole, {partial} partial");
}

#[test]
fn long_answers_come_in_pieces_and_the_longest_are_cut() {
    let mut world = fabric(3, Network { loss_ppm: 100_000, ..Network::default() });
    for agent in 0..AGENTS {
        world.set_attribute(agent, "text", Value::text(&"x".repeat(600))).unwrap();
    }
    world.run(Duration::from_secs(30), &mut Blind);
    let long = answer(&mut world, 0, &root(), Some("SELECT load, text FROM hosts ORDER BY load"));
    assert_eq!(loads(&long), (0..AGENTS as i64).collect::<Vec<_>>(), "{:?}", long.reach);
    let pieces: u64 = (0..AGENTS).map(|agent| world.stats(agent).pieces_sent).sum();
    assert!(pieces > 45 * 600 / 900, "{pieces}");
    // More than any answer holds: rows that are several times as long.
    let many = format!("SELECT load, {} FROM hosts ORDER BY load", copies(12));
    let cut = answer(&mut world, 0, &root(), Some(&many));
    assert!(cut.reach.is_cut && !cut.reach.is_whole(), "{:?}", cut.reach);
    let found = loads(&cut);
    assert!(found.len() > 20 && found.len() < AGENTS, "{}", found.len());
}

fn copies(count: usize) -> String {
    let copy = |number| format!("text AS t{number}");
    (0..count).map(copy).collect::<Vec<_>>().join(", ")
}

#[test]
fn nothing_forged_is_shown() {
    let (mut shown, mut refused) = (0, 0);
    for seed in 0..20 {
        let mut world = tampered(seed);
        let zone = world.setup().region(40);
        let answer = answer(&mut world, 1, &zone, None);
        let Outcome::Zone(read) = answer.outcome else { continue };
        for row in read.rows {
            let load = row.row.attributes().get("load").and_then(Value::as_int);
            assert_eq!(load.map(|load| format!("n{load:07}")).as_deref(), Some(row.row.name()));
            shown += 1;
        }
        let forged = |agent| world.stats(agent).rejected(Reject::Forged);
        refused += (0..AGENTS).map(forged).sum::<u64>();
    }
    assert!(shown > 20 && refused > 20, "{shown} rows shown, {refused} datagrams refused");
}

/// A fabric in which every third agent bends a part of what it sends.
fn tampered(seed: u64) -> World {
    let mut world = fabric_of(seed, Network::default(), 300_000);
    world.run(Duration::from_secs(1), &mut Blind);
    world
}

#[test]
fn no_such_zone_is_said_by_whoever_knows() {
    let mut world = fabric(4, Network::default());
    let zones = ["/nowhere", "/z002/nowhere", "/z002/z001/n0000000", "/z000/z000/deeper"];
    let firsts = ["/nowhere", "/z002/nowhere", "/z002/z001/n0000000", "/z000/z000/deeper"];
    for (zone, first) in zones.into_iter().zip(firsts) {
        let zone = ZonePath::parse(zone).unwrap();
        for sql in [None, Some("SELECT * FROM hosts")] {
            let answer = answer(&mut world, 0, &zone, sql);
            let Outcome::NoSuchZone(missing) = &answer.outcome else { panic!("{answer:?}") };
            assert_eq!(missing.as_str(), first);
        }
    }
}

#[test]
fn whoever_asks_too_much_is_refused_and_hears_it() {
    let mut world = fabric(5, Network::default());
    let zone = world.setup().region(AGENTS - 1).ancestor(1);
    let sql = Some(String::from("SELECT load FROM hosts ORDER BY load"));
    let question = Question { zone, sql, within: WITHIN };
    let askers = [0, 5, 17, 22];
    let mut asked = Vec::new();
    for agent in askers {
        let ids = (0..80).map_while(|_| world.ask(agent, &question).ok());
        asked.extend(ids.map(|id| (agent, id)));
    }
    assert_eq!(asked.len(), 4 * 64, "an agent has so many questions at once");
    world.run(PATIENCE, &mut Blind);
    for (agent, id) in asked {
        let answer = world.take_answer(agent, id).expect("every question is answered in time");
        assert_eq!(loads(&answer), (30..45).collect::<Vec<_>>(), "{:?}", answer.reach);
        assert!(answer.reach.is_whole());
    }
    let refused: u64 = (0..AGENTS).map(|agent| world.stats(agent).questions_refused).sum();
    assert!(refused > 0, "three agents don't take 256 questions at once");
}
