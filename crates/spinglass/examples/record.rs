//! A member that records what it does; `spinglass replay FILE` runs the recording through the same
//! code and compares every output.

use spinglass::{Event, Node};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join("spinglass-example.recording");
    let recorded = Node::builder().record(&path).start().await?;
    let other = Node::builder().seeds([recorded.local_addr()]).start().await?;
    let mut news = recorded.group("news").subscribe();
    recorded.wait_for_members(2).await?;
    other.wait_for_members(2).await?;

    other.group("news").publish("this will be in the recording").await?;
    while let Some(event) = news.next().await {
        if matches!(event, Event::Message(_)) {
            break;
        }
    }
    // Closing also writes what is still in memory.
    recorded.close().await?;
    let bytes = std::fs::metadata(&path)?.len();
    println!("{bytes} bytes in {}: try `spinglass replay` on it", path.display());
    Ok(())
}
