//! The agent's doors: its file of settings, what it says of its machine, and HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

fn spinglass() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spinglass"));
    command.stdin(Stdio::null()).env_remove("SPINGLASS_SOCKET");
    command
}

/// A file of this test alone.
fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("spinglass-doors-{}-{name}", std::process::id()))
}

/// An agent by a file of settings, ended with the test.
struct Agent {
    process: Child,
    settings: PathBuf,
    started: Value,
}

impl Agent {
    fn start(name: &str, settings: &str, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let path = file(&format!("{name}.toml"));
        let socket = file(&format!("{name}.sock"));
        let all = format!("socket = {socket:?}\nbind = \"127.0.0.1:0\"\n{settings}");
        std::fs::write(&path, all).expect("the folder for such files is there");
        let mut command = spinglass();
        command.args(["agent", "--json", "--http", "127.0.0.1:0", "--config"]).arg(&path);
        command.args(more).envs(environment.iter().copied()).stdout(Stdio::piped());
        let log = std::fs::File::create(file(&format!("{name}.log"))).expect("there is room");
        command.stderr(log);
        let mut process = command.spawn().expect("the program that cargo built runs");
        let mut line = String::new();
        let out = process.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("it says where it is");
        let started = serde_json::from_str(&line).expect("JSON");
        Self { process, settings: path, started }
    }

    /// Reads by HTTP; returns the status and the body.
    fn get(&self, path: &str, host: &str) -> (u16, String) {
        self.ask("GET", path, &format!("Host: {host}"), "")
    }

    /// Asks by HTTP; returns the status and the body. Every refusal is told in the one form.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let door = self.started["http"].as_str().expect("it has a door");
        let mut stream = TcpStream::connect(door).expect("the door is open");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{headers}\r\nContent-Length: {length}\r\nConnection: \
             close\r\n\r\n{body}"
        );
        // A body that is refused for its size is not read to its end.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        let kind = match status {
            Some(202 | 204) => "",
            Some(400..) => "content-type: application/problem+json",
            _ => "content-type: application/",
        };
        assert!(answer.contains(kind), "{method} {path}: {answer}");
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        (status.expect("a status"), body.expect("a body"))
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path, "localhost");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The agent's own row, once it says something by this name.
    fn own_row(&self, region: &str, name: &str) -> Value {
        for _ in 0..100 {
            let zone = self.json(&format!("/v1/zones{region}"));
            let rows = zone["rows"].as_array().cloned().unwrap_or_default();
            let own = rows.into_iter().find(|row| row["own"] == true);
            if let Some(row) = own.filter(|row| !row["attributes"][name].is_null()) {
                return row;
            }
            sleep(Duration::from_millis(100));
        }
        panic!("the own row never says {name}");
    }

    fn text(&self, arguments: &[&str]) -> String {
        let mut command = spinglass();
        let socket = self.started["socket"].as_str().expect("it has a socket");
        let output = command.args(arguments).args(["--socket", socket]).output();
        let Output { stdout, .. } = output.expect("the program that cargo built runs");
        String::from_utf8_lossy(&stdout).trim().to_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.settings);
    }
}

#[test]
fn settings_come_from_the_command_line_the_environment_and_a_file() {
    let settings = "region = \"/usa/ithaca\"\nname = \"file\"\npace = 1000000\n\
                    [attributes]\nrole = \"db\"\nweight = 3\ntags = [\"a\", \"b\"]\nload = 7\n";
    let environment = [("SPINGLASS_NAME", "environment"), ("SPINGLASS_REGION", "/usa/boston")];
    let agent =
        Agent::start("all", settings, &["--region", "/eu", "--set", "weight=4"], &environment);
    assert_eq!(agent.started["region"], "/eu", "the command line goes first");
    let row = agent.own_row("/eu", "role");
    assert_eq!(row["name"], "environment", "the environment goes before the file");
    assert_eq!(row["attributes"]["role"], "db");
    assert_eq!(row["attributes"]["weight"], 4);
    assert_eq!(row["attributes"]["tags"], serde_json::json!(["a", "b"]));
    // Facts of the machine, but for what is the user's.
    let row = agent.own_row("/eu", "memory");
    assert!(row["attributes"]["cpus"].as_i64().is_some_and(|cpus| cpus >= 1));
    assert_eq!(row["attributes"]["load"], 7);
}

