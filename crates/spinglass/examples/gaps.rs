//! A slow subscriber: it slows nobody, and is told what it missed, in its place.

use spinglass::{Event, Node};

const MESSAGES: u32 = 100_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sender = Node::builder().start().await?;
    // Room for a hundred events only; the default is a thousand times that.
    let receiver = Node::builder().seeds([sender.local_addr()]).subscription_limits(100, 1 << 20);
    let receiver = receiver.start().await?;
    let mut ticks = receiver.group("ticks").subscribe();
    sender.wait_for_members(2).await?;
    receiver.wait_for_members(2).await?;

    // Nobody reads while all of this is sent: the sender does not notice.
    let group = sender.group("ticks");
    for tick in 0..MESSAGES {
        group.publish(tick.to_string()).await?;
    }
    group.flush().await?;

    let (mut heard, mut missed) = (0, 0);
    while heard + missed < u64::from(MESSAGES) {
        match ticks.next().await {
            Some(Event::Message(_)) => heard += 1,
            Some(Event::Lagged(lagged)) => {
                println!(
                    "after {heard}: missed {} messages, {} bytes",
                    lagged.messages, lagged.bytes
                );
                missed += lagged.messages;
            }
            // What the network itself loses, and no member has any more, is told like this.
            Some(Event::Gap(gap)) => println!("after {heard}: {} packets lost", gap.packets),
            // Who comes and goes, and who is found to lie.
            Some(_) => (),
            None => break,
        }
    }
    println!("heard {heard}, was told that it missed {missed}, of {MESSAGES}");
    Ok(())
}
