//! Sixteen members in one process, one of which publishes while the network loses a fifth of all
//! datagrams: everybody hears everything, in order.

use spinglass::{Event, Node};

const MEMBERS: usize = 16;
const MESSAGES: u32 = 1000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut nodes: Vec<Node> = Vec::new();
    for seed in 0..MEMBERS as u64 {
        let builder = Node::builder().seeds(nodes.first().map(Node::local_addr));
        nodes.push(builder.drop_probability(0.2, seed).start().await?);
    }
    for node in &nodes {
        node.wait_for_members(MEMBERS).await?;
    }
    println!("{MEMBERS} members know one another");

    let listeners: Vec<_> = nodes.iter().skip(1).map(listen).collect();
    let group = nodes[0].group("numbers");
    for number in 0..MESSAGES {
        group.publish(number.to_le_bytes().to_vec()).await?;
        // A steady stream, not one burst.
        if number % 10 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
    for (index, listener) in (1..).zip(listeners) {
        let heard = listener.await?;
        let stats = nodes[index].stats().await;
        println!(
            "member {index:2} heard {heard} of {MESSAGES} in order; {} datagrams were \
             dropped, {} packets repaired",
            stats.runtime.dropped_on_purpose, stats.protocol.repairs_received
        );
    }
    Ok(())
}

/// Counts what a member hears until the last number, checking the order.
fn listen(node: &Node) -> tokio::task::JoinHandle<u32> {
    let mut numbers = node.group("numbers").subscribe();
    tokio::spawn(async move {
        let mut heard = 0;
        while let Some(event) = numbers.next().await {
            let Event::Message(message) = event else { continue };
            let number = u32::from_le_bytes(message.payload[..].try_into().unwrap_or_default());
            assert!(number >= heard, "in order");
            heard += 1;
            if number + 1 == MESSAGES {
                break;
            }
        }
        heard
    })
}
