//! How the members of a herd reach one another on loopback, and whether IP multicast works there.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use socket2::{Domain, Protocol, Socket, Type};

use crate::member::protocol::Setup;

/// How packets are spread before repair begins, as options name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// IP multicast if it works here, else trees
    Auto,
    /// IP multicast, or fail
    Multicast,
    /// Unicast trees
    Trees,
}

/// How packets are spread, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spread {
    multicast: Option<SocketAddr>,
}

/// The last byte of the group's address is drawn, so that herds side by side keep apart;
/// 239.192.0.0/14 is for an organisation's own use (RFC 2365).
const GROUP_NETWORK: [u8; 3] = [239, 192, 77];
/// How long the probe's own datagram may take.
const PROBE_TIME: Duration = Duration::from_millis(300);

impl Spread {
    /// Decides, by trying.
    ///
    /// # Errors
    /// IP multicast was asked for and does not work.
    pub(crate) fn choose(mode: Mode) -> Result<Self> {
        let probed = || probe().context("IP multicast does not work on loopback here");
        match mode {
            Mode::Trees => Ok(Self { multicast: None }),
            Mode::Multicast => Ok(Self { multicast: Some(probed()?) }),
            Mode::Auto => Ok(Self { multicast: probed().ok() }),
        }
    }

    /// What to call it.
    pub(crate) const fn name(&self) -> &'static str {
        if self.multicast.is_some() { "IP multicast" } else { "unicast trees" }
    }

    /// The group's address, if there is one.
    pub(crate) const fn multicast(&self) -> Option<SocketAddr> {
        self.multicast
    }

    /// A setup of a herd whose packets go this way, with a key of its own.
    pub(crate) fn setup(&self, datagram_bytes: Option<usize>) -> Setup {
        Setup {
            group_key: spinglass_crypto::random(),
            datagram_bytes,
            multicast: self.multicast,
            ..Setup::default()
        }
    }
}

/// Sends a datagram to a group on loopback and waits for it; returns the group's address.
fn probe() -> io::Result<SocketAddr> {
    let [a, b, c] = GROUP_NETWORK;
    let [d] = spinglass_crypto::random::<1>();
    let group = Ipv4Addr::new(a, b, c, d);
    let receiver = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    receiver.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    receiver.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
    receiver.set_read_timeout(Some(PROBE_TIME))?;
    let receiver = std::net::UdpSocket::from(receiver);
    let address = SocketAddr::V4(SocketAddrV4::new(group, receiver.local_addr()?.port()));
    let sender = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
    sender.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    sender.send_to(b"spinglass", &address.into())?;
    let mut buffer = [0; 16];
    receiver.recv_from(&mut buffer)?;
    Ok(address)
}
