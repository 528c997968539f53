//! Replay: a recording made on real sockets, run through the same core, byte for byte.
//!
//! The calls are made again in their order; cryptography answers as it did then, from the
//! recording, without a key; and everything that comes out is compared: frames before they were
//! sealed, destinations, events. The first difference ends the replay.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use spinglass_core::crypto::{
    Crypto, Domain, Epoch, Hash, LinkKey, Offer, PublicKey, Salt, SealedKey, Signature, TAG_BYTES,
};
use spinglass_core::identity::{Chain, Claims, Refusal};
use spinglass_core::record::{Beginnings, Entry};
use spinglass_core::table::NewFunction;
use spinglass_core::{Datagram, MemberId, Node, Now, Pattern};

/// Why a recording does not replay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The bytes are not a recording, from this entry on.
    #[error(
        "entry {0} is damaged, or the file is not a recording (a run that was killed \
         leaves its last entries cut off: replay it with what is whole)"
    )]
    Damaged(usize),
    /// There is no beginning.
    #[error("the recording does not say how its member was made")]
    NoBeginnings,
    /// The core did something else than it did then.
    #[error("at entry {entry}: {what}")]
    Diverged {
        /// Which entry, from 0.
        entry: usize,
        /// What was different.
        what: String,
    },
}

/// What a replay that went through showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Entries in the recording.
    pub entries: usize,
    /// Inputs given to the core.
    pub inputs: u64,
    /// Runs of datagrams compared.
    pub transmits: u64,
    /// Datagrams whose frames were compared.
    pub datagrams: u64,
    /// Events compared.
    pub events: u64,
    /// Messages among them.
    pub messages: u64,
    /// Seconds that the recording spans.
    pub seconds: f64,
}

/// What cryptography said.
#[derive(Debug)]
enum Answer {
    Signed([u8; 64]),
    Verified(bool),
    Certified(Result<Box<Claims>, Refusal>),
    LinkKey(Option<u32>),
    Exchanged(Option<Vec<u8>>),
    Sealed(Hash, usize),
    Opened(Option<Vec<u8>>),
}

/// The answers that are left, and what did not fit them.
#[derive(Debug, Default)]
struct Answers {
    left: VecDeque<(usize, Answer)>,
    sealed: u64,
    diverged: Option<(usize, String)>,
}

impl Answers {
    fn diverge(&mut self, entry: usize, what: String) {
        if self.diverged.is_none() {
            self.diverged = Some((entry, what));
        }
    }

    /// The next answer, if it is one that `pick` understands.
    fn next<T>(&mut self, asked: &str, pick: impl FnOnce(&Answer) -> Option<T>) -> Option<T> {
        let Some((entry, answer)) = self.left.pop_front() else {
            self.diverge(usize::MAX, format!("{asked} was asked for after the recording's end"));
            return None;
        };
        let picked = pick(&answer);
        if picked.is_none() {
            self.diverge(entry, format!("{asked} was asked for, the recording has {answer:?}"));
        }
        picked
    }
}

#[derive(Debug, Clone, Default)]
struct ReplayCrypto {
    own: Option<PublicKey>,
    answers: Arc<Mutex<Answers>>,
}

impl ReplayCrypto {
    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplayCrypto {
    /// What was answered about epochs' keys or revocations; none, for no.
    fn exchanged<const BYTES: usize>(&self, asked: &str) -> Option<[u8; BYTES]> {
        let answer = self.lock().next(asked, |answer| match answer {
            Answer::Exchanged(answer) => Some(answer.clone()),
            _ => None,
        });
        answer.flatten()?.try_into().ok()
    }
}

impl Crypto for ReplayCrypto {
    fn public_key(&self) -> PublicKey {
        self.own.unwrap_or(PublicKey([0; 32]))
    }

    fn sign(&mut self, _message: &[u8]) -> Signature {
        let signed = self.lock().next("a signature", |answer| match answer {
            Answer::Signed(signature) => Some(*signature),
            _ => None,
        });
        Signature(signed.unwrap_or([0; 64]))
    }

    fn verify(&mut self, _signer: &PublicKey, _message: &[u8], _signature: &Signature) -> bool {
        let verified = self.lock().next("a signature check", |answer| match answer {
            Answer::Verified(good) => Some(*good),
            _ => None,
        });
        verified.unwrap_or(false)
    }

