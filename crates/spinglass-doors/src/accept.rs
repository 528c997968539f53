//! How a door lets clients in: so many at once, further ones wait, and all go when the door does.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long to wait when no connection can be accepted: for want of files, say.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Has `converse` speak with each client, until the task ends, and they with it.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    connections_max: usize,
    converse: impl Fn(TcpStream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let conversation = converse(stream);
        connections.spawn(async move {
            conversation.await;
            drop(permit);
        });
    }
}
