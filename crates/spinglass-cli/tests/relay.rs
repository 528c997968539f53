//! A relay and members as a user runs them: the commands of docs/relay.md.

use std::fs;
use std::io::{BufRead, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A folder of this test's own; gone afterwards.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("spinglass-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder can be made");
        let names = ["127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(names).expect("a certificate");
        fs::write(path.join("tls.crt"), cert.pem()).expect("it can be written");
        fs::write(path.join("tls.key"), signing_key.serialize_pem()).expect("it can be written");
        Self(path)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spinglass"));
        command.args(arguments.split_whitespace()).current_dir(&self.0).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().expect("the program that cargo built runs")
    }

    fn ours(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{arguments}: {said}");
        said
    }
}

/// A process that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(mut command: Command) -> (Self, BufReader<ChildStdout>) {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let out = child.stdout.take().expect("it was piped");
        (Self(child), BufReader::new(out))
    }

    fn interrupt(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.0), Signal::INT).expect("it runs");
        self.0.wait().expect("it ends").code()
    }
}

fn line(out: &mut impl BufRead) -> Value {
    let mut text = String::new();
    out.read_line(&mut text).expect("it says something");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_member_behind_a_relay_is_heard_and_the_relay_tells_what_it_counted() {
    let folder = Folder::new("relay");
    folder.ours("keygen --group group.key");
    folder.ours("keygen --relay relay.key --of group.key");
    let again = folder.run("keygen --relay relay.key --of group.key");
    assert!(!again.status.success(), "nothing is overwritten");
    let (mut relay, mut said) = Running::start(folder.command(
        "relay --listen 127.0.0.1:0 --tls-cert tls.crt --tls-key tls.key --relay-key relay.key \
         --json",
    ));
    let listening = line(&mut said);
    let url = format!("wss://{}", listening["listening"].as_str().expect("an address"));
    let topic = "recv --group-key group.key --count 1 --json logs --bind";
    let heard = UdpPort::free();
    let (mut receiver, mut received) =
        Running::start(folder.command(&format!("{topic} 127.0.0.1:{}", heard.0)));
    let mut send = folder.command(&format!(
        "send --group-key group.key --relay {url} --relay-trust tls.crt --patience 20 --seeds \
         127.0.0.1:{} --bind 127.0.0.1:0 logs",
        heard.0
    ));
    fs::write(folder.0.join("line"), "hello\n").expect("it can be written");
    let input = fs::File::open(folder.0.join("line")).expect("it was written");
    let sent = send.stdin(input).output().expect("it runs");
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    // Members that come are told of, too.
    while line(&mut received)["text"] != "hello" {}
    assert_eq!(receiver.0.wait().expect("it ends").code(), Some(0));
    // A stranger to the group.
    folder.ours("keygen --group other.key");
    let refused = folder.run(&format!(
        "send --group-key other.key --relay {url} --relay-trust tls.crt --bind 127.0.0.1:0 logs"
    ));
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("did not believe"), "{error}");
    assert_eq!(relay.interrupt(), Some(130));
    let counted = line(&mut said);
    assert_eq!((&counted["admitted"], &counted["refused"]), (&1.into(), &1.into()), "{counted}");
    assert!(counted["datagrams_in"].as_u64() > Some(0), "{counted}");
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("it has ended");
    assert_eq!(rest, "", "one line at the start and one at the end");
}

/// A port that was free a moment ago.
struct UdpPort(u16);

impl UdpPort {
    fn free() -> Self {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        Self(socket.local_addr().expect("it is bound").port())
    }
}

#[test]
fn what_a_relay_lacks_it_says() {
    let folder = Folder::new("relay-lacks");
    let relay = |options: &str| {
        let output = folder.run(&format!("relay {options}"));
        assert!(!output.status.success(), "{options}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let tls = "--tls-cert tls.crt --tls-key tls.key";
    assert!(relay(&format!("{tls} --listen 0.0.0.0:0")).contains("say whom to let in"));
    folder.ours("keygen --group group.key");
    folder.ours("keygen --relay relay.key --of group.key");
    let group = format!("{tls} --listen 127.0.0.1:0 --relay-key group.key");
    assert!(relay(&group).contains("not a relay key"), "the group's key is not for relays");
    let everywhere = format!("{tls} --listen 0.0.0.0:0 --relay-key relay.key");
    assert!(relay(&everywhere).contains("--public"));
    let missing = "--tls-cert none.crt --tls-key tls.key --listen 127.0.0.1:0";
    assert!(relay(missing).contains("none.crt"));
}

#[test]
fn documented_commands_run() {
    let folder = Folder::new("relay-documents");
    let document = include_str!("../../../docs/relay.md");
    let parts = document.split("```sh\n").skip(1).filter_map(|part| part.split("```").next());
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_spinglass"));
    let ours = program.parent().expect("a program lies in a folder").display();
    let script = format!("set -ex\nPATH={ours}:$PATH\n{}", parts.collect::<String>());
    fs::write(folder.0.join("commands.sh"), script).expect("it can be written");
    let output = Command::new("sh").arg("commands.sh").current_dir(&folder.0).output();
    let output = output.expect("sh runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("allowed"), "{said}");
    // Its certificate serves: what is missing is the address of the machine that it is for.
    let relay = "relay --tls-cert tls.crt --tls-key tls.key --relay-key relay.key --listen";
    let error = folder.run(&format!("{relay} 192.0.2.1:443"));
    let error = String::from_utf8_lossy(&error.stderr).into_owned();
    assert!(error.contains("cannot listen on 192.0.2.1:443"), "{error}");
}