    fn verify_certificate(&mut self, _: &Chain, _: u64) -> Result<Claims, Refusal> {
        let certified = self.lock().next("a look at certificates", |answer| match answer {
            Answer::Certified(answer) => Some(answer.clone().map(|claims| *claims)),
            _ => None,
        });
        certified.unwrap_or(Err(Refusal::Malformed))
    }

    fn hash(&mut self, domain: Domain, message: &[u8]) -> Hash {
        spinglass_crypto::hash(domain, message)
    }

    fn hash_many(&mut self, domain: Domain, messages: &[&[u8]], hashes: &mut Vec<Hash>) {
        spinglass_crypto::hash_many(domain, messages, hashes);
    }

    fn link_key(&mut self, _: Epoch, _: &MemberId, _: &Salt, _: u32) -> Option<LinkKey> {
        let key = self.lock().next("a link key", |answer| match answer {
            Answer::LinkKey(key) => Some(*key),
            _ => None,
        });
        key.flatten().map(LinkKey)
    }

    fn new_epoch(&mut self, _: Epoch) -> Option<Hash> {
        self.exchanged("a new epoch's key").map(Hash)
    }

    fn epoch_hash(&mut self, _: Epoch) -> Option<Hash> {
        self.exchanged("an epoch's hash").map(Hash)
    }

    fn offer(&mut self) -> Offer {
        Offer(self.exchanged("an offer").unwrap_or([0; 32]))
    }

    fn seal_epoch(&mut self, _: Epoch, _: &Offer, _: &[u8]) -> Option<SealedKey> {
        self.exchanged("a sealed key").map(SealedKey)
    }

    fn open_epoch(&mut self, _: Epoch, _: &SealedKey, _: &[u8], _: &Hash) -> bool {
        self.exchanged::<0>("an opened key").is_some()
    }

    fn add_revocations(&mut self, _: &[u8], _: &[&[u8]]) -> Result<Hash, Refusal> {
        self.exchanged("a list of revocations").map(Hash).ok_or(Refusal::BadRevocations)
    }

    fn trust_roots(&mut self, _: &[Vec<u8>]) -> Result<(), Refusal> {
        self.exchanged::<0>("roots").map(|_| ()).ok_or(Refusal::UnknownIssuer)
    }

    fn is_revoked(&mut self, _: &Chain, _: u64) -> bool {
        self.exchanged::<0>("a look at revocations").is_some()
    }

    fn forget(&mut self, _key: LinkKey) {}

    fn seal(
        &mut self,
        _key: LinkKey,
        _counter: u64,
        _header: &[u8],
        frames: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        let mut answers = self.lock();
        let entry = answers.left.front().map_or(usize::MAX, |(entry, _)| *entry);
        let sealed = answers.next("a seal", |answer| match answer {
            Answer::Sealed(hash, bytes) => Some((*hash, *bytes)),
            _ => None,
        });
        let got = (spinglass_crypto::hash(Domain::Leaf, frames), frames.len());
        answers.sealed += 1;
        if sealed.is_some_and(|sealed| sealed != got) {
            let bytes = frames.len();
            answers.diverge(entry, format!("other frames were sealed ({bytes} bytes)"));
        }
        [0; TAG_BYTES]
    }

    fn open(&mut self, _: LinkKey, _: u64, _: &[u8], sealed: &mut [u8]) -> bool {
        let opened = self.lock().next("an opened datagram", |answer| match answer {
            Answer::Opened(frames) => Some(frames.clone()),
            _ => None,
        });
        let Some(frames) = opened.flatten() else { return false };
        sealed.iter_mut().zip(frames).for_each(|(to, from)| *to = from);
        true
    }
}

/// A call, with everything that was handed in, or what came out of it.
type Step<'a> = (usize, Entry<'a>);

/// Replays a recording.
///
/// # Errors
/// It is damaged, or the core does not do what it did: with the number of the first entry.
pub fn replay(recording: &[u8]) -> Result<Report, ReplayError> {
    let (steps, answers, beginnings) = read(recording)?;
    let entries = steps.len() + answers.left.len() + 1;
    let answers = Arc::new(Mutex::new(answers));
    let own = Some(beginnings.public_key);
    let crypto = ReplayCrypto { own, answers: Arc::clone(&answers) };
    let start = beginnings.now;
    let mut replay = Replay::new(*beginnings, crypto)?;
    let mut last = start;
    for (entry, step) in steps {
        last = replay.step(entry, step, last)?;
    }
    let sealed = replay.crypto.lock().sealed;
    let seconds = last.monotonic.since(start.monotonic).as_secs_f64();
    let inputs = replay.node.stats().inputs;
    Ok(Report { entries, inputs, datagrams: sealed, seconds, ..replay.report })
}

