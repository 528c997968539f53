//! `cargo xtask threats`: whom the project holds out against, and that each defence has a test that
//! fails without it.
//!
//! For each threat one named test is run twice: as the code is, when it must pass, and with the
//! defence switched off (`--cfg spinglass_bug="NAME"`), when it must fail. A defence whose test
//! passes without it is not tested.

use std::fmt;

use anyhow::{Result, bail};

#[cfg(test)]
use crate::shell::root;
use crate::shell::{cargo, run_quietly};
use crate::switches::{self, Switch};

/// One attacker, and what is done about it.
#[derive(Debug)]
pub(crate) struct Threat {
    /// Its number.
    pub(crate) id: &'static str,
    /// Who does what.
    pub(crate) attacker: &'static str,
    /// What holds it up.
    pub(crate) defence: &'static str,
    /// What switches that off.
    pub(crate) switch: &'static str,
    /// The test that fails then.
    test: Test,
}

/// A test, as cargo finds it.
#[derive(Debug)]
struct Test {
    package: &'static str,
    /// A file of the package's folder `tests`; empty: the package's own unit tests.
    file: &'static str,
    name: &'static str,
}

const fn test(package: &'static str, file: &'static str, name: &'static str) -> Test {
    Test { package, file, name }
}

/// Every threat.
pub(crate) const THREATS: [Threat; 26] = [
    Threat {
        id: "T-01",
        attacker: "outsider, with any bytes from any address",
        defence: "a cookie proves the address before anything else is looked at",
        switch: "cookie_unchecked",
        test: test(
            "spinglass-sim",
            "knocking",
            "a_petition_counts_only_as_it_was_made_and_from_where_its_cookie_went",
        ),
    },
    Threat {
        id: "T-02",
        attacker: "outsider, flooding a tenth of the members",
        defence: "answers come to ports that only those know whom one asks",
        switch: "port_untold",
        test: test("spinglass-sim", "flood", "a_flood_costs_a_round_and_a_larger_one_no_more"),
    },
    Threat {
        id: "T-03",
        attacker: "outsider, flooding those who let strangers in",
        defence: "so many cookies a round, and no state for any of them",
        switch: "cookies_unbounded",
        test: test(
            "spinglass-sim",
            "knocking",
            "knocks_from_everywhere_cost_a_bounded_number_of_cookies",
        ),
    },
    Threat {
        id: "T-04",
        attacker: "on the path, seeing everything",
        defence: "no key and counter seal two datagrams",
        switch: "counter_reused",
        test: test("spinglass-sim", "swarm", "every_invariant_holds_under_everything_at_once"),
    },
    Threat {
        id: "T-05",
        attacker: "on the path, changing what passes",
        defence: "the seal covers the header, too",
        switch: "header_unauthenticated",
        test: test("spinglass-crypto", "", "tests::a_seal_opens_only_as_it_was_made"),
    },
    Threat {
        id: "T-06",
        attacker: "on the path, repeating what passed",
        defence: "a window of counters for each boot of each sender",
        switch: "replay_window",
        test: test(
            "spinglass-core",
            "",
            "link::window::tests::a_busy_boot_is_told_apart_over_the_whole_window",
        ),
    },
    Threat {
        id: "T-07",
        attacker: "on the path, cutting one member off",
        defence: "who is silent to a few alone is not dead",
        switch: "one_accuser",
        test: test("spinglass-sim", "detector", "a_path_that_carries_nothing_removes_nobody"),
    },
    Threat {
        id: "T-08",
        attacker: "holder of the link key alone",
        defence: "packets are their signer's, whoever sealed them",
        switch: "signature_unchecked",
        test: test("spinglass-sim", "insiders", "insiders_neither_forge_nor_cut_anybody_off"),
    },
    Threat {
        id: "T-09",
        attacker: "member whose certificate was revoked",
        defence: "what its key signs counts for nothing from the order on",
        switch: "revoked_heard",
        test: test(
            "spinglass-sim",
            "orders",
            "whoever_is_revoked_is_heard_no_longer_and_reads_nothing_after_the_next_rotation",
        ),
    },
    Threat {
        id: "T-10",
        attacker: "insider that passes nothing on, or late",
        defence: "what a tree does not bring is asked of others",
        switch: "holes_unasked",
        test: test("spinglass-sim", "insiders", "insiders_neither_forge_nor_cut_anybody_off"),
    },
    Threat {
        id: "T-11",
        attacker: "insider that forges others' rows",
        defence: "a row is its signer's alone",
        switch: "row_signature_unchecked",
        test: test("spinglass-sim", "insiders", "insiders_neither_forge_nor_cut_anybody_off"),
    },
    Threat {
        id: "T-12",
        attacker: "insider that says two things under one number",
        defence: "both signatures together prove it, and it is heard no more",
        switch: "proof_ignored",
        test: test(
            "spinglass-sim",
            "equivocation",
            "two_packets_of_one_number_put_their_sender_in_quarantine",
        ),
    },
    Threat {
        id: "T-13",
        attacker: "insider that accuses everybody",
        defence: "one accuser removes nobody",
        switch: "one_accuser",
        test: test(
            "spinglass-core",
            "",
            "detector::rings::tests::one_accuser_removes_nobody_and_liars_elsewhere_do_not_count",
        ),
    },
    Threat {
        id: "T-14",
        attacker: "insider that signs rows of the far future",
        defence: "a row of the future is refused",
        switch: "row_from_future",
        test: test(
            "spinglass-sim",
            "table_swarm",
            "the_tables_invariants_hold_under_everything_at_once",
        ),
    },
    Threat {
        id: "T-15",
        attacker: "insider that asks for everything",
        defence: "each asker has so much work done, and all together",
        switch: "questions_unbounded",
        test: test("spinglass-sim", "query", "whoever_asks_too_much_is_refused_and_hears_it"),
    },
    Threat {
        id: "T-16",
        attacker: "representative that tells falsehoods of its zone",
        defence: "every agent below compares the zone's row with its table",
        switch: "summary_unaudited",
        test: test("spinglass-sim", "audit", "a_liar_is_told_of_within_three_quiet_rounds"),
    },
    Threat {
        id: "T-17",
        attacker: "author of a function that never ends",
        defence: "steps and memory are counted",
        switch: "steps_unbounded",
        test: test("spinglass-summary", "hostile", "each_ends_with_an_error_that_names_the_cause"),
    },
    Threat {
        id: "T-18",
        attacker: "insider that installs a function without the right",
        defence: "the rules are asked at every hop",
        switch: "install_unchecked",
        test: test("spinglass-sim", "certified", "rules_hold_at_the_origin_and_at_every_hop"),
    },
    Threat {
        id: "T-19",
        attacker: "insiders who stand together round one member",
        defence: "who may accuse whom follows from all names, and from nobody's word",
        switch: "any_accuser",
        test: test(
            "spinglass-core",
            "",
            "detector::rings::tests::one_accuser_removes_nobody_and_liars_elsewhere_do_not_count",
        ),
    },
    Threat {
        id: "T-20",
        attacker: "one that comes under many names",
        defence: "each name takes a certificate",
        switch: "uncertified_heard",
        test: test(
            "spinglass-sim",
            "certified",
            "whoever_has_no_certificate_that_holds_is_never_heard",
        ),
    },
    Threat {
        id: "T-21",
        attacker: "thief of a zone's certifier",
        defence: "a certifier names only what lies below its zone",
        switch: "zone_unbound",
        test: test(
            "spinglass-cli",
            "certificates",
            "what_openssl_issued_against_our_rules_is_refused_for_its_reason",
        ),
    },
    Threat {
        id: "T-22",
        attacker: "another user of the machine",
        defence: "the agent's socket is its user's alone",
        switch: "socket_open",
        test: test("spinglass-cli", "", "agent::control::tests::the_socket_is_its_users_alone"),
    },
    Threat {
        id: "T-23",
        attacker: "a damaged or older disk",
        defence: "what is read there is checked, and nothing hangs on it",
        switch: "memory_unchecked",
        test: test(
            "spinglass",
            "",
            "memory::tests::what_was_written_is_read_and_any_damage_is_seen",
        ),
    },
    Threat {
        id: "T-24",
        attacker: "whoever sets the clock back",
        defence: "lives rise by what was written down, too",
        switch: "life_by_clock",
        test: test("spinglass", "", "incarnation::tests::lives_rise_also_when_the_clock_does_not"),
    },
    Threat {
        id: "T-25",
        attacker: "whoever slips code into a dependency",
        defence: "packages come from the registry, and run no build script that nobody read",
        switch: "supply_unchecked",
        test: test("xtask", "", "supply::tests::what_comes_from_elsewhere_is_found"),
    },
    Threat {
        id: "T-26",
        attacker: "whoever has members go without a key",
        defence: "no node starts beyond loopback without one",
        switch: "key_optional",
        test: test("spinglass", "members", "what_cannot_work_does_not_start"),
    },
];

