//! A certified member that turns hostile, on the real wire: the same core as everybody's, whose
//! datagrams pass through [`Badboy`] on their way out, as in the simulator.
//!
//! It takes part honestly until the first step is ordered.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use spinglass::{Config, GroupKeys};
use spinglass_core::crypto::Salt;
use spinglass_core::table::ZonePath;
use spinglass_core::{
    Datagram, Destinations, Driver, Event, Host, Identity, Incarnation, Instant, MemberId,
    Node as Core, Now, Transmit,
};
use spinglass_crypto::{RealCrypto, random};
use spinglass_sim::badboy::{Badboy, Sent, Way};
use tokio::net::UdpSocket;

use super::protocol::{Order, Report, Setup, Tally};
use super::{Orders, tell};
use crate::papers;

/// Datagrams taken in between two looks at what is due.
const BATCH: usize = 256;
/// Between two looks, whatever the core wants: what is delayed is to leave, and attacks to begin.
const TICK: Duration = Duration::from_millis(5);
/// More than any datagram has.
const DATAGRAM_BYTES: usize = 1 << 16;

/// What the core puts out.
#[derive(Debug, Default)]
struct Outside(Vec<Sent>);

impl Host for Outside {
    fn transmit(&mut self, transmit: &Transmit, segments: &[u8]) -> ControlFlow<()> {
        self.0.push((transmit.clone(), segments.to_vec()));
        ControlFlow::Continue(())
    }

    fn deliver(&mut self, _event: Event) {}

    fn segments_max(&self) -> usize {
        1
    }
}

struct Hostile {
    driver: Driver,
    socket: UdpSocket,
    start: std::time::Instant,
    badboy: Option<Badboy>,
    /// Until the core knows so many members, it is not ready.
    awaited: Option<usize>,
}

/// Runs until the orders end.
///
/// # Errors
/// It does not start, or is ordered what only an honest member can do.
pub(super) async fn run(setup: &Setup, orders: &mut Orders) -> Result<()> {
    let folder = setup.papers.as_deref().context("a hostile member has a certificate, too")?;
    let mut hostile = Hostile::start(setup, folder).await?;
    let mut step = 0;
    let mut buffers = vec![vec![0; DATAGRAM_BYTES]; BATCH];
    loop {
        tokio::select! {
            order = orders.next() => match order? {
                Some(Order::Await { members, .. }) => hostile.awaited = Some(members),
                Some(Order::Step(begun)) => {
                    step = begun.number;
                    hostile.turn(setup, folder)?;
                }
                Some(Order::Tell) => {
                    let tally = Tally { step, ..Tally::default() };
                    tell(&Report::Tally(Box::new(tally)))?;
                }
                Some(_) => bail!("a hostile member does nothing of the sort"),
                None => return Ok(()),
            },
            ready = hostile.socket.readable() => ready?,
            () = tokio::time::sleep(TICK) => (),
        }
        hostile.take_in(&mut buffers)?;
        hostile.put_out();
        hostile.tell_ready()?;
    }
}

impl Hostile {
    async fn start(setup: &Setup, folder: &Path) -> Result<Self> {
        let socket =
            UdpSocket::bind(setup.bind.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into())).await?;
        let address = socket.local_addr()?;
        let mut config = Config::lan();
        let datagram_bytes = setup.datagram_bytes.unwrap_or(spinglass::DATAGRAM_BYTES_LOOPBACK);
        config.link.datagram_bytes = datagram_bytes;
        config.security = Some(Box::new(papers::security(folder, setup.index)?));
        let identity = Identity {
            incarnation: Incarnation(wall().as_secs()),
            salt: Salt(random()),
            address,
            region: ZonePath::root(),
            name: String::new(),
        };
        let crypto = crypto(setup, folder)?;
        let (seed, start) = (u64::from_le_bytes(random()), std::time::Instant::now());
        let core =
            Core::new(config.check()?, identity, crypto, seed, setup.seeds.clone(), now(start))?;
        tell(&Report::Bound { address, datagram_bytes })?;
        Ok(Self { driver: Driver::new(core), socket, start, badboy: None, awaited: None })
    }

    /// Turns hostile, in every way that lasts.
    fn turn(&mut self, setup: &Setup, folder: &Path) -> Result<()> {
        let node = self.driver.node();
        let others: Vec<(MemberId, SocketAddr)> =
            node.members().map(|member| (member.id, member.address)).collect();
        let salt = node.own_record().salt;
        let ways: BTreeSet<Way> = Way::LASTING.into();
        let seed = u64::from_le_bytes(random());
        self.badboy = Some(Badboy::new(salt, ways, crypto(setup, folder)?, others, seed));
        Ok(())
    }

    fn take_in(&mut self, buffers: &mut [Vec<u8>]) -> Result<()> {
        let now = now(self.start);
        let mut batch = Vec::with_capacity(buffers.len());
        for buffer in buffers.iter_mut() {
            match self.socket.try_recv_from(buffer) {
                Ok((length, from)) => {
                    batch.push(Datagram { from, bytes: buffer.split_at_mut(length).0 });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Somebody it sent to is gone.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => (),
                Err(error) => return Err(error.into()),
            }
        }
        self.driver.handle_datagrams(now, &mut batch);
        self.driver.handle_timeout(now);
        Ok(())
    }

    fn put_out(&mut self) {
        let now = now(self.start);
        let mut outside = Outside::default();
        self.driver.drain(now, &mut outside);
        let sent = match &mut self.badboy {
            Some(badboy) => badboy.rewrite(now.monotonic.as_nanos(), self.driver.node(), outside.0),
            None => outside.0,
        };
        for (transmit, bytes) in sent {
            let Destinations::Members(to) = &transmit.to else { continue };
            for datagram in bytes.chunks(transmit.segment_bytes.max(1)) {
                for address in to {
                    // A full socket loses it: a hostile member cares as little as the network.
                    let _ = self.socket.try_send_to(datagram, *address);
                }
            }
        }
    }

    fn tell_ready(&mut self) -> Result<()> {
        let known = self.driver.node().members().count();
        if self.awaited.is_some_and(|awaited| known >= awaited) {
            self.awaited = None;
            tell(&Report::Ready)?;
        }
        Ok(())
    }
}

fn crypto(setup: &Setup, folder: &Path) -> Result<Box<RealCrypto>> {
    let key = papers::signing_key(folder, setup.index)?;
    let crypto = RealCrypto::new(key, GroupKeys::from_key(setup.group_key));
    Ok(Box::new(crypto.trusting(papers::verifier(folder)?)))
}

fn now(start: std::time::Instant) -> Now {
    let wall_ms = u64::try_from(wall().as_millis()).unwrap_or(u64::MAX);
    Now { monotonic: Instant::START + start.elapsed(), wall_ms }
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