#[test]
fn what_http_refuses_it_explains() {
    let agent = Agent::start("refused", "region = \"/usa\"\n", &[], &[]);
    let json = "Host: localhost\r\nContent-Type: application/json";
    let unread = "Host: localhost\r\nSpinglass-Headers: price";
    let nameless = "Host: localhost\r\nSpinglass-Headers: {\"a b\": 1}";
    let large = "x".repeat(2 << 20);
    let long =
        format!("Host: localhost\r\nSpinglass-Headers: {{\"a\": \"{}\"}}", "x".repeat(2_000));
    let function = r#"{"zone": "/", "name": "x", "sql": "SELECT MAXX(a) AS b FROM zone"}"#;
    for (method, path, headers, body, status, says) in [
        ("GET", "/v1/zones/eu", "Host: localhost", "", 404, "no zone /eu"),
        ("GET", "/v1/query", "Host: localhost", "", 400, "sql"),
        ("GET", "/nothing", "Host: localhost", "", 404, "openapi.json"),
        ("POST", "/v1/zones", "Host: localhost", "", 405, "openapi.json"),
        ("GET", "/v1/agent", "Host: example.org", "", 403, "127.0.0.1"),
        ("PATCH", "/v1/self", "Host: localhost\r\nOrigin: http://evil", "{}", 403, "origins"),
        ("PATCH", "/v1/self", "Host: localhost", "{}", 415, "application/json"),
        ("PATCH", "/v1/self", json, "{", 400, "JSON"),
        ("PATCH", "/v1/self", json, r#"{"a b": 1}"#, 400, "a-z"),
        ("PATCH", "/v1/self", json, r#"{"a": {}}"#, 400, "a value is"),
        ("PATCH", "/v1/self", json, r#"{"before": 1, "id": "x"}"#, 400, "id"),
        ("PUT", "/v1/summaries", json, function, 400, "did you mean MAX"),
        ("POST", "/v1/explain", json, function, 400, "did you mean MAX"),
        ("DELETE", "/v1/summaries", "Host: localhost", "", 400, "zone"),
        ("DELETE", "/v1/summaries?zone=/&name=x", "Host: localhost", "", 400, "no summary"),
        ("POST", "/v1/topics/a", "Host: localhost", &large, 413, "length limit"),
        ("GET", "/v1/topics/a/ws", "Host: localhost", "", 400, "WebSockets"),
        ("GET", "/v1/topics/a?buffered=x", "Host: localhost", "", 400, "buffered"),
        ("GET", "/v1/topics/%23%2Fa", "Host: localhost", "", 400, "it is the last"),
        ("POST", "/v1/topics/a%2F+", "Host: localhost", "x", 400, "a pattern"),
        ("POST", "/v1/topics/a?keep=-1", "Host: localhost", "x", 400, "keep"),
        ("POST", "/v1/topics/a", unread, "x", 400, "spinglass-headers: expected"),
        ("POST", "/v1/topics/a", nameless, "x", 400, "no header's"),
        ("POST", "/v1/topics/a", &long, "x", 400, "the limit is 1024"),
        ("GET", "/v1/topics/a?where=price%20%3E", "Host: localhost", "", 400, "column 8"),
    ] {
        let (got, said) = agent.ask(method, path, headers, body);
        assert!(got == status && said.contains(says), "{method} {path}: {got} {said}");
    }
    assert_eq!(agent.ask("PATCH", "/v1/self", json, r#"{"a": [1]}"#).0, 204);
    // What was refused has changed nothing.
    assert!(agent.own_row("/usa", "a")["attributes"]["before"].is_null());
}

#[test]
fn what_is_kept_of_topics_is_streamed_by_pattern_to_who_comes_later() {
    let one = Agent::start("keeps", "region = \"/usa\"\n", &[], &[]);
    let seed = one.started["address"].as_str().expect("it has an address").to_owned();
    let other = Agent::start("comes", "region = \"/usa\"\n", &["--seeds", &seed], &[]);
    for (topic, hz) in [("grid%2Fny", "50.0"), ("grid%2Fnj", "49.9"), ("market", "42")] {
        for (hz, count) in [("30", 1), (hz, 2)] {
            let path = format!("/v1/topics/{topic}?keep={count}");
            let headers = format!("Host: localhost\r\nSpinglass-Headers: {{\"hz\": {hz}}}");
            assert_eq!(one.ask("POST", &path, &headers, hz).0, 202);
        }
    }
    let door = other.started["http"].as_str().expect("it has a door");
    let mut stream = TcpStream::connect(door).expect("the door is open");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("it takes one");
    let path = "/v1/topics/grid%2F+?buffered=true&where=hz%3E40";
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it listens");
    let lines = BufReader::new(stream).lines().map(|line| line.expect("it goes on"));
    let mut told: Vec<String> = lines
        .filter(|line| line.starts_with("id: ") || line.starts_with("data: "))
        .take(4)
        .collect();
    told.sort();
    assert_eq!(told, ["data: 49.9", "data: 50.0", "id: grid/nj", "id: grid/ny"]);
    // Whoever comes second is told the same; as JSON with what is known of each message.
    let mut stream = TcpStream::connect(door).expect("the door is open");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("it takes one");
    let path = "/v1/topics/grid%2Fny?buffered=true&where=hz%3E40&json=true";
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("it goes on"));
    let line = lines.find(|line| line.starts_with("data: ")).expect("it is told");
    let told: Value = serde_json::from_str(&line["data: ".len()..]).expect("JSON");
    assert_eq!((&told["topic"], &told["text"]), (&"grid/ny".into(), &"50.0".into()));
    assert_eq!(told["headers"], serde_json::json!({"hz": 50.0}));
}

#[test]
fn a_supervisor_learns_that_the_agent_is_there() {
    let path = file("supervisor.sock");
    let supervisor = UnixDatagram::bind(&path).expect("the folder for such files is there");
    supervisor.set_read_timeout(Some(Duration::from_secs(60))).expect("it takes one");
    let to = path.to_str().expect("a name of letters");
    let _agent = Agent::start("notify", "", &[], &[("NOTIFY_SOCKET", to)]);
    let mut said = [0; 64];
    let length = supervisor.recv(&mut said).expect("it is told");
    assert_eq!(said.split_at(length).0.trim_ascii_end(), b"READY=1");
    let _ = std::fs::remove_file(&path);
}

#[test]
fn what_is_wrong_with_settings_is_told_with_its_line() {
    let path = file("wrong.toml");
    let checked = |settings: &str| {
        std::fs::write(&path, settings).expect("the folder for such files is there");
        let mut command = spinglass();
        command.args(["agent", "--check-config", "--config"]).arg(&path);
        let output = command.output().expect("the program that cargo built runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let wrong = [
        ("\nregoin = \"/usa\"", "line 2: there is no setting \"regoin\"; do you mean \"region\"?"),
        ("quux = 1", "`spinglass agent --print-config` shows all"),
        ("pace = \"fast\"", "invalid value 'fast' for '--pace <BYTES>'"),
        ("reply_ports = \"nevr\"", "[possible values: never, flooded, always]"),
        ("wan = 3", "line 1: wan is true or false"),
        ("name = [\"a\"]", "line 1: name takes one value, and no list"),
        ("name = \"a", "TOML parse error at line 1"),
        ("[attributes]\nx = {}", "the attribute x: a value is true, false, a number"),
        ("certificate = \"x.crt\"", "--trust"),
    ];
    for (settings, expected) in wrong {
        let (code, error) = checked(settings);
        assert_eq!(code, Some(2), "{settings}: {error}");
        assert!(error.contains(expected), "{settings}: {error}");
    }
    // What the command line excludes is not heeded, and no contradiction.
    std::fs::write(&path, "facts = \"5s\"\nno_http = true\n").expect("the folder is there");
    let mut command = spinglass();
    command.args(["agent", "--no-facts", "--http", "127.0.0.1:0", "--check-config", "--config"]);
    assert!(command.arg(&path).output().expect("it runs").status.success());
    assert_eq!(checked("name = \"a\"\nseeds = [\"b\", \"127.0.0.1:7710\"]\n").0, Some(0));
    let _ = std::fs::remove_file(&path);
}

#[test]
fn the_file_with_all_settings_is_good_and_the_one_in_deploy() {
    let output = spinglass().args(["agent", "--print-config"]).output();
    let printed = output.expect("the program that cargo built runs").stdout;
    let printed = String::from_utf8_lossy(&printed).into_owned();
    let kept = include_str!("../../../deploy/agent.toml");
    assert_eq!(printed, kept, "spinglass agent --print-config > deploy/agent.toml");
    let parsed: toml::Table = printed.parse().expect("TOML");
    assert_eq!(parsed.keys().collect::<Vec<_>>(), ["attributes"], "nothing is set");
    for key in ["region", "seeds", "rotate_every", "facts", "socket"] {
        assert!(printed.contains(&format!("\n# {key} = ")), "{key}");
    }
}

#[test]
fn programs_read_by_http_what_the_agent_knows() {
    let first = Agent::start("first", "region = \"/usa\"\nname = \"web1\"\n", &[], &[]);
    let address = first.started["address"].as_str().expect("an address");
    let seeds = format!("region = \"/eu\"\nname = \"db1\"\nseeds = [{address:?}]\n");
    let second = Agent::start("second", &seeds, &[], &[]);
    for _ in 0..150 {
        if second.get("/readyz", "127.0.0.1").0 == 200 && first.text(&["members"]).contains("usa") {
            break;
        }
        sleep(Duration::from_millis(100));
    }
    assert_eq!(second.json("/readyz")["status"], "ready");
    assert_eq!(first.json("/healthz")["status"], "ok");
    let root = second.json("/v1/zones/");
    assert_eq!((&root["path"], &root["summary"]["nmembers"]), (&"/".into(), &2.into()));
    assert_eq!(second.json("/v1/zones")[1]["path"], "/eu");
    assert_eq!(second.json("/v1/members")[0]["region"], "/eu");
    let hosts = second.json("/v1/query?sql=SELECT+id,+zone+FROM+hosts+ORDER+BY+id");
    let ids: Vec<_> = hosts["rows"].as_array().expect("rows").iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, ["db1", "web1"]);
    let (status, metrics) = first.get("/metrics", "[::1]:7780");
    assert!(status == 200 && metrics.contains("\nspinglass_members 2.0\n"), "{metrics}");

    let problem = |path: &str, host: &str| {
        let (status, body) = first.get(path, host);
        let problem: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(problem["status"], status);
        (status, problem["detail"].as_str().expect("it says what to do").to_owned())
    };
    assert_eq!(problem("/v1/zones", "rebound.example").0, 403);
    assert_eq!(problem("/nothing", "localhost").0, 404);
    assert!(problem("/v1/zones/mars", "localhost").1.contains("there is no zone /mars"));
    assert!(problem("/v1/query", "localhost").1.contains("sql"));
    assert!(problem("/v1/query?sql=DROP", "localhost").1.contains("SELECT"));

    // Connections that say nothing take no room from those that do, up to a limit.
    let door = first.started["http"].as_str().expect("it has a door");
    let silent: Vec<_> = (0..60).map(|_| TcpStream::connect(door).expect("it is open")).collect();
    assert_eq!(first.json("/healthz")["status"], "ok");
    drop(silent);

    // A long question keeps nobody from leaving with a good-bye.
    let door = second.started["http"].as_str().expect("it has a door");
    let mut asking = TcpStream::connect(door).expect("the door is open");
    let long = "/v1/query?sql=SELECT+id+FROM+hosts&within_ms=60000";
    write!(asking, "GET {long} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
    assert_eq!(second.text(&["leave"]), "it has left");
    for _ in 0..50 {
        if first.json("/v1/zones/")["summary"]["nmembers"] == 1 {
            break;
        }
        sleep(Duration::from_millis(100));
    }
    assert_eq!(first.json("/v1/zones/")["summary"]["nmembers"], 1, "it said good-bye");

    // Who knows of nobody by whom it joins is not ready.
    let alone = Agent::start("alone", "seeds = [\"127.0.0.1:9\"]\n", &[], &[]);
    assert_eq!(alone.get("/readyz", "localhost").0, 503);
    let beyond = spinglass().args(["agent", "--http", "0.0.0.0:0"]).output();
    let error = beyond.expect("the program that cargo built runs").stderr;
    assert!(String::from_utf8_lossy(&error).contains("an address of loopback"));
}

#[test]
fn settings_are_read_again_when_the_agent_is_told_to() {
    let (token, log) = (file("again.token"), file("again.log"));
    let secret = |letter: &str| std::fs::write(&token, letter.repeat(20)).expect("there is room");
    let settings = |more: &str| {
        format!("log_format = \"json\"\nhttp_token = {token:?}\n{more}\n[attributes]\n")
    };
    secret("a");
    let first = settings("") + "role = \"web\"\nrack = 7";
    let agent =
        Agent::start("again", &first, &["--region", "/again", "--seeds", "127.0.0.1:1"], &[]);
    let head = std::fs::read_to_string(&agent.settings).expect("it is there");
    let head = head.strip_suffix(&first).expect("it ends so").to_owned();
    let said = |lines: &str| lines.matches("settings").count();
    let again = |settings: &str| {
        let before = said(&std::fs::read_to_string(&log).expect("it is there"));
        std::fs::write(&agent.settings, format!("{head}{settings}")).expect("there is room");
        let hang_up = Command::new("kill").args(["-HUP", &agent.process.id().to_string()]).status();
        assert!(hang_up.expect("there is kill").success());
        for _ in 0..100 {
            let lines = std::fs::read_to_string(&log).expect("it is there");
            if said(&lines) > before {
                return lines;
            }
            sleep(Duration::from_millis(50));
        }
        panic!("it never says that it was told to");
    };
    let change = |secret: &str| {
        let headers = format!(
            "Host: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json",
            secret.repeat(20)
        );
        agent.ask("PATCH", "/v1/self", &headers, r#"{"seen": 1}"#).0
    };
    assert_eq!((change("a"), change("b")), (204, 401));

    secret("b");
    let lines = again(&(settings("facts = \"30s\"\nlog_level = \"debug\"") + "role = \"db\""));
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        assert!(line["timestamp"].is_string() && line["message"].is_string(), "{line}");
    }
    let late = lines.lines().find(|line| line.contains("after a restart")).expect("it says so");
    assert!(late.contains(r#""settings":"facts""#) && late.contains("WARN"), "{late}");
    let row = agent.own_row("/again", "role");
    assert_eq!(row["attributes"]["role"], "db", "{row}");
    assert!(row["attributes"]["rack"].is_null(), "{row}");
    assert_eq!((change("a"), change("b")), (401, 204));

    secret("c");
    let lines = again(&(settings("rolle = 1") + "role = \"cache\""));
    let last = lines.lines().last().expect("there are lines");
    assert!(last.contains("stay as they were") && last.contains("rolle"), "{last}");
    assert_eq!(agent.own_row("/again", "role")["attributes"]["role"], "db");

    // One attribute that does not fit keeps all as they are.
    let much = format!("role = \"cache\"\nrack = \"{}\"", "x".repeat(4000));
    let lines = again(&(settings("") + &much));
    let last = lines.lines().last().expect("there are lines");
    assert!(last.contains("stay as they were") && last.contains("bytes"), "{last}");
    assert_eq!(agent.own_row("/again", "role")["attributes"]["role"], "db");
    assert_eq!((change("b"), change("c")), (204, 401), "nothing of a wrong file holds");
}
