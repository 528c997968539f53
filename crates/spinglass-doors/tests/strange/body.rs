//! Whatever comes at an agent's doors: the agent closes the connection, or answers, and serves the
//! next client.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use spinglass::Node;
use spinglass_doors::sql::{Access, Users};
use spinglass_doors::{http, sql as sql_door};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Inputs between two looks at whether the doors still let anybody in.
const LOOK_EVERY: u64 = 64;
/// How long a door may take to be done with a client who says nothing any more. A statement may
/// compute, and wait for hosts elsewhere.
const DONE_WITHIN: Duration = Duration::from_secs(20);

/// How long HTTP's clients wait for an answer before they hang up: a request that has gone
/// without one is not answered any more.
const ANSWER_WITHIN: Duration = Duration::from_millis(2);
/// What an answer has that ends when the client goes, and not before.
const STREAM: &[u8] = b"text/event-stream";
/// A login as anybody, by PostgreSQL's protocol 3.0.
pub const LOGIN: &[u8] = b"\0\0\0\x24\0\x03\0\0user\0me\0database\0spinglass\0\0";

struct Doors {
    http: SocketAddr,
    sql: SocketAddr,
    /// The same for users with passwords.
    guarded: SocketAddr,
    /// They are served as long as these live.
    _serving: (Runtime, Arc<Node>),
}

/// Whether anything has panicked: the task of a connection, of which no client would hear.
static PANICKED: AtomicBool = AtomicBool::new(false);

fn doors() -> &'static Doors {
    static DOORS: OnceLock<Doors> = OnceLock::new();
    DOORS.get_or_init(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICKED.store(true, Ordering::Relaxed);
            before(panic);
        }));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads");
        let (node, [http, sql, guarded]) = runtime.block_on(async {
            // A program that is not Rust's from its start ends when a client is gone.
            let _ = signal(SignalKind::pipe()).expect("a handler");
            let bind = SocketAddr::from(([127, 0, 0, 1], 0));
            let node = Arc::new(Node::builder().bind(bind).start().await.expect("a node"));
            let open = async || TcpListener::bind(bind).await.expect("a port");
            let (http, sql, guarded) = (open().await, open().await, open().await);
            let at = [&http, &sql, &guarded].map(|door| door.local_addr().expect("bound"));
            let (_, token) = watch::channel(None);
            let (_, access) = watch::channel(Access::default());
            let (_, strict) = watch::channel(Access { users: Some(users()), tls: None });
            let claims: spinglass_doors::Claims = Arc::new(|_: &str| ());
            let (is_open, has_seeds) = (true, false);
            let settings = http::Settings {
                has_seeds,
                token,
                is_open,
                claims: Arc::clone(&claims),
                experiment: None,
            };
            tokio::spawn(http::serve(http, Arc::downgrade(&node), settings));
            for (door, access) in [(sql, access), (guarded, strict)] {
                let claims = Arc::clone(&claims);
                let settings = sql_door::Settings { access, is_open, claims };
                tokio::spawn(sql_door::serve(door, Arc::downgrade(&node), settings));
            }
            (node, at)
        });
        Doors { http, sql, guarded, _serving: (runtime, node) }
    })
}

/// One user, of whose password nobody here makes use.
fn users() -> Users {
    let file = std::env::temp_dir().join(format!("spinglass-strange-{}", std::process::id()));
    let verifier = sql_door::verifier("secret").expect("randomness");
    std::fs::write(&file, format!("[users.me]\npassword = \"{verifier}\"\n")).expect("room");
    let users = Users::load(&file).expect("users");
    std::fs::remove_file(file).expect("it was there");
    users
}

/// Says all of it, waits so long for the beginning of an answer, says that this was all, and
/// returns what comes until the door closes.
fn say(door: SocketAddr, bytes: &[u8], wait: Duration) -> Vec<u8> {
    let mut stream = TcpStream::connect(door).expect("the door is open");
    // A door may close before it has heard all.
    let _ = stream.write_all(bytes);
    if !wait.is_zero() {
        stream.set_read_timeout(Some(wait)).expect("a time");
        let _ = stream.peek(&mut [0]);
    }
    let _ = stream.shutdown(Shutdown::Write);
    stream.set_read_timeout(Some(DONE_WITHIN)).expect("a time");
    let mut answer = Vec::new();
    let mut piece = [0; 1 << 14];
    loop {
        assert!(!PANICKED.load(Ordering::Relaxed), "{} made a door panic", bytes.escape_ascii());
        match stream.read(&mut piece) {
            Ok(0) => return answer,
            Ok(bytes) => answer.extend_from_slice(piece.get(..bytes).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let (said, answer) = (bytes.escape_ascii(), answer.escape_ascii());
                panic!("after {DONE_WITHIN:?} the door holds on: {said} gives {answer}")
            }
            // A fuzzer's clock.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Or by a reset, if something was still to be read.
            Err(_) => return answer,
        }
        let is_http = answer.starts_with(b"HTTP/");
        if is_http && answer.windows(STREAM.len()).any(|bytes| bytes == STREAM) {
            return answer;
        }
    }
}

fn look_now_and_then() {
    static INPUTS: AtomicU64 = AtomicU64::new(0);
    if INPUTS.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK_EVERY) {
        let health =
            say(doors().http, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", DONE_WITHIN);
        assert!(health.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&health));
        let one = say(doors().sql, &[LOGIN, &query("SELECT 1")].concat(), Duration::ZERO);
        assert!(one.ends_with(b"SELECT 1\0Z\0\0\0\x05I"), "{}", String::from_utf8_lossy(&one));
    }
}

/// A statement as a message of its own.
pub fn query(sql: &str) -> Vec<u8> {
    let length = u32::try_from(sql.len() + 5).expect("a short one").to_be_bytes();
    [b"Q", &length[..], sql.as_bytes(), b"\0"].concat()
}

/// Bytes at the door for HTTP.
pub fn http(bytes: &[u8]) {
    look_now_and_then();
    let answer = say(doors().http, bytes, ANSWER_WITHIN);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{answer:?}");
}

/// Bytes at the door for SQL: the first says whether of a stranger, of somebody who has come in, or
/// of somebody who is asked for a password.
pub fn sql(bytes: &[u8]) {
    look_now_and_then();
    let Some((first, rest)) = bytes.split_first() else { return };
    let logged_in = [LOGIN, rest].concat();
    match first % 3 {
        0 => say(doors().sql, rest, Duration::ZERO),
        1 => say(doors().sql, &logged_in, Duration::ZERO),
        _ => say(doors().guarded, &logged_in, Duration::ZERO),
    };
}

/// A statement at the door for SQL: it is answered, and so is the next one.
pub fn statement(bytes: &[u8]) {
    look_now_and_then();
    let text = String::from_utf8_lossy(bytes).replace('\0', " ");
    // What it began is over: a transaction, or waiting for rows to copy.
    let messages = [LOGIN, b"", &query("SET statement_timeout = '200ms'"), &query(&text)].concat();
    let messages = [&messages[..], &query("ROLLBACK"), &query("SELECT 'after'")].concat();
    let answer = say(doors().sql, &messages, Duration::ZERO);
    let is_answered = answer.windows(5).any(|bytes| bytes == b"after");
    assert!(is_answered, "{text:?}: {}", String::from_utf8_lossy(&answer));
}