/// What became of a threat's test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It passes, and fails without the defence.
    Holds,
    /// It fails as the code is.
    Fails,
    /// It passes without the defence, too.
    ProvesNothing,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Holds => "pass",
            Self::Fails => "FAIL: the test fails",
            Self::ProvesNothing => "FAIL: the test passes without the defence",
        })
    }
}

/// Tries the threats that the words name, or all, and prints the table.
pub(crate) fn threats(words: &[&str]) -> Result<bool> {
    let (options, ids): (Vec<&str>, Vec<&str>) =
        words.iter().partition(|word| word.starts_with('-'));
    if let Some(unknown) = options.iter().find(|word| **word != "--list") {
        bail!("no option {unknown}: there is --list");
    }
    if let Some(unknown) = ids.iter().find(|id| THREATS.iter().all(|threat| threat.id != **id)) {
        bail!("no threat {unknown}: see cargo xtask threats --list");
    }
    let mut failed = 0;
    for threat in THREATS.iter().filter(|threat| ids.is_empty() || ids.contains(&threat.id)) {
        let Threat { id, attacker, defence, switch, test } = threat;
        println!("{id}  {attacker}: {defence}");
        println!("      {}::{} against {switch}", test.place(), test.name);
        if options.is_empty() {
            let outcome = threat.outcome()?;
            println!("      {outcome}");
            failed += u32::from(outcome != Outcome::Holds);
        }
    }
    if options.is_empty() && failed > 0 {
        println!("{failed} failed");
    }
    Ok(failed == 0)
}

