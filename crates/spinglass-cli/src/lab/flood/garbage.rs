//! Fabricated datagrams: what an attacker without a key can send, at a bounded rate, to loopback.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use spinglass_core::crypto::{Epoch, Salt};
use spinglass_core::link::{Boot, BootName, Header, HeaderBoot};
use spinglass_core::{MemberId, Prng};

/// Bytes of one: large enough that checking its tag costs something.
const BYTES: usize = 400;
/// Different ones that are sent in turn.
const KINDS: usize = 1024;
/// How often some are sent.
const TICK: Duration = Duration::from_millis(1);
/// The longest that a flood lasts, whatever its conductor does.
const LONGEST: Duration = Duration::from_secs(600);

/// Datagrams with headers that parse, and bytes behind them that no key opens: half of them name a
/// boot that nobody has met; the others name all that a key is derived from, so that whoever gets
/// them must derive it and check the tag.
pub(super) fn datagrams(seed: u64) -> Vec<Vec<u8>> {
    let mut rng = Prng::new(seed).fork("garbage");
    let mut word = || rng.next_u64().to_le_bytes();
    let mut wide = || u128::from_le_bytes([word(), word()].concat().try_into().unwrap_or([0; 16]));
    (0..KINDS)
        .map(|kind| {
            let boot = if kind % 2 == 0 {
                let [name @ .., _, _, _, _, _, _, _, _] = wide().to_le_bytes();
                HeaderBoot::Short(BootName(name))
            } else {
                let (sender, salt) = (MemberId(wide().to_le_bytes()), Salt(wide().to_le_bytes()));
                HeaderBoot::Long(Boot { sender, salt, generation: 0 })
            };
            let counter = kind as u64;
            let mut bytes = Vec::with_capacity(BYTES);
            Header { epoch: Epoch(0), boot, counter }.encode(&mut bytes);
            while bytes.len() < BYTES {
                bytes.extend_from_slice(&wide().to_le_bytes());
            }
            bytes.truncate(BYTES);
            bytes
        })
        .collect()
}

/// A flood under way; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Flooding {
    ceases: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    began: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Flooding {
    /// Sends so many datagrams a second to each of these, which must be on loopback.
    ///
    /// # Errors
    /// No socket or thread can be had, or an address is elsewhere.
    pub(super) fn start(to: Vec<SocketAddr>, per_second: u32, seed: u64) -> io::Result<Self> {
        if !to.iter().all(|address| address.ip().is_loopback()) {
            return Err(io::Error::other("only members on loopback are flooded"));
        }
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let (ceases, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let flooding = (Arc::clone(&ceases), Arc::clone(&sent));
        let datagrams = datagrams(seed);
        let thread = std::thread::Builder::new().name("flood".into());
        let thread =
            thread.spawn(move || flood(&socket, &to, per_second, &datagrams, &flooding))?;
        Ok(Self { ceases, sent, began: Instant::now(), thread: Some(thread) })
    }

    /// Datagrams sent a second so far, to all.
    pub(super) fn per_second(&self) -> f64 {
        self.sent.load(Ordering::Relaxed) as f64 / self.began.elapsed().as_secs_f64()
    }
}

impl Drop for Flooding {
    fn drop(&mut self) {
        self.ceases.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A flood that has ended badly has ended.
            let _ = thread.join();
        }
    }
}

fn flood(
    socket: &UdpSocket,
    to: &[SocketAddr],
    per_second: u32,
    datagrams: &[Vec<u8>],
    (ceases, sent): &(Arc<AtomicBool>, Arc<AtomicU64>),
) {
    let began = Instant::now();
    let mut done = 0;
    let mut datagrams = datagrams.iter().cycle();
    while !ceases.load(Ordering::Relaxed) && began.elapsed() < LONGEST {
        // What a tick that came late has missed is made up for, up to some ticks.
        let due = (began.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
        let most = u64::from(per_second / 100).max(1);
        for _ in 0..(due.saturating_sub(done)).min(most) {
            for to in to {
                if let Some(datagram) = datagrams.next() {
                    // One that the system does not take is one fewer.
                    sent.fetch_add(
                        u64::from(socket.send_to(datagram, to).is_ok()),
                        Ordering::Relaxed,
                    );
                }
            }
        }
        done = due;
        std::thread::sleep(TICK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fabricated_datagrams_look_like_real_ones() {
        let datagrams = datagrams(1);
        let headers = datagrams.iter().map(|bytes| Header::parse(bytes).map(|(header, _)| header));
        let headers: Vec<Header> = headers.collect::<Result<_, _>>().expect("they parse");
        let long = headers.iter().filter(|it| matches!(it.boot, HeaderBoot::Long(_))).count();
        assert_eq!((long, headers.len()), (KINDS / 2, KINDS));
    }

    #[test]
    fn nobody_beyond_this_machine_is_flooded() {
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 9));
        assert!(Flooding::start(vec![elsewhere], 1, 1).is_err());
    }
}
