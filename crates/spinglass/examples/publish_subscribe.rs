//! Two members: one publishes, the other hears it.

use spinglass::{Event, Node};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let alice = Node::builder().start().await?;
    let bob = Node::builder().seeds([alice.local_addr()]).start().await?;
    let mut news = bob.group("news").subscribe();
    alice.wait_for_members(2).await?;
    bob.wait_for_members(2).await?;

    for number in 1..=5 {
        alice.group("news").publish(format!("message {number}")).await?;
    }
    // Sends what waits, and says good-bye: bob hears of it.
    alice.close().await?;

    while let Some(event) = news.next().await {
        match event {
            Event::Message(message) => {
                println!(
                    "{}: {}",
                    message.stream.sender,
                    String::from_utf8_lossy(&message.payload)
                );
            }
            Event::MemberDown { id, reason, .. } => {
                println!("{id} is gone: {reason:?}");
                break;
            }
            event => println!("{event:?}"),
        }
    }
    Ok(())
}
