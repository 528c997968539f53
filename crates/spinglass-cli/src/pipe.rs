//! `spinglass send` and `spinglass recv`: a pipe from one machine's standard input to the standard
//! output of many.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use spinglass::{
    Draft, Event, Filter, Keep, MESSAGE_BYTES_MAX, Node, Offence, PATTERNS_MAX, Pattern,
    PatternError, Rating, Row, Value, Wanted,
};
use spinglass_doors::json::row_to_json;
use tokio::sync::mpsc;

use crate::agent::assignment;
use crate::join::{Join, meet, nothing_in_the_way};
use crate::output::{Format, Verdict};

/// Options of `send`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tail -f log | spinglass send logs
  spinglass send --whole reports < report.pdf
  spinglass send --keep 1 --whole prices < prices.json     whoever comes later gets it, too
  spinglass send --keep-latest = settings < file           the last `name=` of each name is kept
  spinglass send --for-all readings < alarms               also to those with `recv --rating 0.1`
  spinglass send --header symbol=IBM --header price=12.5 trades < trade
  spinglass send --group-key g.key --bind 10.0.0.5:7710 --seeds 10.0.0.9:7710 logs < lines

Without --group-key only members on this machine hear it.")]
pub(crate) struct Send {
    /// The topic
    topic: String,
    /// Send all of standard input as one message, not a message a line
    #[arg(long)]
    whole: bool,
    /// Send to all who take anything of the topic, whatever their ratings
    #[arg(long)]
    for_all: bool,
    /// Give each message this header: true, a number or a text, for `recv --where`
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    header: Vec<(String, Value)>,
    /// Keep so many messages, the last ones, for those who come later with `recv --buffered`
    #[arg(long, value_name = "MESSAGES", default_value_t, conflicts_with = "keep_latest")]
    keep: usize,
    /// Keep the latest message of each key for them: what stands before this character
    #[arg(long, value_name = "CHARACTER", value_parser = separator)]
    keep_latest: Option<u8>,
    /// Wait for so many members, this one included, before sending
    #[arg(long, default_value_t = 2)]
    members: usize,
    /// How long to wait for them, in seconds
    #[arg(long, default_value_t = 5)]
    patience: u64,
    #[command(flatten)]
    join: Join,
}

/// Options of `recv`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass recv logs
  spinglass recv --count 1 --raw reports > report.pdf
  spinglass recv --json logs | jq -r .text
  spinglass recv --rating 0.2 readings      every fifth of each sender's packets
  spinglass recv readings alarms            both, as they come
  spinglass recv 'grid/+/hz' 'alarms/#'     what matches: + is any one level, # all that are left
  spinglass recv --buffered prices          first the last messages, if they are kept
  spinglass recv --where 'price > 10' trades       by headers (`send --header price=12.5`)
  spinglass recv --latest = settings | slow        of lines `name=value` the newest of each

Messages go to standard output, in each sender's order. What was lost is told on standard error, in
its place: `gap: 3 packets of ...`. With --json every event is an object on a line of its own.")]
pub(crate) struct Recv {
    /// The topics, or patterns of topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Stop after so many messages
    #[arg(long)]
    count: Option<u64>,
    /// Print messages as they are, with no newline after each
    #[arg(long)]
    raw: bool,
    /// Begin with what is kept (`send --keep`) or still held for repair, not with what comes from
    /// now on
    #[arg(long)]
    buffered: bool,
    /// Print only messages of whose headers this is true: what may stand behind WHERE in SQL
    #[arg(long = "where", value_name = "CONDITION", value_parser = Filter::parse)]
    only: Option<Filter>,
    /// Of messages that wait to be printed, print only the newest of each key: what stands before
    /// this character
    #[arg(long, value_name = "CHARACTER", value_parser = separator)]
    latest: Option<u8>,
    /// Take a share of each sender's messages, evenly, from 0 (nothing) to 1 (everything)
    #[arg(long, value_name = "SHARE", default_value_t)]
    rating: Rating,
    #[command(flatten)]
    join: Join,
}

/// What `send --json` prints.
#[derive(Debug, Serialize)]
struct Sent {
    messages: u64,
    bytes: u64,
    members: usize,
}

/// Batches of messages between a topic's subscription and what prints them.
const BATCHES_MAX: usize = 4;
/// How long one that receives may be alone before it looks for a reason.
const ALONE: Duration = Duration::from_secs(3);
/// Messages read ahead of what the node takes.
const READ_AHEAD: usize = 256;

/// What ends a message's key.
fn separator(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [separator] => Ok(*separator),
        _ => Err("a key ends with one character, such as = or a space".into()),
    }
}

