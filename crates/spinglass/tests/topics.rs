//! Topics on real sockets: patterns, last messages, latest values, and what is for all.

mod common;

use std::time::Duration;

use spinglass::{Draft, Event, Filter, Keep, PublishError, Rating, Start, Subscription, Wanted};

use self::common::{members, next_message, patiently, subscribe_to};

/// Who takes a fifth hears every fifth message, and of those none is lost; another one takes all.
#[tokio::test]
async fn a_share_is_taken() {
    let nodes = members(3, |_, builder| builder).await;
    let [sender, fifth, all] = &nodes[..] else { panic!("three") };
    fifth.group("news").set_rating(Rating::new(0.2).expect("a share"));
    let (mut some, mut every) =
        (subscribe_to(fifth, "news").await, subscribe_to(all, "news").await);
    let (news, count) = (sender.group("news"), 100_u8);
    for number in 0..count {
        // So each has a packet of its own.
        news.publish(vec![number]).await.expect("it runs");
        news.flush().await.expect("it runs");
    }
    for number in 0..count {
        assert_eq!(*next_message(&mut every).await, [number]);
    }
    let mut got = Vec::new();
    for _ in 0..count / 5 {
        got.extend(next_message(&mut some).await);
    }
    assert!(got.windows(2).all(|pair| pair[1] - pair[0] == 5), "{got:?}");
    // Whoever takes all from now on hears the next one.
    fifth.group("news").set_rating(Rating::ALL);
    fifth.stats().await;
    news.publish(vec![count]).await.expect("it runs");
    let last = got.last().copied().expect("some");
    let mut next = next_message(&mut some).await;
    // Others may have told it of what it passed over since its last one: it has that from now on.
    while next[0] < count {
        assert!(next[0] > last, "{next:?} after {last}");
        next = next_message(&mut some).await;
    }
    assert_eq!(*next, [count]);
}

/// Whoever reads a topic no more is sent no more of it, and gets it again once it reads again.
#[tokio::test]
async fn what_nobody_reads_any_more_does_not_come() {
    let nodes = members(3, |_, builder| builder).await;
    let [sender, reader, all] = &nodes[..] else { panic!("three") };
    let (mut some, mut every) =
        (subscribe_to(reader, "news").await, subscribe_to(all, "news").await);
    let news = sender.group("news");
    news.publish(vec![0]).await.expect("it runs");
    assert_eq!(*next_message(&mut some).await, [0]);
    assert_eq!(*next_message(&mut every).await, [0]);
    drop(some);
    // The next message tells the reader's node that nobody reads it; then it tells the others.
    let mut sent = 0_u8;
    let received = loop {
        sent += 1;
        assert!(sent < 200, "it still comes");
        let before = reader.stats().await.protocol.packets_received;
        news.publish(vec![sent]).await.expect("it runs");
        assert_eq!(*next_message(&mut every).await, [sent]);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let after = reader.stats().await.protocol.packets_received;
        if after == before {
            break after;
        }
    };
    for _ in 0..20 {
        sent += 1;
        news.publish(vec![sent]).await.expect("it runs");
        assert_eq!(*next_message(&mut every).await, [sent]);
    }
    assert_eq!(reader.stats().await.protocol.packets_received, received);
    let mut again = subscribe_to(reader, "news").await;
    let last = loop {
        sent += 1;
        assert!(sent < 250, "it does not come again");
        news.publish(vec![sent]).await.expect("it runs");
        let next = tokio::time::timeout(Duration::from_millis(200), next_message(&mut again));
        if let Ok(message) = next.await {
            break message;
        }
    };
    assert!(last[0] <= sent);
}

