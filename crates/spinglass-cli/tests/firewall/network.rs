//! An enclave, its firewall and the world as network namespaces, and our commands in them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::getuid;
use serde_json::Value;

/// Runs `ip` with these words; whether it went well.
fn ip(words: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(words.split_whitespace()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Addresses of the blocks for documentation (RFC 5737): the enclave's, and those of the world.
pub(crate) const INSIDE: &str = "198.51.100.2";
const WALL_INSIDE: &str = "198.51.100.1";
pub(crate) const OUTSIDE: &str = "192.0.2.1";
pub(crate) const WALL_OUTSIDE: &str = "192.0.2.254";

/// An enclave, its firewall, and the world: three namespaces, taken down with the test.
pub(crate) struct Network {
    pub(crate) inside: String,
    wall: String,
    pub(crate) outside: String,
}

impl Network {
    /// A network without any rules. `None`: it can't be made here.
    pub(crate) fn new(test: &str) -> Option<Self> {
        if !getuid().is_root() {
            return None;
        }
        let name = |end: &str| format!("spinglass-{}-{test}-{end}", std::process::id());
        let network = Self { inside: name("in"), wall: name("wall"), outside: name("out") };
        let Self { inside, wall, outside } = &network;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        let is_up = [inside, wall, outside].iter().all(|name| ip(&format!("netns add {name}")))
            && [inside, wall, outside].iter().all(|name| ip(&format!("-n {name} link set lo up")))
            && cable((inside, INSIDE), (wall, "in", WALL_INSIDE))
            && cable((outside, OUTSIDE), (wall, "out", WALL_OUTSIDE))
            && ip(&format!("-n {inside} route add default via {WALL_INSIDE}"))
            && Command::new("ip")
                .args(["netns", "exec", wall, "sh", "-c", forward])
                .status()
                .is_ok_and(|status| status.success());
        is_up.then_some(network)
    }

    /// Lets out connections to port 443, lets in what answers them, and nothing else.
    pub(crate) fn allow_443(&self) -> bool {
        let Self { wall, outside, .. } = self;
        let rule = |words: &str| ip(&format!("-n {wall} rule add {words}"));
        ip(&format!("-n {outside} route add default via {WALL_OUTSIDE}"))
            && rule("pref 10 iif in ipproto tcp dport 443 lookup main")
            && rule("pref 11 iif out ipproto tcp sport 443 lookup main")
            && rule("pref 20 iif in prohibit")
            && rule("pref 21 iif out prohibit")
    }

    /// Has the firewall translate addresses by these rules of nftables; whether it can.
    pub(crate) fn translate(&self, rules: &str) -> bool {
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.wall, "nft", rules]).stderr(Stdio::null());
        nft.status().is_ok_and(|status| status.success())
    }
}

/// A cable from an end's `lan0` to the firewall, addresses and all.
fn cable((end, address): (&str, &str), (wall, name, at_wall): (&str, &str, &str)) -> bool {
    ip(&format!("-n {end} link add lan0 type veth peer name {name} netns {wall}"))
        && ip(&format!("-n {end} address add {address}/24 dev lan0"))
        && ip(&format!("-n {wall} address add {at_wall}/24 dev {name}"))
        && ip(&format!("-n {end} link set lan0 up"))
        && ip(&format!("-n {wall} link set {name} up"))
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in [&self.inside, &self.wall, &self.outside] {
            ip(&format!("netns delete {name}"));
        }
    }
}

/// A folder with keys and a certificate; gone afterwards.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    pub(crate) fn new(test: &str) -> Self {
        let name = format!("spinglass-{}-{test}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0).expect("a folder can be made");
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([OUTSIDE.to_owned()]).expect("a certificate");
        folder.write("tls.crt", &cert.pem());
        folder.write("tls.key", &signing_key.serialize_pem());
        folder.write("line", "hello\n");
        let mut keygen = Command::new(env!("CARGO_BIN_EXE_spinglass"));
        let keygen = keygen.args(["keygen", "--group", "group.key"]).current_dir(&folder.0);
        assert!(keygen.output().expect("it runs").status.success());
        let mut keygen = Command::new(env!("CARGO_BIN_EXE_spinglass"));
        keygen.args(["keygen", "--relay", "relay.key", "--of", "group.key"]);
        assert!(keygen.current_dir(&folder.0).output().expect("it runs").status.success());
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("it can be written");
    }

    /// Our command in a namespace, with the line to send as its input.
    pub(crate) fn ours(&self, namespace: &str, arguments: &str) -> Command {
        let mut command = Command::new("ip");
        let program = ["netns", "exec", namespace, env!("CARGO_BIN_EXE_spinglass"), "--json"];
        command.args(program).args(arguments.split_whitespace()).current_dir(&self.0);
        command.stdin(fs::File::open(self.0.join("line")).expect("it was written"));
        command
    }

    /// Sends the line; returns how many members were there.
    pub(crate) fn send(&self, namespace: &str, options: &str) -> u64 {
        let seeds = format!("--seeds {OUTSIDE}:7710 --group-key group.key");
        let output = self.ours(namespace, &format!("send logs {seeds} {options}")).output();
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let sent: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        sent["members"].as_u64().expect("a number")
    }
}

/// A process that is ended with the test, and its output.
pub(crate) struct Running {
    process: Child,
    out: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let out = BufReader::new(process.stdout.take().expect("it was piped"));
        Self { process, out }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut text = String::new();
        self.out.read_line(&mut text).expect("it says something");
        assert!(!text.is_empty(), "it has ended");
        text
    }
}