impl Threat {
    /// Runs its test with the defence and without.
    pub(crate) fn outcome(&self) -> Result<Outcome> {
        if !self.test.passes(None)? {
            return Ok(Outcome::Fails);
        }
        Ok(if self.is_caught()? { Outcome::Holds } else { Outcome::ProvesNothing })
    }

    /// Whether its test fails without the defence.
    pub(crate) fn is_caught(&self) -> Result<bool> {
        Ok(!self.test.passes(Some(&Switch::bug(self.switch)?))?)
    }
}

impl Test {
    fn place(&self) -> String {
        let Self { package, file, .. } = self;
        if file.is_empty() { (*package).to_owned() } else { format!("{package} {file}") }
    }

    /// Whether the test, and no other, passes. One that is not there, or does not build, does not
    /// count as one that fails.
    fn passes(&self, switch: Option<&Switch>) -> Result<bool> {
        let mut words = vec!["test", "--quiet", "--package", self.package];
        match (self.file, self.package) {
            ("", "spinglass-cli" | "xtask") => words.push("--bins"),
            ("", _) => words.push("--lib"),
            (file, _) => words.extend(["--test", file]),
        }
        let build: Vec<&str> = words.iter().copied().chain(["--no-run"]).collect();
        let built = run_quietly(&mut switches::with(cargo(&build), switch))?;
        if !built.success {
            bail!("the tests do not build:\n{}", built.stderr.join("\n"));
        }
        words.extend(["--", "--exact", self.name]);
        let run = run_quietly(&mut switches::with(cargo(&words), switch))?;
        let is_there = run.stdout.iter().any(|line| line.trim() == "running 1 test");
        if !is_there {
            bail!("{} has no test {}", self.place(), self.name);
        }
        Ok(run.success)
    }

    /// The file that its function stands in.
    #[cfg(test)]
    fn source(&self) -> std::path::PathBuf {
        let folder = match self.package {
            "xtask" => root().join("xtask"),
            package => root().join("crates").join(package),
        };
        if !self.file.is_empty() {
            return folder.join("tests").join(format!("{}.rs", self.file));
        }
        let mut modules: Vec<&str> = self.name.split("::").collect();
        modules.truncate(modules.len().saturating_sub(2));
        let path = if modules.is_empty() { "lib".to_owned() } else { modules.join("/") };
        folder.join("src").join(path).with_extension("rs")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_threat_has_its_row() {
        let ids: Vec<String> = (1..=THREATS.len()).map(|id| format!("T-{id:02}")).collect();
        assert!(THREATS.iter().map(|threat| threat.id).eq(ids.iter().map(String::as_str)));
        let text = fs::read_to_string(root().join("docs/security.md")).unwrap();
        for Threat { id, attacker, defence, .. } in &THREATS {
            let row = format!("| {id} | {attacker} | {defence} |");
            assert!(text.contains(&row), "docs/security.md lacks: {row}");
        }
    }

    #[test]
    fn every_test_is_there() {
        for threat in &THREATS {
            let source = threat.test.source();
            let function = threat.test.name.rsplit("::").next().unwrap_or_default();
            let text = fs::read_to_string(&source).unwrap_or_default();
            let found = text.contains(&format!("fn {function}("));
            assert!(found, "{} has no test {function}", source.display());
        }
    }
}