/// Splits a recording into calls and answers: each kind keeps its order.
fn read(recording: &[u8]) -> Result<(Vec<Step<'_>>, Answers, Box<Beginnings>), ReplayError> {
    let (mut steps, mut answers, mut beginnings) = (Vec::new(), Answers::default(), None);
    let mut rest = recording;
    for entry in 0.. {
        if rest.is_empty() {
            break;
        }
        let (step, taken) = Entry::decode(rest).map_err(|_| ReplayError::Damaged(entry))?;
        rest = rest.split_at(taken).1;
        let answer = match step {
            Entry::Beginnings(found) => {
                beginnings = Some(found);
                continue;
            }
            Entry::Signed(signature) => Answer::Signed(signature),
            Entry::Verified(good) => Answer::Verified(good),
            Entry::Certified(answer) => Answer::Certified(answer),
            Entry::LinkKey(key) => Answer::LinkKey(key),
            Entry::Exchanged(answer) => Answer::Exchanged(answer.map(std::borrow::Cow::into_owned)),
            Entry::Sealed { frames, bytes } => Answer::Sealed(frames, bytes),
            Entry::Opened(frames) => Answer::Opened(frames.map(std::borrow::Cow::into_owned)),
            step => {
                steps.push((entry, step));
                continue;
            }
        };
        answers.left.push_back((entry, answer));
    }
    Ok((steps, answers, beginnings.ok_or(ReplayError::NoBeginnings)?))
}

struct Replay {
    node: Node,
    crypto: ReplayCrypto,
    buffer: Vec<u8>,
    report: Report,
}

impl Replay {
    fn new(beginnings: Beginnings, crypto: ReplayCrypto) -> Result<Self, ReplayError> {
        let Beginnings { config, identity, seed, seeds, now, .. } = beginnings;
        let diverged = |what: String| ReplayError::Diverged { entry: 0, what };
        let config = config.check().map_err(|error| diverged(error.to_string()))?;
        let node = Node::new(config, identity, Box::new(crypto.clone()), seed, seeds, now)
            .map_err(|error| diverged(error.to_string()))?;
        let report = Report {
            entries: 0,
            inputs: 0,
            transmits: 0,
            datagrams: 0,
            events: 0,
            messages: 0,
            seconds: 0.0,
        };
        Ok(Self { node, crypto, buffer: Vec::new(), report })
    }

    /// Makes one call, or compares one output; returns the time it happened at.
    fn step(&mut self, entry: usize, step: Entry<'_>, last: Now) -> Result<Now, ReplayError> {
        let mut time = last;
        let different = match step {
            Entry::Datagrams { now, datagrams } => {
                time = now;
                self.datagrams(now, &datagrams);
                None
            }
            Entry::Timeout { now } => {
                time = now;
                self.node.handle_timeout(now);
                None
            }
            Entry::Answered { question, reach, found } => {
                let got = self.node.poll_answer();
                let got =
                    got.map(|(question, answer)| (question, answer.reach, answer.fingerprint()));
                (got != Some((question, reach, found)))
                    .then(|| format!("answered {got:?}; then: {question:?}, {reach:?}, {found:?}"))
            }
            verb @ (Entry::Publish { .. }
            | Entry::Subscribe { .. }
            | Entry::Rate { .. }
            | Entry::Keep { .. }
            | Entry::SubscribePattern { .. }
            | Entry::SetAttributes { .. }
            | Entry::SetSummary { .. }
            | Entry::Ask { .. }
            | Entry::PutObject { .. }
            | Entry::FetchObject { .. }
            | Entry::AddSeeds { .. }
            | Entry::Order { .. }
            | Entry::Renew { .. }
            | Entry::Heed { .. }
            | Entry::Roots { .. }
            | Entry::SetAddress { .. }
            | Entry::AskPath { .. }
            | Entry::SetReplyPort { .. }
            | Entry::Topic(_)) => {
                time = self.verb(verb, last);
                None
            }
            Entry::Leave { now } => {
                time = now;
                self.node.leave(now);
                None
            }
            Entry::Transmit { now, segments_max, transmit, bytes } => {
                time = now;
                self.report.transmits += u64::from(transmit.is_some());
                self.buffer.clear();
                let got = self.node.poll_transmit(now, segments_max, &mut self.buffer);
                let got_bytes = if got.is_some() { self.buffer.len() } else { bytes };
                ((&got, got_bytes) != (&transmit, bytes))
                    .then(|| format!("sent {got:?}, {got_bytes} B; then: {transmit:?}, {bytes} B"))
            }
            Entry::Event { event } => {
                self.report.events += 1;
                let message = matches!(event, spinglass_core::Event::Message(_));
                self.report.messages += u64::from(message);
                let got = self.node.poll_event();
                (got.as_ref() != Some(&event)).then(|| format!("told {got:?}; then: {event:?}"))
            }
            other => Some(format!("{other:?} is not a call")),
        };
        let from_crypto = self.crypto.lock().diverged.take();
        let different = from_crypto.or_else(|| different.map(|what| (entry, what)));
        match different {
            Some((entry, what)) => Err(ReplayError::Diverged { entry, what }),
            None => Ok(time),
        }
    }

