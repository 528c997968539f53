//! A message of 16 MiB, the largest there is: cut into packets, each repaired alone if need be, and
//! put together again.

use std::time::Instant;

use bytes::Bytes;
use spinglass::{Event, MESSAGE_BYTES_MAX, Node};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sender = Node::builder().start().await?;
    let receiver = Node::builder().seeds([sender.local_addr()]).start().await?;
    let mut blobs = receiver.group("blobs").subscribe();
    sender.wait_for_members(2).await?;
    receiver.wait_for_members(2).await?;

    let blob: Bytes = (0..MESSAGE_BYTES_MAX).map(|at| ((at * at) >> 7) as u8).collect();
    let begun = Instant::now();
    sender.group("blobs").publish(blob.clone()).await?;
    while let Some(event) = blobs.next().await {
        if let Event::Message(message) = event {
            let packets = message.last.0 - message.first.0 + 1;
            let (bytes, same) = (message.payload.len(), message.payload == blob);
            println!(
                "{bytes} bytes in {packets} packets after {:?}; same: {same}",
                begun.elapsed()
            );
            break;
        }
    }
    sender.close().await?;
    Ok(())
}
