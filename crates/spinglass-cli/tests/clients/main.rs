//! Clients of PostgreSQL's, out of the box, and a browser, against live agents: two in one region,
//! one in another.
//!
//! `cargo xtask test` installs them and says by `SPINGLASS_CLIENTS` where Python's are. Without it
//! those tests pass over: `cargo test` alone needs nothing but psql.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;

/// One fleet at a time: these tests are about clients, not about a busy machine.
static TURN: Mutex<()> = Mutex::new(());

/// An agent, ended with the test.
struct Agent {
    process: Child,
    started: Value,
}

impl Agent {
    fn start(name: &str, region: &str, seed: Option<&str>, more: &[&str]) -> Self {
        let socket = folder().join(format!("{name}.sock"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_spinglass"));
        command.args(["agent", "--json", "--bind", "127.0.0.1:0", "--name", name]);
        command.args(["--region", region, "--sql", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command
            .arg("--socket")
            .arg(socket)
            .args(more)
            .args(seed.map(|seed| format!("--seeds={seed}")));
        command.args(["--set", "up=true"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the program that cargo built runs");
        let mut line = String::new();
        let out = process.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("it says where it is");
        let started = serde_json::from_str(&line).expect("JSON");
        Self { process, started }
    }

    fn told(&self, what: &str) -> &str {
        self.started[what].as_str().expect("it is told")
    }

    fn port_of(&self, door: &str) -> &str {
        self.told(door).rsplit(':').next().expect("an address has a port")
    }

    fn port(&self) -> &str {
        self.port_of("sql")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A folder of this test alone.
fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("spinglass-clients-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder for such files is there");
    folder
}

/// Three agents that know of each other.
fn fleet() -> [Agent; 3] {
    let first = Agent::start("web1", "/usa/ithaca", None, &[]);
    let seed = first.told("address").to_owned();
    let second = Agent::start("web2", "/usa/ithaca", Some(&seed), &[]);
    let third = Agent::start("web3", "/usa/boston", Some(&seed), &[]);
    for agent in [&first, &second, &third] {
        wait_for(agent, "SELECT count(cpus) FROM hosts WHERE up", "3");
    }
    wait_for(&first, "SELECT count(*) FROM members WHERE region = '/usa/ithaca'", "2");
    wait_for(&first, "SELECT min(kind) FROM events", "up");
    [first, second, third]
}

fn psql(agent: &Agent, user: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("psql");
    command.args(["-X", "-h", "127.0.0.1", "-p", agent.port(), "-U", user, "-d", "spinglass"]);
    command.env_remove("PGPASSWORD").args(arguments).output().expect("psql is installed")
}

fn answer(agent: &Agent, sql: &str) -> String {
    let Output { stdout, stderr, .. } = psql(agent, "me", &["-At", "-c", sql]);
    String::from_utf8_lossy(&[stdout, stderr].concat()).trim().to_owned()
}

fn wait_for(agent: &Agent, sql: &str, expected: &str) {
    let mut last = String::new();
    for _ in 0..200 {
        last = answer(agent, sql);
        if last == expected {
            return;
        }
        sleep(Duration::from_millis(150));
    }
    panic!("{sql} gives {last}, not {expected}");
}

fn run(mut command: Command) {
    let Output { status, stdout, stderr } = command.output().expect("it is installed");
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(status.success(), "{command:?}\n{said}");
    print!("{said}");
}

/// The script of this name, by Python with its packages; nothing where these are not installed.
fn run_python(script: &str, arguments: &[&str]) {
    let Some(environment) = std::env::var_os("SPINGLASS_CLIENTS") else {
        eprintln!("passed over: run `cargo xtask test`, which installs what {script} needs");
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let mut command = Command::new(Path::new(&environment).join("bin/python"));
    command.arg(folder.join(script)).args(arguments).env("CHROMIUM", "/usr/bin/chromium");
    run(command);
}

#[test]
fn psql_reads_changes_and_describes() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let fleet = fleet();
    let [first, second, _] = &fleet;
    let by_zone = "SELECT zone, count(*) FROM hosts GROUP BY zone ORDER BY zone";
    assert_eq!(answer(first, by_zone), "/usa/boston|1\n/usa/ithaca|2");
    assert_eq!(answer(first, "SELECT name FROM \"/usa\" ORDER BY name"), "boston\nithaca");
    // A zone that is not on this agent's path.
    let elsewhere = answer(first, "SELECT name, age >= 0 FROM \"/usa/boston\"");
    assert!(elsewhere.starts_with("web3|t"), "{elsewhere}");
    let join = "SELECT h.id FROM hosts h JOIN zones z ON z.name = h.id WHERE z.own ORDER BY 1";
    assert_eq!(answer(first, join), "web1");
    assert_eq!(answer(first, "UPDATE self SET role = 'db', n = 1 + 2 WHERE up"), "UPDATE 1");
    assert_eq!(answer(first, "SELECT role, n FROM self"), "db|3");
    // All or none.
    assert!(answer(first, "UPDATE self SET n = 4, id = 'x'").contains("id"));
    assert_eq!(answer(first, "SELECT n FROM self"), "3");
    wait_for(second, "SELECT role FROM hosts WHERE id = 'web1'", "db");
    let install = "SELECT summary_install('/usa', 'most', 'SELECT MAX(n) AS most FROM zone')";
    assert_eq!(answer(first, install), "installed");
    wait_for(second, "SELECT most FROM \"/usa\" WHERE name = 'ithaca'", "3");
    assert_eq!(answer(first, "SELECT summary_remove('/usa', 'most')"), "removed");
    for (sql, told) in [
        ("\\dt", "public|hosts|table"),
        ("\\dv", "public|/usa/ithaca|view"),
        ("\\d hosts", "cpus|bigint"),
        ("\\d+ self", "own|boolean"),
        ("\\dn", "public"),
        ("\\l", "spinglass"),
        ("\\du", "spinglass"),
        ("\\conninfo", "spinglass"),
        ("\\copy (SELECT id, role FROM hosts WHERE id = 'web1') TO STDOUT CSV HEADER", "web1,db"),
        ("SHOW server_version", "16"),
        ("SELECT * FROM nowhere", "no such table: nowhere"),
        ("SELEC 1", "syntax error"),
        ("DELETE FROM hosts", "not for these tables"),
        ("UPDATE hosts SET a = 1", "its own row alone"),
        ("UPDATE self SET id = 'x'", "id"),
        ("SELECT load_extension('x')", "not authorized"),
        ("SELECT * FROM sqlite_master", "prohibited"),
        ("SELECT * FROM pragma_database_list", "not authorized"),
    ] {
        let said = answer(first, sql);
        assert!(said.contains(told), "{sql}\n{said}");
    }
    let bomb = "SET statement_timeout = '100ms'; WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT \
                n + 1 FROM r) SELECT count(*) FROM r";
    assert!(answer(first, bomb).contains("took too long"));
    let bomb = "SELECT hex(zeroblob(100000000))";
    assert!(answer(first, bomb).contains("too big"), "{}", answer(first, bomb));
}

#[test]
fn who_comes_in_by_a_password_does_what_the_file_says() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let file = folder().join("users.toml");
    let mut users = std::fs::File::create(&file).expect("it can be made");
    for (name, more) in [("reader", ""), ("writer", "changes = true\n")] {
        let mut keygen = Command::new(env!("CARGO_BIN_EXE_spinglass"));
        keygen
            .args(["keygen", "--sql-password", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut keygen = keygen.spawn().expect("the program that cargo built runs");
        let mut input = keygen.stdin.take().expect("it is piped");
        writeln!(input, "secret of {name}").expect("it reads");
        drop(input);
        let output = keygen.wait_with_output().expect("it ends");
        assert!(output.status.success() && !output.stdout.windows(6).any(|it| it == b"secret"));
        users.write_all(&output.stdout).expect("there is room");
        users.write_all(more.as_bytes()).expect("there is room");
    }
    let file = file.display().to_string();
    let agent = Agent::start("guarded", "/", None, &["--sql-users", &file]);
    let ask = |user: &str, password: &str, sql: &str| {
        let at = format!("host=127.0.0.1 port={} dbname=spinglass user={user}", agent.port());
        let mut command = Command::new("psql");
        command.args(["-X", "-w", "-At", "-d", &at, "-c", sql]).env("PGPASSWORD", password);
        let Output { stdout, stderr, .. } = command.output().expect("psql is installed");
        String::from_utf8_lossy(&[stdout, stderr].concat()).trim().to_owned()
    };
    assert_eq!(ask("reader", "secret of reader", "SELECT id FROM self"), "guarded");
    for sql in ["UPDATE self SET a = 1", "NOTIFY a", "SELECT summary_remove('/', 'a')"] {
        assert!(ask("reader", "secret of reader", sql).contains("permission denied"), "{sql}");
    }
    assert_eq!(ask("writer", "secret of writer", "UPDATE self SET a = 1"), "UPDATE 1");
    for (user, password) in [("writer", "secret of reader"), ("nobody", "x")] {
        assert!(ask(user, password, "SELECT 1").contains("authentication failed"), "{user}");
    }
}

#[test]
fn psycopg_is_a_client() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let [first, second, _third] = &fleet();
    run_python("with_psycopg.py", &[first.port(), second.port()]);
}

#[test]
fn asyncpg_sqlalchemy_and_odbc_are_clients() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let [first, _second, _third] = &fleet();
    run_python("with_asyncpg.py", &[first.port()]);
    run_python("with_sqlalchemy.py", &[first.port()]);
    run_python("with_odbc.py", &[first.port()]);
}

#[test]
fn a_browser_shows_the_console() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let file = folder().join("token");
    let file = file.display().to_string();
    std::fs::write(&file, "a-token-of-the-test\n").expect("there is room");
    let first = Agent::start("web1", "/usa/ithaca", None, &[]);
    let more = ["--http-token", &file];
    let second = Agent::start("web2", "/usa/ithaca", Some(first.told("address")), &more);
    wait_for(&first, "SELECT count(cpus) FROM hosts WHERE up", "2");
    let process = second.process.id().to_string();
    run_python(
        "with_browser.py",
        &[first.port_of("http"), second.port_of("http"), &file, &process],
    );
}

#[test]
fn a_browser_turns_the_demos_knobs() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    run_python("with_demo.py", &[env!("CARGO_BIN_EXE_spinglass")]);
}

/// Runs a line until it says each of these words; some of what it shows takes a while.
const EXPECT: &str = r#"
set -m
expect() {
    for _ in $(seq 600); do
        said=$(eval "$1" 2>&1)
        missing=
        for word in $2; do case "$said" in *"$word"*) ;; *) missing=$word ;; esac; done
        [ -z "$missing" ] && return
        sleep 0.25
    done
    echo "$1 says $said, and not $missing"
    kill $(jobs -p)
    exit 1
}
"#;

/// Every command of docs/tutorial.md, in one shell, with nothing else on the network.
#[test]
fn the_tutorial_runs_as_printed() {
    let text = include_str!("../../../../docs/tutorial.md");
    let mut script = EXPECT.to_owned();
    let mut commands = 0;
    for block in text.split("```sh\n").skip(1) {
        let block = block.split("```").next().expect("a split has a first part");
        for line in block.lines() {
            commands += 1;
            match line.split_once(" # ") {
                Some((command, words)) => {
                    let quoted = command.replace('\'', "'\\''");
                    script += &format!("expect '{quoted}' '{words}'\n");
                }
                None => script += &format!("{line}\n"),
            }
            // An agent that was started in the background takes a moment.
            if line.ends_with('&') {
                script += "sleep 1\n";
            }
        }
    }
    assert!(commands >= 15, "the tutorial has commands: {commands}");
    run(in_a_network_of_its_own(&script));
}

/// A shell that finds the program, and nothing else on the network, where the system allows that.
fn in_a_network_of_its_own(script: &str) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_spinglass"));
    let folder = program.parent().expect("it is in a folder").display();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = if has_networks() {
        let mut shell = Command::new("unshare");
        shell.args(["-r", "-n", "bash", "-c"]).arg(format!("ip link set lo up\n{script}"));
        shell
    } else {
        let mut shell = Command::new("bash");
        shell.arg("-c").arg(script);
        shell
    };
    shell.env("PATH", format!("{folder}:{path}")).env_remove("SPINGLASS_SOCKET");
    shell
}

fn has_networks() -> bool {
    let tried = Command::new("unshare").args(["-r", "-n", "true"]).status();
    tried.is_ok_and(|status| status.success())
}

/// From another address than loopback's: TLS and a password, or a certificate, or nothing. A
/// certificate that names nobody takes a password; one by another certifier ends the connection.
const FROM_AFAR: &str = r#"
ip addr add 10.9.9.9/32 dev lo
cd "$FOLDER"
spinglass keygen --group group.key > said
{ echo secret | spinglass keygen --sql-password alice; echo '[users.carol]'; } > users.toml
chmod 600 *.key
spinglass agent --group-key group.key --bind 127.0.0.1:0 --no-http --socket afar.sock \
    --sql 10.9.9.9:7754 --sql-users users.toml --sql-tls-cert afar.crt --sql-tls-key afar.key \
    --sql-tls-clients certifier.crt &
agent=$!
ask() { PGPASSWORD=$2 psql -X -w -At "host=10.9.9.9 port=7754 user=alice dbname=x sslmode=$1" \
    -c '\conninfo' -c 'SELECT 1' 2>&1; }
for _ in $(seq 100); do ask require secret > said && break; sleep 0.1; done
shown() { psql -X -w -At "host=10.9.9.9 port=7754 user=$1 dbname=x sslmode=require \
    sslcert=$2.crt sslkey=$2.key" -c 'SELECT 1' 2>&1; }
failed=
grep -q 'TLSv1.3' said && grep -qx 1 said || failed="TLS: $(cat said)"
ask disable secret | grep -q 'speaks TLS only' || failed="$failed clear: $(ask disable secret)"
ask require wrong | grep -q 'authentication failed' || failed="$failed $(ask require wrong)"
[ "$(shown carol carol)" = 1 ] || failed="$failed $(shown carol carol)"
shown alice carol | grep -q 'certificate is of carol, not of alice' || \
    failed="$failed $(shown alice carol)"
shown alice stranger | grep -q 'no password' || failed="$failed $(shown alice stranger)"
shown carol forger | grep -q 'alert' || failed="$failed $(shown carol forger)"
kill $agent
wait $agent
echo "$failed"
[ -z "$failed" ]
"#;

#[test]
fn sql_from_afar_takes_tls_and_a_password_or_a_certificate() {
    if !has_networks() {
        eprintln!("passed over: the system lets nobody make a network of its own");
        return;
    }
    let folder = folder();
    let made = rcgen::generate_simple_self_signed(["afar".to_owned()]).expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::write(folder.join("afar.crt"), certificate).expect("there is room");
    std::fs::write(folder.join("afar.key"), key).expect("there is room");
    write_clients(&folder);
    let mut shell = in_a_network_of_its_own(FROM_AFAR);
    shell.env("FOLDER", folder);
    run(shell);
}

#[test]
fn the_chart_is_rendered_and_an_agent_takes_what_it_says() {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/helm/spinglass");
    let folder = folder().join("helm");
    std::fs::create_dir_all(&folder).expect("the folder for such files is there");
    let arguments = [Path::new(env!("CARGO_BIN_EXE_spinglass")), &chart, &folder];
    run_python("with_helm.py", &arguments.map(|path| path.to_str().expect("a plain name")));
}

/// Certificates of clients: two by the certifier, of whom one is a user, and one by another.
fn write_clients(folder: &Path) {
    let certifier = || {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
            .expect("a certificate")
    };
    let (certifier, other) = (certifier(), certifier());
    std::fs::write(folder.join("certifier.crt"), certifier.pem()).expect("there is room");
    let clients = [
        ("carol", "carol", &certifier),
        ("stranger", "stranger", &certifier),
        ("forger", "carol", &other),
    ];
    for (file, name, by) in clients {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, by).expect("a certificate");
        std::fs::write(folder.join(format!("{file}.crt")), certificate.pem()).expect("room");
        std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).expect("room");
    }
}

#[test]
fn jdbc_and_isql_are_clients() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if std::env::var_os("SPINGLASS_CLIENTS").is_none() {
        eprintln!("passed over: run `cargo xtask test`, which installs what this needs");
        return;
    }
    let [first, _second, _third] = &fleet();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/WithJdbc.java");
    let mut java = Command::new("java");
    java.args(["-cp", "/usr/share/java/postgresql.jar"]).arg(program).arg(first.port());
    run(java);
    let place = format!(
        "DRIVER={{PostgreSQL Unicode}};SERVER=127.0.0.1;PORT={};DATABASE=spinglass;UID=me;PWD=none",
        first.port()
    );
    let mut isql = Command::new("isql");
    isql.args(["-k", &place, "-b", "-d|"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut isql = isql.spawn().expect("isql is installed");
    let mut input = isql.stdin.take().expect("it is piped");
    writeln!(input, "SELECT id, cpus > 0 FROM hosts ORDER BY id").expect("it reads");
    drop(input);
    let said = isql.wait_with_output().expect("it ends").stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("web1|1") && said.contains("web3|1"), "{said}");
}
