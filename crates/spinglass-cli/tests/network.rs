//! Agents on two machines of one network, which are two network namespaces joined by a cable: they
//! find each other with no seeds. Needs to be root, and `ip`; says so where it is not.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::getuid;

/// Runs `ip` with these words; whether it went well.
fn ip(words: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(words.split_whitespace()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Two namespaces and the cable between them, taken down with the test.
struct Network {
    names: [String; 2],
}

impl Network {
    fn new() -> Option<Self> {
        let names = ["a", "b"].map(|end| format!("spinglass-{}-{end}", std::process::id()));
        let network = Self { names };
        let [a, b] = &network.names;
        let is_up = ip(&format!("netns add {a}"))
            && ip(&format!("netns add {b}"))
            && ip(&format!("-n {a} link add lan0 type veth peer name lan0 netns {b}"))
            && ip(&format!("-n {a} address add {}/24 dev lan0", ADDRESSES[0]))
            && ip(&format!("-n {b} address add {}/24 dev lan0", ADDRESSES[1]))
            && ip(&format!("-n {a} link set lan0 up"))
            && ip(&format!("-n {b} link set lan0 up"));
        is_up.then_some(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns delete {name}"));
        }
    }
}

/// The two machines' addresses: of the block for documentation (RFC 5737).
const ADDRESSES: [&str; 2] = ["192.0.2.1", "192.0.2.2"];

/// An agent in a namespace, ended with the test.
struct Agent {
    process: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(namespace: &str, address: &str, key: &Path) -> Self {
        let socket = key.with_extension(format!("{address}.sock"));
        let process = Command::new("ip")
            .args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_spinglass"), "join"])
            .args(["--interface", address, "--region", "/usa/ithaca", "--group-key"])
            .arg(key)
            .arg("--socket")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("ip runs");
        Self { process, socket }
    }

    /// How many agents it counts.
    fn counts(&self) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_spinglass"))
            .args(["table", "get", "nmembers", "--zone", "/", "--socket"])
            .arg(&self.socket)
            .output()
            .expect("the program that cargo built runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

#[test]
fn agents_on_two_machines_find_each_other_without_seeds() {
    if !getuid().is_root() {
        eprintln!("SKIPPED: network namespaces need root");
        return;
    }
    let Some(network) = Network::new() else {
        eprintln!("SKIPPED: `ip` is missing, or network namespaces can't be made here");
        return;
    };
    let key = std::env::temp_dir().join(format!("spinglass-{}-lan.key", std::process::id()));
    let made = Command::new(env!("CARGO_BIN_EXE_spinglass"))
        .args(["keygen", "--group"])
        .arg(&key)
        .stdout(Stdio::null())
        .status();
    assert!(made.expect("the program that cargo built runs").success());
    let agents: Vec<Agent> = network
        .names
        .iter()
        .zip(ADDRESSES)
        .map(|(namespace, address)| Agent::start(namespace, address, &key))
        .collect();
    for agent in &agents {
        let met = (0..600).any(|_| {
            let met = agent.counts() == "2";
            if !met {
                sleep(Duration::from_millis(100));
            }
            met
        });
        assert!(met, "it counts {:?} after a minute", agent.counts());
    }
    drop(agents);
    std::fs::remove_file(&key).expect("it was there");
}
