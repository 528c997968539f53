//! Policies: order, default, and their one form.

use alloc::format;
use alloc::string::String;
use alloc::vec;

use proptest::prelude::*;

use super::*;

fn rule(effect: Effect, who: &str, what: &str) -> Rule {
    let who = NamePattern::parse(&format!("spiffe://example.org{who}")).unwrap();
    Rule { effect, who: vec![who], what: vec![ActionPattern::parse(what).unwrap()] }
}

fn decide(policy: &Policy, who: &str, action: &str) -> Decision {
    policy.decide(&SpiffeId::parse(who).unwrap(), &Action::parse(action).unwrap())
}

#[test]
fn the_first_rule_decides_and_none_denies() {
    let policy = Policy::new(vec![
        rule(Effect::Deny, "/usa/bad", "publish **"),
        rule(Effect::Allow, "/usa/**", "publish grid/**"),
        rule(Effect::Deny, "/**", "publish grid/**"),
        rule(Effect::Allow, "/**", "publish **"),
    ])
    .unwrap();
    let check = |who, action, allowed, rule| {
        assert_eq!(decide(&policy, who, action), Decision { allowed, rule }, "{who} {action}");
    };
    check("spiffe://example.org/usa/n1", "publish grid/ny", true, Some(1));
    check("spiffe://example.org/usa/bad", "publish grid/ny", false, Some(0));
    check("spiffe://example.org/asia/n1", "publish grid/ny", false, Some(2));
    check("spiffe://example.org/asia/n1", "publish news", true, Some(3));
    check("spiffe://example.org/usa/n1", "subscribe news", false, None);
    check("spiffe://example.com/usa/n1", "publish news", false, None);
    let nothing = Policy::default();
    assert!(!decide(&nothing, "spiffe://example.org/usa/n1", "rotate").allowed);
}

#[test]
fn rules_about_nothing_and_too_many_are_refused() {
    let good = rule(Effect::Allow, "/**", "rotate");
    let nobody = Rule { who: vec![], ..good.clone() };
    assert_eq!(Policy::new(vec![nobody]), Err(RuleError::Empty));
    assert_eq!(Policy::new(vec![good.clone(); RULES_MAX + 1]), Err(RuleError::TooMany));
    let who = vec![good.who[0].clone(); PATTERNS_MAX + 1];
    assert_eq!(Policy::new(vec![Rule { who, ..good.clone() }]), Err(RuleError::TooMany));
    let what = vec![ActionPattern::parse(&format!("publish {}", "x".repeat(240))).unwrap(); 32];
    let long = Rule { what, ..good.clone() };
    assert_eq!(Policy::new(vec![long; 3]), Err(RuleError::TooMany));
    let longest = ActionPattern::parse(&format!("publish {}", "x".repeat(255))).unwrap();
    assert_eq!(Policy::new(vec![Rule { what: vec![longest], ..good }]), Err(RuleError::TooLong));
}

#[test]
fn other_forms_of_the_same_policy_are_malformed() {
    let bytes = |what: &str| {
        let mut bytes = vec![VERSION, 1, 1];
        bytes.put_text("spiffe://example.org/**");
        bytes.put_u8(1);
        bytes.put_text(what);
        bytes
    };
    assert!(Policy::parse(&bytes("write load in /usa")).is_ok());
    assert_eq!(Policy::parse(&bytes("write  load in /usa")), Err(Malformed));
    assert_eq!(Policy::parse(&bytes("rotate ")), Err(Malformed));
    assert_eq!(Policy::parse(&bytes("install x in / below 01")), Err(Malformed));
    assert_eq!(Policy::parse(&[]), Err(Malformed));
    assert_eq!(Policy::parse(&[2]), Err(Malformed));
    assert_eq!(Policy::parse(&[VERSION]), Ok(Policy::default()));
}

fn any_action() -> impl Strategy<Value = String> {
    let zone = "(/|(/[a-c*]){1,3}(/\\*\\*)?)";
    prop_oneof![
        zone.prop_map(|zone: String| format!("join {zone}")),
        ("[a-c.]{1,3}\\*?", zone).prop_map(|(word, zone)| format!("write {word} in {zone}")),
        "[a-c]/[a-c]/\\*\\*".prop_map(|topic: String| format!("publish {topic}")),
        "[a-c ]/[a-c]"
            .prop_filter("no blanks", |topic: &String| topic.trim() == topic)
            .prop_map(|topic: String| format!("subscribe {topic}")),
        ("[a-c]{1,3}\\*?", zone, 0..9_u8)
            .prop_map(|(word, zone, level)| format!("install {word} in {zone} below {level}")),
        Just("rotate".into()),
        Just("respond".into()),
        "[a-c]{1,3}".prop_map(|name: String| format!("door {name}")),
    ]
}

proptest! {
    #[test]
    fn policies_come_back(
        rules in proptest::collection::vec((any::<bool>(), any_action(), "(/[a-c*]){1,3}"), 0..9),
    ) {
        let effect = |allow| if allow { Effect::Allow } else { Effect::Deny };
        let rules = rules.iter().map(|(allow, what, who)| rule(effect(*allow), who, what));
        let policy = Policy::new(rules.collect()).unwrap();
        let mut bytes = Vec::new();
        policy.encode(&mut bytes);
        prop_assert_eq!(Policy::parse(&bytes), Ok(policy));
    }

    #[test]
    fn a_rule_added_at_the_end_changes_no_decision(
        rules in proptest::collection::vec((any::<bool>(), any_action()), 0..6),
        topic in "[a-c]/[a-c]",
    ) {
        let effect = |allow| if allow { Effect::Allow } else { Effect::Deny };
        let rules: Vec<Rule> =
            rules.iter().map(|(allow, what)| rule(effect(*allow), "/**", what)).collect();
        let action = format!("publish {topic}");
        let who = "spiffe://example.org/a/n1";
        let before = decide(&Policy::new(rules.clone()).unwrap(), who, &action);
        let mut more = rules;
        more.push(rule(Effect::Allow, "/**", "publish **"));
        let after = decide(&Policy::new(more).unwrap(), who, &action);
        prop_assert!(before.rule.is_none() || before == after);
    }
}
