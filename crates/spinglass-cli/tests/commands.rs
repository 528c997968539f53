//! The commands as a user runs them: what they print, their exit codes, and what they leave behind.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn spinglass(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spinglass"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    spinglass(arguments).output().expect("the program that cargo built runs")
}

/// A name for a file of this test process alone.
fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("spinglass-{}-{name}", std::process::id()))
}

#[test]
fn a_small_demo_verifies_every_healthy_member() {
    let svg = scratch("demo.svg");
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo/mod.rs");
    let arguments = ["demo", "--members", "5", "--seconds", "1", "--file", text, "--json"];
    let output = spinglass(&arguments).arg("--svg").arg(&svg).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!((&report["healthy"], &report["verified"]), (&3.into(), &3.into()));
    let table = &report["table"];
    assert_eq!(table["zones"].as_array().map(Vec::len), Some(3), "{table}");
    let changes = table["changes"].as_array().unwrap();
    assert!(changes.len() == 2 && changes.iter().all(|change| change["seconds"].is_number()));
    assert!(std::fs::read_to_string(&svg).unwrap().contains("</svg>"));
    std::fs::remove_file(svg).unwrap();
}

#[test]
fn a_fleet_hears_updates_and_forms_again_after_an_outage() {
    let shape = ["--agents", "10", "--zone", "3", "--round-ms", "100"];
    let fleet = |more: &[&str]| {
        let output = run(&[&["lab", "fleet", "--json"], &shape[..], more].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{error}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    for way in ["--real", "--in-process"] {
        let report = fleet(&[way, "--updates", "2", "--idle-seconds", "1"]);
        assert_eq!(report["levels"], 3, "{report}");
        assert_eq!(report["rounds"].as_array().map(Vec::len), Some(2), "{report}");
        assert!(report["idle"]["bytes_per_second"].as_f64().unwrap() > 0.0, "{report}");
        assert!(report["idle"]["resident_bytes"].as_f64().unwrap() > 0.0, "{report}");
    }
    let report = fleet(&["--real", "--outage"]);
    assert!(report["outage"]["whole_seconds"].as_f64().unwrap() > 0.0, "{report}");
    assert!(report["outage"]["remembered"].as_f64().unwrap() >= 2.0, "{report}");
}

#[test]
fn a_damaged_memory_is_told() {
    let (state, socket) = (scratch("damaged"), scratch("damaged.sock"));
    let peers = scratch("damaged.peers");
    std::fs::write(&peers, "127.0.0.1:1\n").unwrap();
    let mut agent = spinglass(&["join", "--bind", "127.0.0.1:0", "--state"])
        .arg(&state)
        .arg("--socket")
        .arg(&socket)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(agent.stderr.take().unwrap()).lines();
    let told = lines.find_map(|line| line.ok().filter(|line| line.contains("whom this member")));
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(told.is_some_and(|told| told.contains("damaged.peers")));
    for file in [state, socket, peers] {
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn what_is_nobody_to_join_by_is_wrong_usage() {
    let output = run(&["join", "--seeds", "10.0.0.1,no name"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("\"no name\" is nobody to join by"), "{error}");
}

#[test]
fn a_demo_whose_members_never_wake_is_refused() {
    let output = run(&["demo", "--console", "--asleep", "0.99"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && error.contains("asleep lies between 0 and 0.95"),
        "{error}"
    );
}

#[test]
fn an_interrupted_demo_leaves_no_process_behind() {
    let mut demo = spinglass(&["demo", "--members", "4", "--seconds", "30"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("streaming")));
    let members = children(&demo);
    assert_eq!(members.len(), 4);
    kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(130));
    // A member holds the demo's standard error until it has ended: the pipe's end is theirs.
    lines.for_each(drop);
    // A process closes its files a moment before it is seen to have ended: look for 10 s at most.
    let all_ended = || members.iter().all(|pid| has_ended(pid));
    let ended = (0..1000).any(|_| all_ended() || (sleep(Duration::from_millis(10)), false).1);
    assert!(ended, "{members:?}");
}

#[test]
fn an_interrupted_simulation_ends() {
    // It would take minutes.
    let mut lab = spinglass(&["lab", "perturb", "--members", "512"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    sleep(Duration::from_millis(500));
    kill_process(Pid::from_child(&lab), Signal::INT).unwrap();
    let ended = (0..1000).any(|_| {
        sleep(Duration::from_millis(10));
        lab.try_wait().unwrap().is_some()
    });
    if !ended {
        lab.kill().unwrap();
    }
    assert!(ended, "it computes on");
    assert_eq!(lab.wait().unwrap().code(), Some(130));
}

fn children(of: &Child) -> Vec<String> {
    let path = format!("/proc/{0}/task/{0}/children", of.id());
    let pids = std::fs::read_to_string(path).expect("a running process has its children listed");
    pids.split_whitespace().map(str::to_owned).collect()
}

/// Whether a process is gone, or waits only to be collected by whoever inherited it.
fn has_ended(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

#[test]
fn lines_go_through_a_group_and_the_recording_replays() {
    let recording = scratch("run.rec");
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut receiver = spinglass(&["recv", "--count", "3", "--bind", &port, "lines", "--record"])
        .arg(&recording)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It warns about the development key once it listens.
    let mut warning = String::new();
    BufReader::new(receiver.stderr.take().unwrap()).read_line(&mut warning).unwrap();
    assert!(warning.contains("no --group-key"), "{warning}");
    let mut sender = spinglass(&["send", "--bind", "127.0.0.1:0", "--seeds", &port, "lines"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    sender.stdin.take().unwrap().write_all(b"one\n\nthree").unwrap();
    assert!(sender.wait().unwrap().success());
    let mut heard = String::new();
    receiver.stdout.take().unwrap().read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "one\n\nthree\n");
    assert!(receiver.wait().unwrap().success());
    let replayed = spinglass(&["replay", "--json"]).arg(&recording).output().unwrap();
    let report: Value = serde_json::from_slice(&replayed.stdout).unwrap();
    assert_eq!(report["messages"], 3);
    std::fs::remove_file(recording).unwrap();
}

/// Somebody in a region that lies around the other's, or within it, is never heard: both are told.
#[test]
fn whoever_is_in_another_kind_of_region_is_told_so() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut receiver = spinglass(&["recv", "--bind", &port, "--region", "/usa", "trades"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(receiver.stderr.take().unwrap());
    told.read_line(&mut String::new()).unwrap();
    let wrong = run(&["send", "--seeds", &port, "--bind", "127.0.0.1:0", "trades"]);
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(!wrong.status.success() && said.contains("give --region /usa"), "{said}");
    let mut said = String::new();
    told.read_to_string(&mut said).unwrap();
    assert!(said.contains("whoever answers is in the region /,"), "{said}");
    assert!(!receiver.wait().unwrap().success());
}

#[test]
fn messages_are_chosen_by_their_headers_and_some_are_for_all() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut chosen = vec!["recv", "--json", "--bind", &port, "--rating", "0.000001"];
    chosen.extend(["--where", "price > 10 AND symbol = 'IBM'", "--count", "1", "trades"]);
    let mut receiver =
        spinglass(&chosen).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut warning = String::new();
    BufReader::new(receiver.stderr.take().unwrap()).read_line(&mut warning).unwrap();
    for (price, text) in [("price=9.5", "too cheap"), ("price=12.5", "dear")] {
        let mut sender = vec!["send", "--bind", "127.0.0.1:0", "--seeds", &port, "--for-all"];
        sender.extend(["--header", "symbol=IBM", "--header", price, "trades"]);
        let mut sender =
            spinglass(&sender).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        sender.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(sender.wait().unwrap().success());
    }
    let heard = BufReader::new(receiver.stdout.take().unwrap()).lines();
    let heard = heard.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let message = heard.filter(|event| event["event"] == "message").last().unwrap();
    assert_eq!((&message["text"], &message["for_all"]), (&"dear".into(), &true.into()));
    assert_eq!(message["headers"], serde_json::json!({"price": 12.5, "symbol": "IBM"}));
    assert!(receiver.wait().unwrap().success());
    let wrong = run(&["recv", "--where", "price >", "trades"]);
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(wrong.status.code() == Some(2) && said.contains("column 8"), "{said}");
    let wrong = run(&["send", "--header", "no name=1", "trades"]);
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("no header's name"));
}

#[test]
fn several_topics_are_received_each_by_its_name() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut receiver = spinglass(&["sub", "--json", "--bind", &port, "grid", "market"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut warning = String::new();
    BufReader::new(receiver.stderr.take().unwrap()).read_line(&mut warning).unwrap();
    for (topic, text) in [("market", "42"), ("weather", "rain"), ("grid", "50.01")] {
        let mut sender = spinglass(&["send", "--bind", "127.0.0.1:0", "--seeds", &port, topic])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sender.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(sender.wait().unwrap().success());
    }
    let heard = BufReader::new(receiver.stdout.take().unwrap()).lines();
    let heard = heard.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut messages = heard.filter(|event| event["event"] == "message");
    for (topic, text) in [("market", "42"), ("grid", "50.01")] {
        let message = messages.next().unwrap();
        assert_eq!((&message["topic"], &message["text"]), (&topic.into(), &text.into()));
    }
    receiver.kill().unwrap();
    receiver.wait().unwrap();
}

#[test]
fn keys_are_not_overwritten_unasked() {
    let file = scratch("group.key");
    let path = file.to_str().unwrap();
    assert!(run(&["keygen", "--group", path]).status.success());
    let first = std::fs::read(&file).unwrap();
    assert_eq!(run(&["keygen", "--group", path]).status.code(), Some(1));
    assert_eq!(std::fs::read(&file).unwrap(), first);
    assert!(run(&["keygen", "--group", path, "--force"]).status.success());
    assert_ne!(std::fs::read(&file).unwrap(), first);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn exit_codes_tell_failure_from_wrong_usage() {
    assert_eq!(run(&["demo", "--file", "/no/such/file"]).status.code(), Some(1));
    assert_eq!(run(&["demo", "--members", "1"]).status.code(), Some(2));
    assert_eq!(run(&["keygen"]).status.code(), Some(2));
}

#[test]
fn a_plan_is_json_when_asked() {
    let arguments = ["plan", "--members", "1000", "--loss", "0.05", "--reliability", "1e-9"];
    let output = spinglass(&arguments).arg("--json").output().unwrap();
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(plan["miss"].as_f64().unwrap() <= 1e-9, "{plan}");
    assert!(plan["rounds"].as_u64().unwrap() > 10, "{plan}");
}

#[test]
fn no_damaged_datagram_is_accepted_or_answered() {
    let output = run(&["lab", "hostile", "--datagrams", "20000", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["datagrams"], 20_000);
    assert_eq!((&report["accepted"], &report["answered"]), (&0.into(), &0.into()));
}

#[test]
fn shells_and_the_manual_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && script.contains("rotate-every"), "{shell}");
    }
    assert_eq!(run(&["completions", "cmd"]).status.code(), Some(2));
    let folder = scratch("man1");
    let output = spinglass(&["man", "--json"]).arg(&folder).output().unwrap();
    let written: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(written["pages"].as_u64().is_some_and(|pages| pages > 30), "{written}");
    let page = std::fs::read_to_string(folder.join("spinglass-agent.1")).unwrap();
    assert!(page.starts_with(".") && page.contains("check"), "{page}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_scenario_goes_on_where_it_was_and_a_small_one_is_no_full_one() {
    let (folder, file) = (scratch("lab"), scratch("tiny.toml"));
    let setting = |seconds| {
        format!(
            "members = [12]\nseeds = [1]\nseconds = {seconds}\nrate = 100\nbytes = 210\n\
             levels = 4\nloss_ppm = 1000\ndelay_ms = 10\n"
        )
    };
    let text = format!("experiment = 'figure3'\n[full]\n{}[small]\n{}", setting(3), setting(1));
    std::fs::write(&file, &text).unwrap();
    let kept = || std::fs::read_to_string(folder.join("runs.csv")).unwrap();
    let lab = |more: &[&str]| {
        let mut command = spinglass(&["lab", "run"]);
        let output = command.arg(&file).arg("--output").arg(&folder).args(more).output().unwrap();
        // So short a run reaches no bar.
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        kept()
    };
    let small = lab(&["--small"]);
    // A value that no run measures shows that it was not run again; a run cut off is.
    let marked = small.replace("links,22.0", "links,23.0");
    assert_ne!(marked, small);
    std::fs::write(folder.join("runs.csv"), &marked[..marked.len() - 2]).unwrap();
    assert!(lab(&["--small"]).contains("links,23.0"));
    let full = lab(&[]);
    assert!(!full.contains("links,23.0") && full != small, "nothing of the small one is left");
    let drawing = format!("{}-1.svg", file.file_stem().unwrap().display());
    for part in ["report.html", "report.md", &drawing, "scenario.toml"] {
        assert!(folder.join(part).is_file(), "{part}");
    }
    std::fs::write(&file, text.replace("levels = 4", "levels = 99")).unwrap();
    let refused = spinglass(&["lab", "run"]).arg(&file).output().unwrap();
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && error.contains("levels"), "{refused:?}");
    assert!(error.contains("99") && error.contains("16"), "what it may be: {error}");
    std::fs::remove_dir_all(folder).unwrap();
    std::fs::remove_file(file).unwrap();
}
