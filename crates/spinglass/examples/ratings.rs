//! Members that take shares of a topic: a tenth is every tenth reading of each sensor, and what one
//! takes that takes a tenth is a part of what one takes that takes half.

use std::time::Duration;

use spinglass::{Event, Node, Rating, Subscription};

const READINGS: u32 = 40;
/// Between two readings: each then leaves in a packet of its own, which is taken or not.
const EVERY: Duration = Duration::from_millis(25);
/// Longer than a reading takes to arrive.
const QUIET: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sensor = Node::builder().start().await?;
    let mut subscribers = Vec::new();
    for share in [1.0, 0.5, 0.1] {
        let node = Node::builder().seeds([sensor.local_addr()]).start().await?;
        let frequency = node.group("frequency");
        frequency.set_rating(Rating::new(share)?);
        let readings = frequency.subscribe();
        node.wait_for_members(2).await?;
        subscribers.push((share, node, readings));
    }
    sensor.wait_for_members(subscribers.len() + 1).await?;

    let frequency = sensor.group("frequency");
    for reading in 1..=READINGS {
        frequency.publish(reading.to_string()).await?;
        tokio::time::sleep(EVERY).await;
    }
    for (share, _node, readings) in &mut subscribers {
        println!("{share}: {}", heard(readings).await.join(" "));
    }
    Ok(())
}

/// What has come; what was not taken is no gap.
async fn heard(readings: &mut Subscription) -> Vec<String> {
    let mut heard = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(QUIET, readings.next()).await {
        match event {
            Event::Message(message) => heard.push(String::from_utf8_lossy(&message.payload).into()),
            Event::Gap(gap) => println!("{} packets lost", gap.packets),
            _ => (),
        }
    }
    heard
}