/// Sends standard input to the group.
///
/// # Errors
/// The node does not start, or a message is too large.
pub(crate) async fn send(options: &Send, format: Format) -> Result<Verdict> {
    let topic = &options.topic;
    ensure!(!Pattern::has_wildcards(topic), "{topic:?} is a pattern: send to a topic");
    let headers = headers(&options.header)?;
    let node = options.join.start().await?;
    let mut group = node.group(topic);
    if options.for_all {
        group = group.for_all();
    }
    group.may_publish().with_context(|| format!("cannot send to {topic:?}"))?;
    group.keep(options.keep_latest.map_or(Keep::Last(options.keep), Keep::Latest));
    let patience = Duration::from_secs(options.patience);
    if !meet(&node, options.members, patience).await {
        nothing_in_the_way(&node).await?;
        format.say(&format!("spinglass: {} members known; sending anyway", node.member_count()));
    }
    let mut sent = Sent { messages: 0, bytes: 0, members: node.member_count() };
    let mut input = read_input(options.whole);
    while let Some(message) = input.recv().await {
        let message = message.context("cannot read standard input")?;
        sent.bytes += message.len() as u64;
        let headers = headers.clone();
        group.publish(Draft { headers, payload: message.into() }).await?;
        sent.messages += 1;
    }
    node.close().await?;
    format.print(&sent, |_| String::new())?;
    Ok(Verdict::Good)
}

/// What each message is given.
fn headers(given: &[(String, Value)]) -> Result<Row> {
    let with = |draft: Draft, (name, value): &(String, Value)| draft.header(name, value.clone());
    let draft = given.iter().try_fold(Draft::default(), with)?;
    draft.check()?;
    Ok(draft.headers)
}

/// Reads standard input on a thread of its own: reading it cannot be cancelled.
fn read_input(whole: bool) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        if whole {
            let mut message = Vec::new();
            // One byte more than allowed, so that publishing says what is wrong.
            let read = input.take(MESSAGE_BYTES_MAX as u64 + 1).read_to_end(&mut message);
            let _ = sender.blocking_send(read.map(|_| message));
            return;
        }
        loop {
            let mut line = Vec::new();
            let read =
                input.by_ref().take(MESSAGE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
            let message = match read {
                Ok(0) => return,
                Ok(_) => Ok(line),
                Err(error) => Err(error),
            };
            let failed = message.is_err();
            let message = message.map(|mut line| {
                if line.ends_with(b"\n") {
                    line.pop();
                }
                line
            });
            if sender.blocking_send(message).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// One line of `recv --json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
enum Heard<'a> {
    Message {
        topic: &'a str,
        from: String,
        first: u64,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        for_all: bool,
        bytes: usize,
        #[serde(skip_serializing_if = "Map::is_empty")]
        headers: Map<String, Json>,
        text: std::borrow::Cow<'a, str>,
    },
    Gap {
        topic: &'a str,
        from: String,
        first: u64,
        packets: u64,
    },
    Lagged {
        topic: &'a str,
        from: String,
        messages: u64,
    },
    MemberUp {
        id: String,
        address: String,
        region: &'a str,
    },
    MemberDown {
        id: String,
        reason: String,
    },
    Quarantined {
        id: String,
        offence: &'a str,
    },
    FalseSummary {
        zone: &'a str,
        issuer: String,
    },
}

/// Prints what the group hears.
///
/// # Errors
/// The node does not start, or standard output is closed.
pub(crate) async fn recv(options: &Recv, format: Format) -> Result<Verdict> {
    let patterns = options.topics.iter().filter(|topic| Pattern::has_wildcards(topic));
    ensure!(patterns.count() <= PATTERNS_MAX, PatternError::TooMany);
    let node = options.join.start().await?;
    let mut batches = subscribe(&node, options)?;
    let mut left = options.count.unwrap_or(u64::MAX);
    let mut alone = pin!(tokio::time::sleep(ALONE));
    while left > 0 {
        let batch = tokio::select! {
            batch = batches.recv() => batch,
            () = &mut alone, if !alone.is_elapsed() => {
                nothing_in_the_way(&node).await?;
                continue;
            }
        };
        let (place, mut events) = batch.context("the node has stopped")?;
        let asked = options.topics.get(place).map_or("", String::as_str);
        let mut out = io::BufWriter::new(io::stdout().lock());
        for event in events.drain(..) {
            if left == 0 {
                break;
            }
            left -= u64::from(matches!(event, Event::Message(_)));
            let printed = match format {
                Format::Json => as_json(&topic_of(&event, asked, &node), &event, &mut out),
                Format::Text => as_text(&event, options.raw, &mut out),
            };
            match printed {
                // The reader of a pipe has what it wanted.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(Verdict::Good);
                }
                Err(error) => bail!("cannot write to standard output: {error}"),
                Ok(()) => (),
            }
        }
        if out.flush().is_err() {
            return Ok(Verdict::Good);
        }
    }
    // What was received is out already; nothing of ours waits to be sent.
    let _ = node.close().await;
    Ok(Verdict::Good)
}

