//! Agents as processes on this machine, and the commands that speak with them.

use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

/// An agent, ended with the test.
struct Agent {
    process: Child,
    socket: PathBuf,
    address: String,
}

impl Agent {
    fn start(name: &str, region: &str, seeds: &str) -> Self {
        Self::start_with(name, region, &["--seeds", seeds])
    }

    fn start_with(name: &str, region: &str, more: &[&str]) -> Self {
        let file = format!("spinglass-{}-{name}.sock", std::process::id());
        let socket = std::env::temp_dir().join(file);
        let mut process = Command::new(env!("CARGO_BIN_EXE_spinglass"))
            .args(["join", "--json", "--bind", "127.0.0.1:0"])
            .args(more)
            .args(["--name", name, "--region", region, "--set", "load=5", "--socket"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program that cargo built runs");
        let mut line = String::new();
        let out: ChildStdout = process.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("it says where it is");
        let started: Value = serde_json::from_str(&line).expect("JSON");
        let address = started["address"].as_str().expect("an address").to_owned();
        Self { process, socket, address }
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spinglass"));
        command.args(arguments).arg("--socket").arg(&self.socket);
        command.output().expect("the program that cargo built runs")
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits until a zone's summary says so.
    fn wait_for(&self, zone: &str, name: &str, value: &str) {
        self.wait_for_output(&["table", "get", name, "--zone", zone], value);
    }

    /// Waits until a command says so.
    fn wait_for_output(&self, command: &[&str], value: &str) {
        wait_for(&format!("{command:?} says {value}"), || self.text(command) == value);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have left already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

#[test]
fn agents_in_three_regions_are_one_table() {
    let first = Agent::start("web1", "/usa/ithaca", "127.0.0.1:1");
    let seed = first.address.as_str();
    let second = Agent::start("web2", "/usa/ithaca", seed);
    let third = Agent::start("db1", "/usa/boston", seed);
    let fourth = Agent::start("fr1", "/eu/paris", seed);
    for agent in [&first, &second, &third, &fourth] {
        agent.wait_for("/", "nmembers", "4");
    }

    let sql = "SELECT MIN(load) AS load FROM zone";
    assert!(third.ask(&["summary", "install", "load", sql]).status.success());
    first.wait_for("/", "load", "5");
    assert!(fourth.ask(&["table", "set", "load", "-0.5"]).status.success());
    for agent in [&first, &second, &third, &fourth] {
        agent.wait_for("/", "load", "-0.5");
    }
    assert_eq!(second.text(&["table", "get", "load", "--zone", "/usa"]), "5");
    let tree = first.text(&["table"]);
    assert!(tree.contains("├─ eu") && tree.contains("└─ usa") && tree.contains("web1 *"), "{tree}");
    let explained = first.text(&["summary", "explain", "load"]);
    assert!(explained.contains("yields   load 5"), "{explained}");
    assert!(first.text(&["summary", "list"]).contains(sql));

    read_beyond_the_path(&first, &fourth);

    assert!(first.ask(&["summary", "remove", "load"]).status.success());
    assert!(fourth.ask(&["leave"]).status.success());
    first.wait_for("/", "nmembers", "3");
    let tree = first.text(&["table"]);
    assert!(!tree.contains("eu") && !first.text(&["summary", "list"]).contains(sql), "{tree}");
}

/// Other zones, and hosts everywhere, from an agent in `/usa/ithaca` and one in `/eu/paris`.
fn read_beyond_the_path(first: &Agent, fourth: &Agent) {
    let paris = first.text(&["table", "show", "/eu/paris"]);
    assert!(paris.starts_with("/eu/paris") && paris.contains("fr1"), "{paris}");
    let ithaca = fourth.text(&["table", "show", "/usa/ithaca"]);
    assert!(ithaca.contains("web1") && ithaca.contains("web2"), "{ithaca}");
    assert_eq!(fourth.text(&["table", "get", "load", "--zone", "/usa/boston"]), "5");

    let query = |agent: &Agent, sql: &str| -> Value {
        let output = agent.ask(&["query", sql, "--json"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {error}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let all = query(first, "SELECT id, zone, load FROM hosts ORDER BY load, id");
    let ids: Vec<_> = all["rows"].as_array().expect("rows").iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, ["fr1", "db1", "web1", "web2"]);
    assert_eq!(all["rows"][0]["zone"], "/eu/paris");
    // The summary of the least load is there: nothing that is less is looked for anywhere.
    // (As soon as every zone's row is one that the function has made.)
    let none = (0..100).map(|_| query(fourth, "SELECT id FROM hosts WHERE load < -1"));
    let none = none.inspect(|none| assert_eq!(none["rows"], Value::Array(Vec::new())));
    let mut none = none.inspect(|_| sleep(Duration::from_millis(50)));
    assert!(none.any(|none| none["asked"] == 0), "it is looked for where it can't be");
    let listed =
        fourth.text(&["query", "SELECT id, load FROM hosts WHERE load = 5", "--zone", "/usa"]);
    assert!(listed.contains("web2") && listed.contains("3 rows"), "{listed}");
}

#[test]
fn what_does_not_answer_is_told_of() {
    let first = Agent::start("here", "/usa", "127.0.0.1:1");
    let mut second = Agent::start("there", "/eu", &first.address);
    first.wait_for("/", "nmembers", "2");
    second.wait_for("/", "nmembers", "2");
    second.process.kill().expect("it runs");
    let output = first.ask(&["query", "SELECT id FROM hosts", "--within", "1"]);
    let (text, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{text}{error}");
    assert!(text.contains("here") && text.contains("0 of 1 zones"), "{text}");
    assert!(error.contains("rows are missing: 1 of the 1 zones"), "{error}");
}

#[test]
fn agents_on_one_network_need_no_seeds() {
    // A port that nothing else has keeps this test's group to itself.
    let free = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port();
    let group = format!("239.192.77.13:{free}");
    let network = ["--interface", "127.0.0.1", "--multicast", &group];
    let first = Agent::start_with("web3", "/usa/ithaca", &network);
    let second = Agent::start_with("web4", "/usa/boston", &network);
    for agent in [&first, &second] {
        agent.wait_for("/", "nmembers", "2");
    }
}

#[test]
fn agents_join_by_a_name_and_come_back_by_their_memory() {
    let folder = std::env::temp_dir().join(format!("spinglass-{}-state", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let state = folder.to_str().expect("a path in letters");
    let first = Agent::start("web5", "/usa/ithaca", "127.0.0.1:1");
    let port = first.address.rsplit(':').next().expect("a port");
    let seeds = format!("localhost:{port}");
    let mut second =
        Agent::start_with("web6", "/usa/boston", &["--seeds", &seeds, "--state", state]);
    second.wait_for("/", "nmembers", "2");
    assert!(second.ask(&["leave"]).status.success());
    first.wait_for("/", "nmembers", "1");
    // The last it does is to write down whom it knew.
    wait_for("it ends", || matches!(second.process.try_wait(), Ok(Some(_))));
    drop(second);
    let second = Agent::start_with("web6", "/usa/boston", &["--state", state]);
    for agent in [&first, &second] {
        agent.wait_for("/", "nmembers", "2");
    }
    drop(second);
    std::fs::remove_dir_all(&folder).expect("it was there");
}

#[test]
fn files_and_long_functions_travel_as_objects() {
    let first = Agent::start("doc1", "/usa/ithaca", "127.0.0.1:1");
    let seed = first.address.as_str();
    let second = Agent::start("doc2", "/usa/ithaca", seed);
    let third = Agent::start("doc3", "/eu/paris", seed);
    for agent in [&first, &second, &third] {
        agent.wait_for("/", "nmembers", "3");
    }

    let scratch =
        |name: &str| std::env::temp_dir().join(format!("spinglass-{}-{name}", std::process::id()));
    let (file, copy) = (scratch("object.bin"), scratch("copy.bin"));
    let content: Vec<u8> = (0..200_000_u32).map(|at| (at.wrapping_mul(at) / 7) as u8).collect();
    std::fs::write(&file, &content).expect("a file");
    let name = first.text(&["table", "set", "doc", "--file", file.to_str().expect("UTF-8")]);
    assert!(name.starts_with("object:") && name.ends_with(":200000"), "{name}");
    let sql = "SELECT FIRST(1, doc) AS doc FROM zone";
    assert!(first.ask(&["summary", "install", "doc", sql]).status.success());
    second.wait_for_output(&["table", "get", "doc", "--of", "doc1"], &name);
    third.wait_for_output(&["table", "get", "doc", "--zone", "/", "--of", "usa"], &name);

    let to = copy.to_str().expect("UTF-8");
    let fetched = second.ask(&["table", "get", "doc", "--of", "doc1", "--to", to, "--json"]);
    assert!(fetched.status.success(), "{fetched:?}");
    let report: Value = serde_json::from_slice(&fetched.stdout).expect("JSON");
    assert_eq!((&report["bytes"], &report["object"]), (&200_000.into(), &name.as_str().into()));
    assert!(std::fs::read(&copy).expect("a file") == content);
    // Its owner dies: whoever fetched it has it, also for another continent, and may name it too.
    assert!(second.ask(&["table", "set", "doc", &name]).status.success());
    drop(first);
    let get = ["table", "get", "doc", "--zone", "/", "--of", "usa", "--to", to];
    let fetched = third.ask(&get);
    assert!(fetched.status.success(), "{fetched:?}");
    assert!(std::fs::read(&copy).expect("a file") == content);

    let sql = format!("SELECT MIN(load) AS load FROM zone{}", " ".repeat(4096 - 34));
    let install = third.ask(&["summary", "install", "load", &sql, "--for", "2h"]);
    assert!(install.status.success(), "{install:?}");
    second.wait_for("/", "load", "5");
    assert!(second.text(&["summary", "list"]).contains("load (/, 1h 59m left)"));
    [file, copy].iter().for_each(|file| drop(std::fs::remove_file(file)));
}

#[test]
fn what_an_agent_refuses_it_explains() {
    let agent = Agent::start("alone", "/usa", "127.0.0.1:1");
    let refused = |arguments: &[&str], why: &str| {
        let output = agent.ask(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains(why), "{arguments:?}: {error}");
    };
    refused(&["table", "set", "id", "x"], "is filled in by the agent itself");
    refused(&["table", "set", "a b", "x"], "can't be an attribute's name");
    refused(&["table", "set", "a", &"x".repeat(800)], "bytes of the 707");
    refused(&["table", "show", "/eu"], "there is no zone /eu");
    refused(&["query", "SELECT id FROM host"], "there is one table here: write FROM hosts");
    refused(&["query", "SELECT id FROM hosts", "--zone", "/eu"], "there is no zone /eu");
    refused(&["query", "SELECT id FROM hosts", "--within", "61"], "takes 0 to 60 seconds");
    refused(&["table", "get", "nothing"], "no attribute nothing");
    agent.wait_for_output(&["table", "get", "load"], "5");
    refused(&["table", "get", "load", "--to", "/tmp/x"], "\"5\" names no object");
    refused(&["table", "set", "doc", "--file", "/no/such/file"], "cannot read /no/such/file");
    refused(&["summary", "install", "x", "SELECT MAX(load FROM zone"], "line 1, column 17");
    refused(&["summary", "install", "x", "DROP TABLE zone"], "line 1, column 1");
    refused(&["summary", "remove", "x"], "no summary is called");
    refused(&["join"], "an agent listens at");
}

/// A folder of certificates, gone with the test.
struct Papers(PathBuf);

impl Papers {
    fn new(name: &str, policy: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("spinglass-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("policy.toml"), policy).expect("a file");
        let papers = Self(folder);
        papers.run(&["ca", "init", "example.org", "--dir", "ca"]);
        papers
    }

    fn run(&self, arguments: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spinglass"));
        let output = command.current_dir(&self.0).args(arguments).output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// An agent in `/usa` with a certificate, and no key of any group.
    fn agent(&self, name: &str, seeds: &str) -> Agent {
        self.run(&["ca", "issue", &format!("/usa/{name}"), "--ca", "ca", "--out", name]);
        let file = |name: &str| self.0.join(name).display().to_string();
        let (key, certificate) = (file(&format!("{name}.key")), file(&format!("{name}.crt")));
        let (trust, policy) = (file("ca/ca.crt"), file("policy.toml"));
        let papers = ["--identity", &key, "--certificate", &certificate, "--trust", &trust];
        let more = ["--policy", &policy, "--seeds", seeds];
        Agent::start_with(name, "/usa", &[&papers[..], &more].concat())
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const OPERATED: &str = r#"
[[rule]]
who = "spiffe://example.org/usa/a1"
allow = ["rotate", "respond", "govern", "install * in /**"]

[[rule]]
who = "spiffe://example.org/**"
allow = ["join /**", "write * in /**"]
"#;

#[test]
fn keys_rotate_and_orders_are_given_by_who_may() {
    let papers = Papers::new("orders", OPERATED);
    let first = papers.agent("a1", "127.0.0.1:1");
    let [second, third] = ["a2", "a3"].map(|name| papers.agent(name, &first.address));
    for agent in [&first, &second, &third] {
        agent.wait_for("/", "nmembers", "3");
    }
    let refused = second.ask(&["keys", "rotate"]);
    assert!(!refused.status.success(), "{refused:?}");
    assert_eq!(third.text(&["keys", "show"]), "epoch 0");
    assert!(first.ask(&["keys", "rotate"]).status.success());
    for agent in [&first, &second, &third] {
        agent.wait_for_output(&["keys", "show"], "epoch 1");
    }
    papers.run(&["ca", "revoke", "a3.crt", "--ca", "ca"]);
    let list = papers.0.join("ca/revoked.crl").display().to_string();
    let given = first.ask(&["respond", "revoke", &list]);
    assert!(given.status.success(), "{given:?}");
    second.wait_for("/", "nmembers", "2");
    assert!(first.ask(&["respond", "rekey"]).status.success());
    second.wait_for_output(&["keys", "show"], "epoch 2");
    assert_eq!(third.text(&["keys", "show"]), "epoch 1", "nobody gave it the key");
    let who = "spiffe://example.org/usa/a2";
    assert!(first.ask(&["respond", "quarantine", who, "--for", "1h"]).status.success());
    let standing = first.text(&["respond", "list"]);
    for said in ["epoch 2", "1 revocations", who] {
        assert!(standing.contains(said), "{standing}");
    }
    first.wait_for("/", "nmembers", "1");
    assert!(first.ask(&["respond", "release", who]).status.success());
    second.wait_for("/", "nmembers", "2");
    let again = first.ask(&["respond", "release", who]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("no such order"), "{again:?}");
    rules_come_and_go(&papers, &first, &second);
    clearing_forgets_functions(&first, &second);
}

/// Waits until something is so.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let reached = (0..600).any(|_| {
        let reached = is_so();
        if !reached {
            sleep(Duration::from_millis(100));
        }
        reached
    });
    assert!(reached, "after a minute it is not so that {what}");
}

fn rules_come_and_go(papers: &Papers, first: &Agent, second: &Agent) {
    let file = papers.0.join("strict.toml");
    std::fs::write(&file, OPERATED.replace("write * in /**", "write load in /**")).expect("a file");
    let strict = file.display().to_string();
    assert!(!second.ask(&["respond", "rules", &strict]).status.success(), "it may not govern");
    assert!(sets_odd(second));
    let given = first.ask(&["respond", "rules", &strict]);
    assert!(given.status.success(), "{given:?}");
    wait_for("rules hold", || !sets_odd(second));
    assert!(first.text(&["respond", "list"]).contains("go by 2 rules"));
    assert!(first.ask(&["respond", "rules", "--lift"]).status.success());
    wait_for("rules hold no longer", || sets_odd(second));
}

fn sets_odd(agent: &Agent) -> bool {
    agent.ask(&["table", "set", "odd", "1"]).status.success()
}

fn clearing_forgets_functions(first: &Agent, second: &Agent) {
    let odd = ["summary", "install", "odd", "SELECT MAX(odd) AS odd FROM zone"];
    assert!(!second.ask(&odd).status.success(), "no rule lets it");
    assert!(first.ask(&odd).status.success());
    second.wait_for("/", "odd", "1");
    assert!(first.ask(&["respond", "clear"]).status.success());
    assert!(first.text(&["respond", "list"]).contains("forget what was signed"));
    let lists_odd = |agent: &Agent| agent.text(&["summary", "list"]).contains("odd");
    wait_for("nobody has the function", || !lists_odd(first) && !lists_odd(second));
    second.wait_for("/", "nmembers", "2");
}
