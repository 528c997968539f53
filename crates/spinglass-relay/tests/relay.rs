//! A relay and those who use it, or try to, on real sockets.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use spinglass_core::crypto::Epoch;
use spinglass_crypto::{GroupKeys, SigningKey};
use spinglass_relay::message::{FromRelay, Proof, outgoing};
use spinglass_relay::{
    ClientTls, Connection, Counters, Credentials, Door, Doorkeeper, Guard, Incoming, Limits,
    Refusal, Relay, RelayError, ServerTls, Settings, Tunnel, Watch, Way, connect,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

/// A test that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: it should not take this long"),
    }
}

/// With the certificate in this folder, for members of this group.
fn door(folder: &Path, group: u8) -> Door {
    let tls = ServerTls::load(&folder.join("tls.crt"), &folder.join("tls.key"));
    let guard = Guard::Keys(GroupKeys::from_key([group; 32]).relay_keys());
    Door { tls: tls.expect("its own files"), guard }
}

/// A relay for a group, on loopback; stopped with it.
struct Running {
    folder: PathBuf,
    address: SocketAddr,
    watch: Watch,
    keeper: Doorkeeper,
    _task: JoinSet<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Running {
    async fn start(name: &str, limits: Limits) -> Self {
        let name = format!("spinglass-a-relay-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let names = ["127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(names).expect("a certificate");
        let (crt, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        fs::write(&crt, cert.pem()).expect("a file");
        fs::write(&key, signing_key.serialize_pem()).expect("a file");
        let settings = Settings {
            listen: "127.0.0.1:0".parse().expect("an address"),
            public: None,
            ports: None,
            door: door(&folder, 1),
            limits,
        };
        let (relay, keeper) = Relay::bind(settings).await.expect("it listens");
        let (address, watch) = (relay.local_addr(), relay.watch());
        let mut task = JoinSet::new();
        task.spawn(async { relay.run().await.expect("it runs") });
        Self { folder, address, watch, keeper, _task: task }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.join("tls.crt")
    }

    /// The way of a member with this key, of a group with that one.
    fn way(&self, member: u8, group: u8) -> Way {
        let keys = GroupKeys::from_key([group; 32]).relay_keys();
        let key = SigningKey::from_seed([member; 32]);
        let credentials = Credentials { key, relay_keys: Some((Epoch(0), keys)), chain: None };
        let url = format!("wss://{}", self.address).parse().expect("a URL");
        let tls = ClientTls::load(&[self.certificate()]).expect("its certificate");
        Way { url, tls, proxy: None, credentials }
    }

    async fn member(&self, member: u8) -> Connection {
        connect(&self.way(member, 1), 0).await.expect("it is let in")
    }

    /// A TLS connection that has said nothing yet.
    async fn tls(&self) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let pem = fs::read(self.certificate()).expect("a file");
        roots.add(CertificateDer::from_pem_slice(&pem).expect("PEM")).expect("a certificate");
        let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS")
    }

    /// A WebSocket whose challenge is still to be read.
    async fn web_socket(&self) -> WebSocketStream<TlsStream<TcpStream>> {
        let mut request = format!("wss://{}/", self.address).into_client_request().expect("one");
        let subprotocol = "spinglass-relay-1".parse().expect("a value");
        request.headers_mut().insert("sec-websocket-protocol", subprotocol);
        client_async(request, self.tls().await).await.expect("a WebSocket").0
    }

    async fn until(&self, what: &str, fits: impl Fn(&Counters) -> bool) {
        let until = async {
            while !fits(&self.watch.counters()) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        patiently(what, until).await;
    }
}

/// Something with the form of a sealed datagram, with a number in it.
fn datagram(number: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xab; length];
    bytes[0] = 1;
    bytes[length - 4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// A tunnel, and what keeps it up.
fn tunnel(way: Way, first: Connection) -> (Tunnel, JoinSet<()>) {
    let (tunnel, mut task) = (Tunnel::default(), JoinSet::new());
    task.spawn(tunnel.clone().run(way, Some(first)));
    (tunnel, task)
}

async fn receive(tunnel: &Tunnel) -> Incoming {
    loop {
        if let Some(run) = tunnel.receive() {
            return run;
        }
        std::future::poll_fn(|cx| tunnel.poll_readable(cx)).await;
        tunnel.take_change();
    }
}

#[tokio::test]
async fn whoever_proves_nothing_gets_nothing() {
    let relay = Running::start("nothing", Limits::default()).await;
    let error = connect(&relay.way(1, 2), 0).await.expect_err("of another group");
    assert!(matches!(&error, RelayError::Refused { refusal: Refusal::Unproven, .. }), "{error}");
    // A proof that was good on another connection, and one that is none.
    let mut first = relay.web_socket().await;
    let challenge = first.next().await.expect("a challenge").expect("it is there");
    assert!(matches!(FromRelay::parse(&challenge.into_data()), Ok(FromRelay::Challenge { .. })));
    let way = relay.way(1, 1);
    let stolen = Proof {
        port: 0,
        public_key: way.credentials.key.public_key(),
        signature: way.credentials.key.sign(b"another connection's"),
        mac: Some((Epoch(0), [0; 32])),
        chain: None,
    };
    for proof in [stolen.encode(), outgoing(&[relay.address], 40, &datagram(1, 40))] {
        let mut socket = relay.web_socket().await;
        socket.next().await.expect("a challenge").expect("it is there");
        socket.send(Message::Binary(proof)).await.expect("it is there");
        let said = socket.next().await.expect("a refusal").expect("it is there").into_data();
        assert!(matches!(FromRelay::parse(&said), Ok(FromRelay::Refusal(_))), "{said:?}");
        assert!(said.len() <= 2, "nothing of size");
        let rest = socket.next().await;
        assert!(matches!(rest, None | Some(Ok(Message::Close(_)) | Err(_))), "{rest:?}");
    }
    // Something else than a relay's WebSocket.
    let mut other = relay.tls().await;
    other.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it is there");
    let mut answer = Vec::new();
    let _ = patiently("to be shut out", other.read_to_end(&mut answer)).await;
    assert!(answer.len() < 200, "{}", String::from_utf8_lossy(&answer));
    let mut plain = TcpStream::connect(relay.address).await.expect("it listens");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it is there");
    answer.clear();
    let _ = patiently("to be shut out", plain.read_to_end(&mut answer)).await;
    assert!(answer.len() < 50, "{answer:?}");
    relay.until("counts", |counters| counters.refused == 3 && counters.failed == 2).await;
    let counters = relay.watch.counters();
    assert_eq!((counters.admitted, counters.datagrams_out), (0, 0), "{counters:?}");
}

#[tokio::test]
async fn strangers_take_so_many_places_and_no_more() {
    let relay = Running::start("strangers", Limits::default()).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(relay.address).await.expect("it listens"));
    }
    relay.until("to turn some away", |counters| counters.turned_away == 4).await;
    drop(silent);
    relay.until("to forget them", |counters| counters.failed == 16).await;
    relay.member(1).await;
}

#[tokio::test]
async fn datagrams_go_both_ways_and_only_where_and_as_they_may() {
    let relay = Running::start("both-ways", Limits::default()).await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let to = peer.local_addr().expect("bound");
    let first = relay.member(1).await;
    let address = first.address();
    let (tunnel, _task) = tunnel(relay.way(1, 1), first);
    while tunnel.address().is_none() {
        std::future::poll_fn(|cx| tunnel.poll_readable(cx)).await;
        tunnel.take_change();
    }
    let mut run = datagram(1, 100);
    run.extend(datagram(2, 100));
    run.extend(datagram(3, 60));
    let many: SocketAddr = "239.1.1.1:7".parse().expect("an address");
    assert!(tunnel.send(&[to, many, to], 100, &run).is_continue());
    let mut buffer = [0; 2000];
    for number in [1, 2, 3, 1, 2, 3] {
        let got = patiently("a datagram", peer.recv_from(&mut buffer)).await.expect("one");
        assert_eq!(got.1, address, "from the member's port");
        assert_eq!(buffer[got.0 - 4..got.0], u32::to_be_bytes(number));
    }
    // What does not look like a sealed datagram is for nobody.
    assert!(tunnel.send(&[to], 40, &[0x16; 40]).is_continue());
    peer.send_to(&[0x16; 40], address).await.expect("sent");
    peer.send_to(&datagram(9, 20), address).await.expect("sent");
    for number in [4, 5, 6] {
        peer.send_to(&datagram(number, 500), address).await.expect("sent");
    }
    let mut got = Vec::new();
    while got.len() < 1500 {
        let run = patiently("a run", receive(&tunnel)).await;
        assert_eq!((run.from, run.segment_bytes), (to, 500));
        got.extend_from_slice(&run.bytes);
    }
    let numbers: Vec<_> = got.chunks(500).map(|datagram| datagram[499]).collect();
    assert_eq!(numbers, [4, 5, 6]);
    relay.until("counts", |it| it.foreign == 3 && it.barred == 3 && it.datagrams_in == 3).await;
}

#[tokio::test]
async fn a_newer_connection_of_a_member_takes_its_port_over() {
    let relay = Running::start("takes-over", Limits { members_max: 2, ..Limits::default() }).await;
    let (first, second) = (relay.member(1).await, relay.member(2).await);
    let again = relay.member(1).await;
    assert_eq!(first.address(), again.address());
    relay.until("to end the older one", |counters| counters.ended == 1).await;
    let error = connect(&relay.way(3, 1), 0).await.expect_err("there is no room");
    assert!(matches!(&error, RelayError::Refused { refusal: Refusal::Full, .. }), "{error}");
    drop((first, second));
    relay.until("to notice", |counters| counters.ended == 2).await;
    relay.member(3).await;
}

#[tokio::test]
async fn a_door_that_changes_puts_out_only_who_would_not_be_let_in() {
    let relay = Running::start("door", Limits::default()).await;
    let first = relay.member(1).await;
    let address = first.address();
    let (first, _first) = tunnel(relay.way(1, 1), first);
    // The same key, and a certificate that was written anew.
    relay.keeper.change(door(&relay.folder, 1));
    let second = relay.member(2).await;
    assert_eq!((first.address(), relay.watch.counters().ended), (Some(address), 0));
    drop(second);
    relay.until("to notice", |counters| counters.ended == 1).await;
    relay.keeper.change(door(&relay.folder, 2));
    relay.until("to put it out", |counters| counters.ended == 2 && counters.refused > 0).await;
    assert_eq!(first.address(), None);
    connect(&relay.way(3, 2), 0).await.expect("of the other group");
    // It comes back by itself.
    relay.keeper.change(door(&relay.folder, 1));
    relay.until("to let it in again", |counters| counters.admitted == 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_and_who_sends_too_much_hurt_nobody_else() {
    let limits = Limits::default();
    let (relay, start) = (Running::start("slow", limits).await, Instant::now());
    // It is let in and never reads, and others send it more than all buffers hold.
    let stalled = relay.member(1).await;
    let flood = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let (target, mut flooding) = (stalled.address(), JoinSet::new());
    let (count, length) = (40_000, 1400);
    flooding.spawn(async move {
        for number in 0..count {
            let _ = flood.send_to(&datagram(number, length), target).await;
            if number % 50 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
    });
    // Another one sends as much as it can.
    let greedy = relay.member(2).await;
    let (greedy, mut sending) = tunnel(relay.way(2, 1), greedy);
    let nowhere = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let nowhere = nowhere.local_addr().expect("bound");
    sending.spawn(async move {
        let run = datagram(0, 1400).repeat(40);
        loop {
            if greedy.send(&[nowhere], 1400, &run).is_break() {
                std::future::poll_fn(|cx| greedy.poll_room(cx)).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    });
    let third = relay.member(3).await;
    let address = third.address();
    let (third, _third) = tunnel(relay.way(3, 1), third);
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let (to, mut buffer) = (peer.local_addr().expect("bound"), [0; 2000]);
    let served = async {
        let mut echoed = 0;
        while echoed < 200 || !flooding.is_empty() {
            let _ = third.send(&[to], 100, &datagram(echoed, 100));
            // There may be no connection yet.
            let got = timeout(Duration::from_millis(200), peer.recv_from(&mut buffer)).await;
            let Ok(Ok((length, _))) = got else { continue };
            peer.send_to(&buffer[..length], address).await.expect("sent");
            receive(&third).await;
            echoed += 1;
            flooding.try_join_next();
        }
    };
    patiently("to be served beside them", served).await;
    let counters = relay.watch.counters();
    let flooded = u64::from(count) * length as u64;
    assert!(counters.bytes_in < flooded, "the rest was dropped: {counters:?}");
    let seconds = start.elapsed().as_secs() + 2;
    let most = limits.bytes_per_second * seconds;
    assert!(counters.bytes_out < most, "the greedy one was held back: {counters:?}");
    assert_eq!(counters.ended, 0, "{counters:?}");
    drop((stalled, sending));
}

#[tokio::test]
async fn a_proxy_on_the_way_is_asked() {
    let relay = Running::start("proxy", Limits::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let proxy = listener.local_addr().expect("bound");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        for answer in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n\r\n"] {
            let (mut stream, _) = listener.accept().await.expect("a member");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.expect("a request"));
            }
            let request = String::from_utf8(request).expect("text");
            let to = request.strip_prefix("CONNECT ").expect("CONNECT");
            let to = to.split(' ').next().expect("an address");
            stream.write_all(answer.as_bytes()).await.expect("it is there");
            if answer.contains("200") {
                let mut onward = TcpStream::connect(to).await.expect("it listens");
                tokio::spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
                });
            }
        }
    });
    let mut way = relay.way(1, 1);
    way.proxy = Some(format!("http://{proxy}").parse().expect("a proxy"));
    patiently("to connect", connect(&way, 0)).await.expect("by the proxy");
    let error = patiently("to hear", connect(&way, 0)).await.expect_err("it forbids it");
    assert!(error.to_string().contains("403"), "{error}");
    assert!("https://proxy/path".parse::<spinglass_relay::Proxy>().is_err());
}