/// Of a thousand readings it takes hardly one; of what is for all, all.
#[tokio::test]
async fn what_is_for_all_comes_whatever_ones_rating() {
    let nodes = members(2, |_, builder| builder).await;
    let [sender, reader] = &nodes[..] else { panic!("two") };
    reader.group("readings").set_rating(Rating::new(0.001).expect("a share"));
    let mut heard = subscribe_to(reader, "readings").await;
    let readings = sender.group("readings");
    let alarms = readings.for_all();
    assert_eq!(alarms.name(), readings.name());
    for number in 0..100_u8 {
        readings.publish("as ever").await.expect("it runs");
        alarms.publish(vec![number]).await.expect("it runs");
    }
    let mut got = Vec::new();
    while got.len() < 100 {
        let Some(Event::Message(message)) = patiently(heard.next()).await else { continue };
        if message.stream.topic.is_for_all() {
            assert_eq!(message.stream.topic.plain(), readings.topic());
            got.push(message.payload[0]);
        }
    }
    assert!(got.iter().copied().eq(0..100), "{got:?}");
}

/// Of two sensors' values that nobody read in time, the newest of each is left.
#[tokio::test]
async fn who_reads_seldom_reads_the_latest_values() {
    let nodes = members(2, |_, builder| builder).await;
    let [sender, reader] = &nodes[..] else { panic!("two") };
    let topic = reader.group("values");
    let mut latest =
        topic.subscribe_to(Wanted::live().latest(|message| message.payload.slice(..1)));
    let mut all = topic.subscribe();
    let values = sender.group("values");
    let sent: Vec<[u8; 2]> = (0..100).map(|value| [value % 2, value]).collect();
    for value in &sent {
        values.publish(value.to_vec()).await.expect("it runs");
    }
    for value in &sent {
        assert_eq!(*next_message(&mut all).await, *value);
    }
    let left = [next_message(&mut latest).await, next_message(&mut latest).await];
    assert_eq!([&left[0][..], &left[1][..]], [[0, 98], [1, 99]]);
}

#[tokio::test]
async fn a_filter_chooses_by_headers() {
    let nodes = members(2, |_, builder| builder).await;
    let [sender, reader] = &nodes[..] else { panic!("two") };
    let dear = Filter::parse("price > 10 AND symbol LIKE 'I%'").expect("a condition");
    let mut heard = reader.group("trades").subscribe_to(Wanted::live().only(dear));
    reader.stats().await;
    let trades = sender.group("trades");
    for (symbol, price) in [("IBM", 9.5), ("IBM", 12.5), ("AAPL", 200.0), ("INTC", 20.0)] {
        let draft = Draft::from(symbol).header("symbol", symbol).expect("a name");
        let draft = draft.header("price", price).expect("a name");
        trades.publish(draft).await.expect("it runs");
    }
    trades.publish("no trade").await.expect("it runs");
    let mut got = Vec::new();
    while got.len() < 2 {
        if let Some(Event::Message(message)) = patiently(heard.next()).await {
            got.push(message);
        }
    }
    assert!(got.iter().map(|message| &message.payload[..]).eq([&b"IBM"[..], b"INTC"]));
    assert_eq!(got[0].headers.get("price"), Some(&12.5.into()));
    assert!(Draft::from("x").header("no name", 1).is_err());
    let large = Draft::from("x").header("name", "x".repeat(2_000).as_str()).expect("a name");
    let refused = trades.publish(large).await.expect_err("it is too large");
    assert!(matches!(refused, PublishError::TooLarge(_)), "{refused}");
}