/// Which messages are to be printed.
fn wanted(options: &Recv) -> Wanted {
    let mut wanted = if options.buffered { Wanted::buffered() } else { Wanted::live() };
    if let Some(filter) = &options.only {
        wanted = wanted.only(filter.clone());
    }
    let Some(separator) = options.latest else { return wanted };
    wanted.latest(move |message| {
        let text = message.payload.split(|byte| *byte == separator).next().unwrap_or_default();
        [&message.stream.topic.plain().0, text].concat().into()
    })
}

/// Whatever comes of the topics, by the topic's place among them; of members' comings and goings,
/// what the first one's subscription tells.
fn subscribe(node: &Node, options: &Recv) -> Result<mpsc::Receiver<(usize, Vec<Event>)>> {
    let (sender, batches) = mpsc::channel(BATCHES_MAX);
    for (place, topic) in options.topics.iter().enumerate() {
        let mut heard = if Pattern::has_wildcards(topic) {
            let what = || format!("{topic:?} is no pattern");
            let mut groups = node.groups(topic).with_context(what)?;
            groups.set_rating(options.rating);
            groups.subscribe_to(wanted(options))
        } else {
            let group = node.group(topic);
            group.may_subscribe().with_context(|| format!("cannot receive {topic:?}"))?;
            group.set_rating(options.rating);
            group.subscribe_to(wanted(options))
        };
        let sender = sender.clone();
        tokio::spawn(async move {
            let mut events = Vec::new();
            while heard.next_batch(&mut events).await > 0 {
                let mut batch = std::mem::take(&mut events);
                batch.retain(|event| place == 0 || is_of_topic(event));
                if sender.send((place, batch)).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(batches)
}

/// The topic of what was heard: of what was asked for, if that is a pattern, the one that it is.
fn topic_of(event: &Event, asked: &str, node: &Node) -> Arc<str> {
    let stream = match event {
        Event::Message(message) => Some(message.stream),
        Event::Gap(gap) => Some(gap.stream),
        Event::Lagged(lagged) => Some(lagged.stream),
        _ => None,
    };
    stream.and_then(|stream| node.topic_text(stream.topic)).unwrap_or_else(|| asked.into())
}

const fn is_of_topic(event: &Event) -> bool {
    matches!(event, Event::Message(_) | Event::Gap(_) | Event::Lagged(_))
}

fn as_json(topic: &str, event: &Event, out: &mut impl io::Write) -> io::Result<()> {
    let heard = match event {
        Event::Message(message) => Heard::Message {
            topic,
            from: message.stream.sender.to_string(),
            first: message.first.0,
            for_all: message.stream.topic.is_for_all(),
            bytes: message.payload.len(),
            headers: row_to_json(&message.headers),
            text: String::from_utf8_lossy(&message.payload),
        },
        Event::Gap(gap) => Heard::Gap {
            topic,
            from: gap.stream.sender.to_string(),
            first: gap.from.0,
            packets: gap.packets,
        },
        Event::Lagged(lagged) => {
            let from = lagged.stream.sender.to_string();
            Heard::Lagged { topic, from, messages: lagged.messages }
        }
        Event::MemberUp(member) => Heard::MemberUp {
            id: member.id.to_string(),
            address: member.address.to_string(),
            region: &member.region,
        },
        Event::MemberDown { id, reason, .. } => {
            Heard::MemberDown { id: id.to_string(), reason: format!("{reason:?}").to_lowercase() }
        }
        Event::Quarantined { id, offence } => {
            Heard::Quarantined { id: id.to_string(), offence: said(*offence) }
        }
        Event::FalseSummary { zone, issuer } => {
            Heard::FalseSummary { zone, issuer: issuer.to_string() }
        }
    };
    serde_json::to_writer(&mut *out, &heard)?;
    out.write_all(b"\n")
}

/// What a member in quarantine signed.
const fn said(offence: Offence) -> &'static str {
    match offence {
        Offence::TwoPackets => "two packets of one number",
        Offence::TwoRows => "two rows of one version",
    }
}

fn as_text(event: &Event, raw: bool, out: &mut impl io::Write) -> io::Result<()> {
    match event {
        Event::Message(message) => {
            out.write_all(&message.payload)?;
            if !raw {
                out.write_all(b"\n")?;
            }
        }
        Event::Gap(gap) => {
            // In its place between the messages, also when both go to one terminal.
            out.flush()?;
            eprintln!("gap: {} packets of {} are lost", gap.packets, gap.stream.sender);
        }
        Event::Lagged(lagged) => {
            out.flush()?;
            let sender = lagged.stream.sender;
            eprintln!("gap: {} messages of {sender} were not read in time", lagged.messages);
        }
        Event::Quarantined { id, offence } => {
            out.flush()?;
            eprintln!("quarantined: {id} signed {}", said(*offence));
        }
        Event::FalseSummary { zone, issuer } => {
            out.flush()?;
            eprintln!("false summary: {issuer} speaks for {zone} and does not say what is there");
        }
        Event::MemberUp(_) | Event::MemberDown { .. } => (),
    }
    Ok(())
}
