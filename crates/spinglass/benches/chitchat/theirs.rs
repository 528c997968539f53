//! Nodes of chitchat, with the settings that its documentation and defaults give, on its own UDP
//! sockets; what they send is counted where its transport hands it over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use async_trait::async_trait;
use chitchat::transport::{Socket, Transport, UdpTransport};
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, ChitchatMessage, FailureDetectorConfig,
    Serializable as _, spawn_chitchat,
};

use crate::{Ears, Heard, KEY, Peers, ROUND, SEEDS};

/// How long deleted keys are remembered, as in chitchat's own defaults; nothing is deleted here.
const GRACE: Duration = Duration::from_secs(2 * 3600);

pub(crate) struct Theirs {
    nodes: Vec<ChitchatHandle>,
    bytes: Arc<AtomicU64>,
}

impl Theirs {
    pub(crate) async fn start(count: usize) -> Result<Self> {
        let mut theirs = Self { nodes: Vec::new(), bytes: Arc::default() };
        let addresses = free_addresses(count)?;
        let seeds: Vec<_> = addresses.iter().take(SEEDS).map(SocketAddr::to_string).collect();
        let transport = Counted { bytes: Arc::clone(&theirs.bytes) };
        for (index, address) in addresses.into_iter().enumerate() {
            let config = ChitchatConfig {
                chitchat_id: ChitchatId::new(format!("n{index:04}"), 0, address),
                cluster_id: "bench".into(),
                gossip_interval: ROUND,
                listen_addr: address,
                seed_nodes: seeds.clone(),
                failure_detector_config: FailureDetectorConfig::default(),
                marked_for_deletion_grace_period: GRACE,
                catchup_callback: None,
                extra_liveness_predicate: None,
            };
            theirs.nodes.push(spawn_chitchat(config, Vec::new(), &transport).await?);
            tokio::time::sleep(ROUND / u32::try_from(count)?).await;
        }
        Ok(theirs)
    }
}

impl Peers for Theirs {
    async fn form(&self) -> Result<()> {
        for node in &self.nodes {
            let mut live = node.chitchat().lock().await.live_nodes_watcher();
            // The watcher tells of others, and may or may not count the node itself.
            live.wait_for(|live| live.len() + 1 >= self.nodes.len()).await?;
        }
        Ok(())
    }

    async fn listen(&self, ears: &Ears) -> Result<()> {
        for (node, handle) in self.nodes.iter().enumerate() {
            let ears = ears.clone();
            let tell = move |event: chitchat::KeyChangeEvent<'_>| {
                let Ok(value) = event.value.parse() else { return };
                // Who does not listen any more has what it wanted.
                let _ = ears.send(Heard { node, value, at: Instant::now() });
            };
            handle.chitchat().lock().await.subscribe_event(KEY, tell).forever();
        }
        Ok(())
    }

    async fn set(&self, node: usize, value: i64) -> Result<()> {
        self.nodes[node].with_chitchat(|node| node.self_node_state().set(KEY, value)).await;
        Ok(())
    }

    async fn bytes_sent(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    async fn stop(self) {
        for node in self.nodes {
            // It has nothing to say that would matter here.
            let _ = node.shutdown().await;
        }
    }
}

/// Addresses at which nobody listens: all are held at once, so that they differ.
fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let sockets = (0..count).map(|_| std::net::UdpSocket::bind(("127.0.0.1", 0)));
    let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
    Ok(sockets.iter().map(std::net::UdpSocket::local_addr).collect::<Result<_, _>>()?)
}

/// Chitchat's transport, whose datagrams' bytes are counted.
struct Counted {
    bytes: Arc<AtomicU64>,
}

struct CountedSocket {
    inner: Box<dyn Socket>,
    bytes: Arc<AtomicU64>,
}

#[async_trait]
impl Transport for Counted {
    async fn open(&self, listen_addr: SocketAddr) -> Result<Box<dyn Socket>> {
        let inner = UdpTransport.open(listen_addr).await?;
        Ok(Box::new(CountedSocket { inner, bytes: Arc::clone(&self.bytes) }))
    }
}

#[async_trait]
impl Socket for CountedSocket {
    async fn send(&mut self, to: SocketAddr, msg: ChitchatMessage) -> Result<()> {
        let bytes = msg.serialized_len();
        debug_assert_eq!(bytes, msg.serialize_to_vec().len(), "what is said is what is sent");
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.inner.send(to, msg).await
    }

    async fn recv(&mut self) -> Result<(SocketAddr, ChitchatMessage)> {
        self.inner.recv().await
    }
}