    /// Makes another call of the application's; returns the time it happened at. What was refused
    /// then is refused now.
    fn verb(&mut self, verb: Entry<'_>, last: Now) -> Now {
        match verb {
            Entry::SetAttributes { now, attributes } => {
                let _ = self.node.set_attributes(now, &attributes);
                now
            }
            Entry::SetSummary { now, zone, name, sql, lasts } => {
                let function = sql.as_deref().map(|sql| NewFunction { sql, lasts });
                let _ = self.node.set_summary(now, &zone, &name, function);
                now
            }
            Entry::Ask { now, question } => {
                let _ = self.node.ask(now, &question);
                now
            }
            Entry::AddSeeds { now, seeds } => {
                self.node.add_seeds(now, &seeds);
                now
            }
            Entry::AskPath { now, whom, question } => {
                self.node.ask_path(now, whom, question);
                now
            }
            Entry::SetAddress { now, address } => {
                self.node.set_address(now, address);
                now
            }
            Entry::SetReplyPort { now, port } => {
                self.node.set_reply_port(now, port);
                now
            }
            Entry::PutObject { now, name, bytes } => {
                let _ = self.node.put_object(now, name, bytes);
                now
            }
            Entry::FetchObject { now, object } => {
                let _ = self.node.fetch_object(now, object);
                now
            }
            Entry::Heed { now, list } => {
                let _ = self.node.heed_revocations(now, &list);
                now
            }
            Entry::Roots { now, roots } => {
                let _ = self.node.trust_roots(now, &roots);
                now
            }
            Entry::Renew { now, security } => {
                let _ = self.node.renew_security(now, &security);
                now
            }
            Entry::Order { now, order } => {
                let _ = self.node.give_order(now, order);
                now
            }
            other => self.verb_on_topic(other).unwrap_or(last),
        }
    }

    /// The same of a call about a topic; `None`: it tells no time.
    fn verb_on_topic(&mut self, verb: Entry<'_>) -> Option<Now> {
        match verb {
            Entry::Publish { now, topic, draft } => {
                let _ = self.node.publish(now, topic, draft);
                Some(now)
            }
            Entry::Subscribe { now, topic, start } => {
                let _ = self.node.subscribe(now, topic, start);
                Some(now)
            }
            Entry::Rate { now, topic, rating } => {
                self.node.rate(now, topic, rating);
                Some(now)
            }
            Entry::SubscribePattern { now, pattern, start, rating } => {
                if let Ok(pattern) = Pattern::new(&pattern) {
                    let _ = self.node.subscribe_pattern(now, &pattern, start, rating);
                }
                Some(now)
            }
            Entry::Keep { now, topic, keep } => {
                self.node.keep(now, topic, keep);
                Some(now)
            }
            Entry::Topic(text) => {
                self.node.topic(&text);
                None
            }
            _ => None,
        }
    }

    /// The datagrams as they came: their clear headers, then zeros in the sealed part's place.
    fn datagrams(&mut self, now: Now, recorded: &[(SocketAddr, impl AsRef<[u8]>, usize)]) {
        let mut bytes: Vec<Vec<u8>> = recorded
            .iter()
            .map(|(_, header, length)| {
                let mut datagram = header.as_ref().to_vec();
                datagram.resize(*length, 0);
                datagram
            })
            .collect();
        let mut batch: Vec<Datagram<'_>> = recorded
            .iter()
            .zip(&mut bytes)
            .map(|((from, ..), bytes)| Datagram { from: *from, bytes })
            .collect();
        self.node.handle_datagrams(now, &mut batch);
    }
}
