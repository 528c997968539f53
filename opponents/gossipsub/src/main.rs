//! A member of a group that speaks libp2p's gossipsub, under the orders of `spinglass lab real`:
//! JSON lines on standard input and output, as docs/opponents.md says.
//!
//! As its authors advise: signed messages, a mesh of 6 to 12, a heartbeat each second, TCP with
//! Noise and Yamux. All members are connected, so that meshes are chosen among all.

mod count;

use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use count::Counting;
use futures::StreamExt as _;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, SwarmBuilder, gossipsub, noise, tcp, yamux};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Bytes before a message's own content: its step, its number, when it was sent.
const HEADER_BYTES: usize = 20;
/// The largest message.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Orders that may wait.
const ORDERS_MAX: usize = 1024;
/// How often it is looked whether all are there.
const LOOK: Duration = Duration::from_millis(100);

/// The first line on standard input: what of it a gossipsub member needs.
#[derive(Debug, Deserialize)]
struct Setup {
    bind: Option<SocketAddr>,
}

#[derive(Debug, Deserialize)]
enum Order {
    Await {
        members: usize,
        #[serde(default)]
        peers: Vec<SocketAddr>,
    },
    Step(count::Step),
    Emit {
        count: u64,
        bytes: usize,
        rate: f64,
    },
    Tell,
}

#[derive(Debug, Serialize)]
enum Report<'a> {
    Bound { address: SocketAddr, datagram_bytes: usize },
    Ready,
    Published { count: u64, seconds: f64 },
    Tally(&'a count::Tally),
    Trouble(String),
}

fn tell(report: &Report<'_>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, report)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Messages that are being published.
#[derive(Debug)]
struct Emission {
    next: u64,
    count: u64,
    content: Vec<u8>,
    interval: Duration,
    began: Instant,
}

struct Member {
    swarm: Swarm<gossipsub::Behaviour>,
    topic: gossipsub::IdentTopic,
    counting: Counting,
    awaited: Option<usize>,
    emission: Option<Emission>,
}

fn swarm() -> Result<Swarm<gossipsub::Behaviour>, Failure> {
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| -> Result<gossipsub::Behaviour, Failure> {
            let config = gossipsub::ConfigBuilder::default()
                .max_transmit_size(MESSAGE_BYTES_MAX)
                .validation_mode(gossipsub::ValidationMode::Strict)
                .build()?;
            let signed = gossipsub::MessageAuthenticity::Signed(key.clone());
            Ok(gossipsub::Behaviour::new(signed, config)?)
        })?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        .build();
    Ok(swarm)
}

fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

fn socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let Protocol::Tcp(port) = parts.next()? else { return None };
    Some(SocketAddr::new(ip, port))
}

impl Member {
    fn obey(&mut self, order: Order) -> Result<(), Failure> {
        match order {
            Order::Await { members, peers } => {
                let own: Vec<SocketAddr> =
                    self.swarm.listeners().filter_map(socket_address).collect();
                // Of each two, the one with the lower address calls the other.
                let others = peers.iter().filter(|peer| own.iter().all(|own| own < *peer));
                for peer in others {
                    self.swarm.dial(multiaddr(*peer))?;
                }
                self.awaited = Some(members);
            }
            Order::Step(step) => self.counting = Counting::new(step),
            Order::Emit { count, bytes, rate } => {
                let content = vec![0x5a; bytes.max(HEADER_BYTES)];
                let interval = Duration::from_secs_f64(1.0 / rate.max(0.001));
                let began = Instant::now();
                self.emission = Some(Emission { next: 0, count, content, interval, began });
            }
            Order::Tell => tell(&Report::Tally(&self.counting.tally()))?,
        }
        Ok(())
    }

    /// Whether everybody is connected and has said that it wants the topic.
    fn look(&mut self) -> Result<(), Failure> {
        let topic = self.topic.hash();
        let subscribed = self.swarm.behaviour().all_peers().filter(|(_, it)| it.contains(&&topic));
        if self.awaited.is_some_and(|members| subscribed.count() + 1 >= members) {
            self.awaited = None;
            tell(&Report::Ready)?;
        }
        Ok(())
    }

    /// When the next message is due.
    fn due(&self) -> Option<Instant> {
        let emission = self.emission.as_ref()?;
        Some(emission.began + emission.interval.mul_f64(emission.next as f64))
    }

    fn publish(&mut self) -> Result<(), Failure> {
        let Some(emission) = &mut self.emission else { return Ok(()) };
        let header = [
            &self.counting.step().number.to_le_bytes()[..],
            &emission.next.to_le_bytes(),
            &count::monotonic_ns().to_le_bytes(),
        ]
        .concat();
        emission.content[..HEADER_BYTES].copy_from_slice(&header);
        // Queues to peers that are full refuse a message: it is lost, as gossipsub has it.
        let _ = self.swarm.behaviour_mut().publish(self.topic.clone(), emission.content.clone());
        emission.next += 1;
        if emission.next == emission.count {
            let seconds = emission.began.elapsed().as_secs_f64();
            tell(&Report::Published { count: emission.count, seconds })?;
            self.emission = None;
        }
        Ok(())
    }

    fn hear(&mut self, event: SwarmEvent<gossipsub::Event>) -> Result<(), Failure> {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                if let Some(address) = socket_address(&address) {
                    tell(&Report::Bound { address, datagram_bytes: MESSAGE_BYTES_MAX })?;
                }
            }
            SwarmEvent::Behaviour(gossipsub::Event::Message { message, .. }) => {
                self.counting.on_message(&message.data);
            }
            _ => (),
        }
        Ok(())
    }
}

async fn run(mut orders: mpsc::Receiver<String>) -> Result<(), Failure> {
    let setup = orders.recv().await.ok_or("no setup on standard input")?;
    let setup: Setup = serde_json::from_str(&setup)?;
    let bind = setup.bind.unwrap_or(([127, 0, 0, 1], 0).into());
    let topic = gossipsub::IdentTopic::new("measured");
    let mut swarm = swarm()?;
    swarm.behaviour_mut().subscribe(&topic)?;
    swarm.listen_on(multiaddr(bind))?;
    let counting = Counting::new(count::Step::default());
    let mut member = Member { swarm, topic, counting, awaited: None, emission: None };
    let mut look = tokio::time::interval(LOOK);
    loop {
        let due = member.due();
        tokio::select! {
            line = orders.recv() => match line {
                Some(line) => member.obey(serde_json::from_str(&line)?)?,
                None => return Ok(()),
            },
            event = member.swarm.select_next_some() => member.hear(event)?,
            _ = look.tick(), if member.awaited.is_some() => member.look()?,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                member.publish()?;
            }
        }
    }
}

/// Standard input, by a thread of its own: reading it can't be cancelled.
fn lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(ORDERS_MAX);
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    // It must not outlive whoever started it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let outcome = run(lines()).await;
    if let Err(error) = &outcome {
        tell(&Report::Trouble(error.to_string()))?;
    }
    outcome
}