#[tokio::test]
async fn a_pattern_brings_each_topic_that_matches_by_its_name() {
    let mut nodes = members(3, |_, builder| builder).await;
    let mut groups = nodes[1].groups("grid/+/hz").expect("a pattern");
    let (mut heard, mut beside) = (groups.subscribe(), nodes[1].group("grid/ny/hz").subscribe());
    for (topic, text) in [("grid/ny/mw", "700"), ("grid/ny/hz", "50"), ("grid/nj/hz", "49")] {
        nodes[2].group(topic).publish(text).await.expect("it runs");
    }
    let mut got = Vec::new();
    while got.len() < 2 {
        if let Some(Event::Message(message)) = patiently(heard.next()).await {
            let topic = nodes[1].topic_text(message.stream.topic).expect("it is known by now");
            got.push((topic.to_string(), message.payload));
        }
    }
    got.sort();
    assert_eq!(got, [("grid/nj/hz".into(), "49".into()), ("grid/ny/hz".into(), "50".into())]);
    assert_eq!(next_message(&mut beside).await, "50");
    let mut all = nodes[1].groups("#").expect("a pattern").subscribe();
    groups.set_rating(Rating::NONE);
    drop(beside);
    nodes[1].stats().await;
    nodes[2].group("grid/ny/hz").publish("51").await.expect("it runs");
    assert_eq!(next_message(&mut all).await, "51");
    assert!(nodes[1].groups("grid/#/hz").is_err());
    let patterns = (0..70).map(|at| nodes[0].groups(&format!("{at}/#")).expect("a pattern"));
    let mut taken: Vec<Subscription> = patterns.map(|groups| groups.subscribe()).collect();
    assert!(patiently(taken[69].next()).await.is_none(), "there are too many");
    // Of those that match nothing, too, readers hear that the node is gone.
    nodes.remove(0).close().await.expect("it runs");
    let ends = async { while taken[0].next().await.is_some() {} };
    patiently(ends).await;
}

#[tokio::test]
async fn who_comes_later_gets_the_last_messages() {
    let nodes = members(3, |_, builder| builder).await;
    let (prices, mut first) = (nodes[0].group("prices"), subscribe_to(&nodes[1], "prices").await);
    prices.keep(Keep::Last(3));
    for price in 0..10_u8 {
        prices.publish(vec![price]).await.expect("it runs");
        // Each in a packet of its own.
        assert_eq!(*next_message(&mut first).await, [price]);
    }
    let mut late = nodes[2].group("prices").subscribe_from(Start::Buffered);
    // Others may be there still, for repair.
    let mut got = vec![next_message(&mut late).await[0]];
    while got.last() != Some(&9) {
        got.push(next_message(&mut late).await[0]);
    }
    assert!(got[0] <= 7 && got.is_sorted_by(|one, next| one + 1 == *next), "{got:?}");
}

/// Several subscribe at one member, one after the other: who did not ask for what is kept hears
/// each message once, those who did hear what is kept first.
#[tokio::test]
async fn whoever_asks_gets_what_is_kept_also_where_others_have_it() {
    let nodes = members(3, |_, builder| builder).await;
    let (prices, group) = (nodes[0].group("prices"), nodes[1].group("prices"));
    let mut live = subscribe_to(&nodes[1], "prices").await;
    prices.keep(Keep::Last(3));
    for price in 0..10_u8 {
        prices.publish(vec![price]).await.expect("it runs");
        assert_eq!(*next_message(&mut live).await, [price]);
    }
    let mut asked = Vec::new();
    for price in 10..14_u8 {
        let mut late = group.subscribe_from(Start::Buffered);
        let mut got = vec![next_message(&mut late).await[0]];
        while got.last() != Some(&(price - 1)) {
            got.push(next_message(&mut late).await[0]);
        }
        assert!(got.len() >= 3 && got.is_sorted_by(|one, next| one + 1 == *next), "{got:?}");
        asked.push(late);
        prices.publish(vec![price]).await.expect("it runs");
        for heard in asked.iter_mut().chain([&mut live]) {
            assert_eq!(*next_message(heard).await, [price]);
        }
    }
}

#[tokio::test]
async fn who_comes_later_gets_the_latest_value_of_each_key() {
    let nodes = members(2, |_, builder| builder).await;
    let settings = nodes[0].group("settings");
    settings.keep(Keep::Latest(b'='));
    let said = ["a=1", "b=1", "c=1", "a=2", "b=2", "a=3"];
    for value in said {
        settings.publish(value).await.expect("it runs");
    }
    let mut late = nodes[1].group("settings").subscribe_from(Start::Buffered);
    let mut got = vec![next_message(&mut late).await];
    while got.last().is_none_or(|last| last != "a=3") {
        got.push(next_message(&mut late).await);
    }
    assert!(got.len() >= 4);
    assert!(said.iter().rev().zip(got.iter().rev()).all(|(a, b)| a == b));
}
