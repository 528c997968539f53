//! A relay that keeps to no rules: it lets everybody in, and bends, repeats and makes up what it
//! carries.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use spinglass_relay::message::{self, FromRelay, Outgoing, VERSION};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::papers::Tls;

/// Datagrams that are remembered, to be sent again much later.
const KEPT: usize = 512;

/// It serves one member, and is stopped with it.
pub(crate) struct Evil {
    pub(crate) url: String,
    _task: JoinSet<()>,
}

impl Evil {
    pub(crate) async fn start(tls: &Tls) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
        let url = format!("wss://{}", listener.local_addr().expect("it is bound"));
        let pem = fs::read(tls.certificate()).expect("a file");
        let certificate = CertificateDer::from_pem_slice(&pem).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(tls.key()).expect("a key");
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they fit");
        let mut task = JoinSet::new();
        task.spawn(serve(listener, TlsAcceptor::from(Arc::new(config))));
        Self { url, _task: task }
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    let (stream, _) = listener.accept().await.expect("a member");
    let stream = acceptor.accept(stream).await.expect("TLS");
    #[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
    let choose = |_: &Request, mut response: Response| {
        let subprotocol = HeaderValue::from_static("spinglass-relay-1");
        response.headers_mut().insert("sec-websocket-protocol", subprotocol);
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, choose).await.expect("a WebSocket");
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = udp.local_addr().expect("it is bound");
    let challenge = FromRelay::Challenge { version: VERSION, nonce: [0; 32] };
    socket.send(Message::Binary(challenge.encode())).await.expect("it is there");
    let _proof = socket.next().await.expect("it answers").expect("a proof");
    let welcome = FromRelay::Welcome(address).encode();
    socket.send(Message::Binary(welcome)).await.expect("it is there");
    let mut buffer = vec![0; 65_536];
    let (mut kept_out, mut kept_in) = (Vec::new(), Vec::new());
    let mut count = 0;
    loop {
        tokio::select! {
            said = socket.next() => {
                let Some(Ok(said)) = said else { return };
                let Message::Binary(said) = said else { continue };
                let run = Outgoing::parse(&said).expect("a run");
                for datagram in run.datagrams() {
                    for (to, bytes) in mischief(datagram, &run.to, &mut kept_out, &mut count) {
                        let _ = udp.send_to(&bytes, to).await;
                    }
                }
            }
            received = udp.recv_from(&mut buffer) => {
                let Ok((length, from)) = received else { continue };
                let bent = mischief(&buffer[..length], &[from], &mut kept_in, &mut count);
                for (from, bytes) in bent {
                    let mut run = message::incoming(from, bytes.len());
                    run.extend_from_slice(&bytes);
                    if socket.send(Message::Binary(run.into())).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

type Sent = (SocketAddr, Vec<u8>);

/// What is made of one datagram: it is bent, sent, sent again; what was sent long ago is sent once
/// more; and something is made up.
fn mischief(
    datagram: &[u8],
    addresses: &[SocketAddr],
    kept: &mut Vec<Sent>,
    count: &mut usize,
) -> Vec<Sent> {
    let mut made = Vec::new();
    for address in addresses {
        *count += 1;
        let mut bent = datagram.to_vec();
        let bit = *count * 7919 % (bent.len() * 8);
        bent[bit / 8] ^= 1 << (bit % 8);
        let mut cut = datagram.to_vec();
        cut.truncate(datagram.len() - 1);
        let mut invented = vec![0x5a; 100];
        invented[0] = 1;
        made.extend([(*address, bent), (*address, datagram.to_vec())]);
        made.extend([(*address, datagram.to_vec()), (*address, cut), (*address, invented)]);
        if kept.len() < KEPT {
            kept.push((*address, datagram.to_vec()));
        } else {
            made.push(kept[*count % KEPT].clone());
        }
    }
    made
}
