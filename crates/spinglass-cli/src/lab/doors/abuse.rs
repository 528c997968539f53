//! Clients as nobody wishes for them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use spinglass_core::Prng;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};

use super::client::Client;

/// Connections that say nothing, to each door.
const HALF_OPEN: usize = 500;
/// Clients that ask for much and take nothing.
const SLOW_READERS: usize = 20;
/// Clients that ask what takes as long as it may, one after the other.
const GREEDY: usize = 6;
/// Connections that send what is no message.
const MALFORMED: usize = 2000;
/// What a slow reader asks for: some megabytes.
const MUCH: &str = "SELECT hex(zeroblob(900000)) FROM generate_series(1, 8)";
/// What takes until somebody stops it.
const ENDLESS: &str = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) \
                       SELECT count(*) FROM r a, r b";

/// What was done to the doors.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    pub(super) half_open: usize,
    pub(super) malformed: usize,
    pub(super) endless: usize,
    pub(super) slow: usize,
}

/// Does it for so long: at first what is endless, slow and malformed, then with as many connections
/// that say nothing as keep everybody else out.
pub(super) async fn abuse(sql: SocketAddr, http: SocketAddr, seed: u64, lasts: Duration) -> Done {
    let until = Instant::now() + lasts;
    let mut slow = JoinSet::new();
    for _ in 0..SLOW_READERS {
        slow.spawn(read_nothing(sql, until));
    }
    let mut greedy = JoinSet::new();
    for _ in 0..GREEDY {
        greedy.spawn(ask_endlessly(sql, until));
    }
    let malformed = send_nonsense([sql, http], seed, lasts / 2).await;
    let half_open = say_nothing([sql, http], until).await;
    let slow = slow.join_all().await.into_iter().filter(|came_in| *came_in).count();
    let endless = greedy.join_all().await.into_iter().sum();
    Done { half_open, malformed, endless, slow }
}

/// Asks for much and takes nothing of it.
async fn read_nothing(sql: SocketAddr, until: Instant) -> bool {
    let Ok(mut client) = Client::connect(sql).await else { return false };
    let sent = client.send(MUCH).await.is_ok();
    tokio::time::sleep_until(until.into()).await;
    sent
}

/// Asks what never ends, again and again; returns how often somebody stopped it.
async fn ask_endlessly(sql: SocketAddr, until: Instant) -> usize {
    let mut stopped = 0;
    while Instant::now() < until {
        let Ok(Ok(mut client)) = timeout_at(until.into(), Client::connect(sql)).await else {
            break;
        };
        let asked = timeout_at(until.into(), client.ask(ENDLESS)).await;
        stopped += usize::from(matches!(asked, Ok(Err(_))));
    }
    stopped
}

async fn send_nonsense(doors: [SocketAddr; 2], seed: u64, lasts: Duration) -> usize {
    let mut rng = Prng::new(seed).fork("malformed");
    let until = Instant::now() + lasts;
    let mut sent = 0;
    for turn in 0..MALFORMED {
        let bytes: Vec<u8> = (0..rng.index(400)).map(|_| rng.below(256) as u8).collect();
        let hello: &[u8] = match turn % 4 {
            // As if somebody came in, or asked.
            0 => &[0, 0, 0, 16, 0, 3, 0, 0, b'u', b's', b'e', b'r', 0, b'x', 0, 0],
            1 => b"GET /v1/zones HTTP/1.1\r\nHost: localhost\r\n",
            _ => &[],
        };
        let Some(door) = doors.get(turn % doors.len()) else { continue };
        if let Ok(Ok(mut stream)) = timeout_at(until.into(), TcpStream::connect(door)).await {
            let _refused = stream.write_all(&[hello, &bytes].concat()).await;
            sent += 1;
        }
        let next = until - lasts * (MALFORMED - turn - 1) as u32 / MALFORMED as u32;
        tokio::time::sleep_until(next.into()).await;
    }
    sent
}

async fn say_nothing(doors: [SocketAddr; 2], until: Instant) -> usize {
    let mut silent = Vec::new();
    for door in doors {
        for _ in 0..HALF_OPEN {
            // A door whose queue is full lets in nobody for a while.
            let within = Duration::from_millis(100);
            if let Ok(Ok(stream)) = timeout(within, TcpStream::connect(door)).await {
                silent.push(stream);
            }
        }
    }
    tokio::time::sleep_until(until.into()).await;
    silent.len()
}
