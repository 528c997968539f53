//! Sealed datagrams: who sealed one, whether it is whole, and whether it was seen before.
//!
//! ```text
//!  short  version u8        | epoch u8 | boot name 8              | counter u48 | frames… | tag 16
//!  long   version u8 | 0x80 | epoch u8 | sender 16 | salt 16 | generation u32 | counter u48 | …
//! ```
//!
//! Each *boot* of a member draws a 128-bit salt; its sealing key is HKDF(epoch key, sender, salt,
//! generation), so that no (key, counter) pair can repeat, also after a restart that lost its disk
//! (DESIGN, decision 1). The long header names everything that the key is derived from: it opens
//! without having met the sender, and carries the sender's signed record. The short one names the
//! boot by a hash of the same, which is the same in all epochs: so is the boot's counter, and what
//! was seen under one epoch's key is seen under all.
//!
//! Invariants: nothing changes before the tag has been checked; a counter is accepted once per
//! boot; what is older than the replay window is refused.

mod window;

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::compact::{Index, Pieces};
use crate::crypto::{Crypto, Domain, Epoch, LinkKey, Salt, TAG_BYTES};
use crate::event::Reject;
use crate::id::MemberId;
use crate::members::MemberRecord;
use crate::wire::{Malformed, Put, Reader};
pub use window::{Large, Window};

/// The wire version that this build speaks.
pub const VERSION: u8 = 1;
/// Bytes of the short header.
pub const SHORT_HEADER_BYTES: usize = 16;
/// Bytes of the long header.
pub const LONG_HEADER_BYTES: usize = 44;
/// The longest clear header.
pub const HEADER_BYTES_MAX: usize = LONG_HEADER_BYTES;
/// Bytes that a short header and the tag add to a datagram's frames.
pub const OVERHEAD_BYTES: usize = SHORT_HEADER_BYTES + TAG_BYTES;

/// Marks a long header in the version byte.
const LONG: u8 = 0x80;
/// Datagrams that one key seals before the boot moves to its next generation: far below the limits
/// of AES-GCM, and within the counter's 48 bits.
const GENERATION_DATAGRAMS_MAX: u64 = 1 << 32;
/// Datagrams sent between two times that are told apart when one asks who was heard least recently.
const HEARD_DATAGRAMS: u64 = 1 << 8;
/// Boots remembered. When full, the one heard least recently is forgotten.
const BOOTS_MAX: usize = 65_536;

/// A boot's short name on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootName(pub [u8; 8]);

/// Everything that a boot's sealing key is derived from, besides the epoch's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// Whose.
    pub sender: MemberId,
    /// Its salt.
    pub salt: Salt,
    /// How often it has moved to a new key.
    pub generation: u32,
}

impl Boot {
    /// Its short name.
    pub fn name(&self, crypto: &mut dyn Crypto) -> BootName {
        // On the stack: whoever floods a member has it do this for each datagram.
        let (mut input, generation) = ([0; 36], self.generation.to_le_bytes());
        let parts = [&self.sender.0[..], &self.salt.0, &generation];
        input.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        let [a, b, c, d, e, f, g, h, ..] = crypto.hash(Domain::Boot, &input).0;
        BootName([a, b, c, d, e, f, g, h])
    }
}

/// A datagram's clear header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The epoch it is sealed under.
    pub epoch: Epoch,
    /// Who sealed it.
    pub boot: HeaderBoot,
    /// Its number among that boot's datagrams; 48 bits.
    pub counter: u64,
}

/// How a header tells the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderBoot {
    /// By its name.
    Short(BootName),
    /// In full.
    Long(Boot),
}

impl Header {
    /// Reads a header from the front of a datagram; also returns its length.
    ///
    /// # Errors
    /// The datagram is too short, or of another version.
    pub fn parse(datagram: &[u8]) -> Result<(Self, usize), Reject> {
        let mut reader = Reader::new(datagram);
        let version = reader.u8().map_err(|_| Reject::Length)?;
        if version & !LONG != VERSION {
            return Err(Reject::Version);
        }
        let header = Self::parse_rest(version & LONG != 0, &mut reader);
        let header = header.map_err(|_| Reject::Length)?;
        Ok((header, datagram.len() - reader.rest().len()))
    }

    fn parse_rest(long: bool, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let epoch = Epoch(reader.u8()?);
        let boot = if long {
            let (sender, salt) = (MemberId(reader.array()?), Salt(reader.array()?));
            HeaderBoot::Long(Boot { sender, salt, generation: reader.u32()? })
        } else {
            HeaderBoot::Short(BootName(reader.array()?))
        };
        let [a, b, c, d, e, f] = reader.array()?;
        Ok(Self { epoch, boot, counter: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) })
    }

    /// Appends the header.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        match self.boot {
            HeaderBoot::Short(name) => {
                buffer.put(&[VERSION, self.epoch.0]);
                buffer.put(&name.0);
            }
            HeaderBoot::Long(boot) => {
                buffer.put(&[VERSION | LONG, self.epoch.0]);
                buffer.put(&boot.sender.0);
                buffer.put(&boot.salt.0);
                buffer.put_u32(boot.generation);
            }
        }
        let [a, b, c, d, e, f, _, _] = self.counter.to_le_bytes();
        buffer.put(&[a, b, c, d, e, f]);
    }
}

/// What sealed a datagram that opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealer {
    /// A boot whose member is known.
    Known(MemberId),
    /// A boot that holds the group's key, and says who it is; its record must be among the frames.
    Claimed(Boot),
}

/// An opened datagram: who sealed it, and where in its bytes the frames lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Who sealed it.
    pub sealer: Sealer,
    /// The frames' place.
    pub frames: core::ops::Range<usize>,
    /// Its epoch, boot and counter, to be handed to [`Link::admit`] once a claimed boot has proved
    /// itself.
    pub(crate) mark: (Epoch, BootName, u64),
}

/// The state of the link: this boot's counter, and the boots it has met.
#[derive(Debug)]
pub struct Link {
    epoch: Epoch,
    boot: Boot,
    name: BootName,
    key: LinkKey,
    counter: u64,
    /// In no order.
    met: Pieces<Met>,
    /// Where in the list a boot is, by the front of its name.
    places: Index,
}

#[derive(Debug)]
struct Met {
    name: BootName,
    /// None: the boot's member has moved to another, and only the counters are remembered.
    record: Option<Arc<MemberRecord>>,
    /// Forgotten with the record.
    key: LinkKey,
    /// Which epoch's that is: the one of the last datagram that came.
    epoch: Epoch,
    /// The own counter, in units of [`HEARD_DATAGRAMS`] and big-endian, when it was heard last.
    heard: [u8; 3],
    window: Window,
}

impl Link {
    /// The link of a new boot. `None` if there is no key for the epoch.
    pub fn new(epoch: Epoch, boot: Boot, crypto: &mut dyn Crypto) -> Option<Self> {
        let key = crypto.link_key(epoch, &boot.sender, &boot.salt, boot.generation)?;
        let name = boot.name(crypto);
        let (met, places) = (Pieces::new(), Index::new());
        Some(Self { epoch, boot, name, key, counter: 0, met, places })
    }

    /// This boot.
    #[must_use]
    pub const fn boot(&self) -> Boot {
        self.boot
    }

    /// The epoch sealed under.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether the key has sealed its share, so that [`renew`](Self::renew) is due.
    #[must_use]
    pub const fn is_spent(&self) -> bool {
        self.counter >= GENERATION_DATAGRAMS_MAX
    }

    /// Moves to the boot's next key. The member's record changes with it.
    pub fn renew(&mut self, crypto: &mut dyn Crypto) {
        let boot = Boot { generation: self.boot.generation.saturating_add(1), ..self.boot };
        let Some(key) = crypto.link_key(self.epoch, &boot.sender, &boot.salt, boot.generation)
        else {
            return;
        };
        crypto.forget(self.key);
        self.name = boot.name(crypto);
        (self.boot, self.key, self.counter) = (boot, key, 0);
    }

    /// Seals under the key of another epoch from now on; the counter goes on, so that receivers
    /// need one window. Returns whether there is such a key; without, nothing changes.
    pub fn switch(&mut self, epoch: Epoch, crypto: &mut dyn Crypto) -> bool {
        let Boot { sender, salt, generation } = self.boot;
        let Some(key) = crypto.link_key(epoch, &sender, &salt, generation) else { return false };
        crypto.forget(self.key);
        (self.epoch, self.key) = (epoch, key);
        true
    }

    /// Forgets all keys of an epoch, whose time is over. Counters stay remembered.
    pub fn forget_epoch(&mut self, epoch: Epoch, crypto: &mut dyn Crypto) {
        let is_its = |met: &&mut Met| met.record.is_some() && met.epoch == epoch;
        for met in self.met.iter_mut().filter(is_its) {
            met.record = None;
            crypto.forget(met.key);
        }
    }

    /// Starts a datagram: appends its header to `buffer`. Frames follow, then [`seal`](Self::seal).
    pub fn begin(&mut self, long: bool, buffer: &mut Vec<u8>) -> Begun {
        self.begin_with(self.key, self.epoch, long, buffer)
    }

    /// The same under another epoch's key, for one who lacks the newest. `None`: there is no such
    /// key any more.
    pub fn begin_under(
        &mut self,
        epoch: Epoch,
        long: bool,
        buffer: &mut Vec<u8>,
        crypto: &mut dyn Crypto,
    ) -> Option<Begun> {
        if epoch == self.epoch {
            return Some(self.begin(long, buffer));
        }
        let Boot { sender, salt, generation } = self.boot;
        let key = crypto.link_key(epoch, &sender, &salt, generation)?;
        Some(self.begin_with(key, epoch, long, buffer))
    }

    fn begin_with(
        &mut self,
        key: LinkKey,
        epoch: Epoch,
        long: bool,
        buffer: &mut Vec<u8>,
    ) -> Begun {
        let start = buffer.len();
        let counter = self.counter;
        #[cfg(not(spinglass_bug = "counter_reused"))]
        let step = 1;
        #[cfg(spinglass_bug = "counter_reused")]
        let step = u64::from(!long);
        self.counter += step;
        let boot = if long { HeaderBoot::Long(self.boot) } else { HeaderBoot::Short(self.name) };
        Header { epoch, boot, counter }.encode(buffer);
        Begun { start, frames: buffer.len(), counter, key }
    }

    /// Seals what was appended to `buffer` since [`begin`](Self::begin).
    pub fn seal(&self, begun: &Begun, buffer: &mut Vec<u8>, crypto: &mut dyn Crypto) {
        let (head, frames) = buffer.split_at_mut(begun.frames);
        let (_, header) = head.split_at(begun.start);
        let tag = crypto.seal(begun.key, begun.counter, header, frames);
        buffer.put(&tag);
        if begun.key != self.key {
            crypto.forget(begun.key);
        }
    }

    /// Opens a datagram in place. `find` tells who a boot name that was not met yet belongs to.
    ///
    /// # Errors
    /// Why it is refused; nothing changed.
    pub fn open(
        &mut self,
        datagram: &mut [u8],
        find: impl FnOnce(BootName) -> Option<Arc<MemberRecord>>,
        crypto: &mut dyn Crypto,
    ) -> Result<Opened, Reject> {
        let (header, header_bytes) = Header::parse(datagram)?;
        let frames_end = datagram.len().checked_sub(TAG_BYTES).ok_or(Reject::Length)?;
        if frames_end < header_bytes {
            return Err(Reject::Length);
        }
        let (name, boot) = match header.boot {
            HeaderBoot::Short(name) => (name, None),
            HeaderBoot::Long(boot) => (boot.name(crypto), Some(boot)),
        };
        if name == self.name {
            return Err(Reject::Own);
        }
        let place = self.place_of(name);
        let known = place.and_then(|place| self.met.get(place));
        if known.is_some_and(|met| met.window.contains(header.counter)) {
            return Err(Reject::Replayed);
        }
        let is_same = |met: &&Met| met.epoch == header.epoch;
        let met = known.filter(is_same).and_then(|met| Some((met.key, met.record.as_ref()?.id())));
        let (key, sealer, found) = match met {
            Some((key, sender)) => (key, Sealer::Known(sender), None),
            // Of another epoch than the last one, or of a boot that was not met.
            None => {
                let is_it = |record: &Arc<MemberRecord>| record.boot().name(crypto) == name;
                let held = known.and_then(|met| met.record.clone());
                let found = held.or_else(|| find(name).filter(is_it));
                let known = found.as_ref().map(|record| record.boot());
                let boot = known.or(boot).ok_or(Reject::UnknownBoot)?;
                let key = crypto
                    .link_key(header.epoch, &boot.sender, &boot.salt, boot.generation)
                    .ok_or(Reject::Epoch)?;
                let known = known.map(|boot| Sealer::Known(boot.sender));
                (key, known.unwrap_or(Sealer::Claimed(boot)), found)
            }
        };
        let (clear, sealed) = datagram.split_at_mut(header_bytes);
        if !crypto.open(key, header.counter, clear, sealed) {
            if met.is_none() {
                crypto.forget(key);
            }
            return Err(Reject::Unsealed);
        }
        match (sealer, found, place) {
            (Sealer::Claimed(_), ..) => crypto.forget(key),
            (Sealer::Known(_), Some(record), _) => {
                self.meet((name, header.epoch), record, key, header.counter, crypto);
            }
            (Sealer::Known(_), None, Some(place)) => self.hear(place, header.counter),
            (Sealer::Known(_), None, None) => (),
        }
        Ok(Opened {
            sealer,
            frames: header_bytes..frames_end,
            mark: (header.epoch, name, header.counter),
        })
    }

    /// Remembers a claimed boot, whose record has been verified, and the datagram that brought it.
    pub fn admit(&mut self, opened: &Opened, record: &Arc<MemberRecord>, crypto: &mut dyn Crypto) {
        let (epoch, name, counter) = opened.mark;
        let known = self.place_of(name);
        let is_met = |place: &usize| self.met.get(*place).is_some_and(|met| met.record.is_some());
        if let Some(place) = known.filter(is_met) {
            // Of datagrams that came together another has brought it.
            return self.hear(place, counter);
        }
        let boot = record.boot();
        let key = crypto.link_key(epoch, &boot.sender, &boot.salt, boot.generation);
        if let Some(key) = key {
            self.meet((name, epoch), Arc::clone(record), key, counter, crypto);
        }
    }

    /// Forgets the keys of a member's boots, whose counters stay remembered.
    pub fn forget(&mut self, sender: MemberId, crypto: &mut dyn Crypto) {
        let is_its =
            |met: &&mut Met| met.record.as_ref().is_some_and(|record| record.id() == sender);
        for met in self.met.iter_mut().filter(is_its) {
            met.record = None;
            crypto.forget(met.key);
        }
    }

    /// Takes a boot in, or back, or on to another epoch.
    fn meet(
        &mut self,
        (name, epoch): (BootName, Epoch),
        record: Arc<MemberRecord>,
        key: LinkKey,
        counter: u64,
        crypto: &mut dyn Crypto,
    ) {
        let place = self.place_of(name).unwrap_or_else(|| {
            let window = Window::default();
            self.add(Met { name, record: None, key, epoch, heard: [0; 3], window })
        });
        if let Some(met) = self.met.get_mut(place) {
            if met.record.is_some() {
                crypto.forget(met.key);
            }
            (met.record, met.key, met.epoch) = (Some(record), key, epoch);
        }
        self.hear(place, counter);
    }

    fn hear(&mut self, place: usize, counter: u64) {
        let heard = u32::try_from(self.counter / HEARD_DATAGRAMS).unwrap_or(u32::MAX);
        let [_, heard @ ..] = heard.min(0xff_ffff).to_be_bytes();
        if let Some(met) = self.met.get_mut(place) {
            met.heard = heard;
            met.window.insert(counter);
        }
    }

    fn place_of(&self, name: BootName) -> Option<usize> {
        let is_it = |at: &usize| self.met.get(*at).is_some_and(|met| met.name == name);
        self.places.places(front(name)).find(is_it)
    }

    /// Adds a boot, in the place of the one heard least recently if there are too many: far beyond
    /// any group's size, what is lost with it is one boot's replay window.
    fn add(&mut self, boot: Met) -> usize {
        let heard = |(_, met): &(usize, &Met)| (met.heard, met.name);
        let oldest = if self.met.len() >= BOOTS_MAX {
            self.met.iter().enumerate().min_by_key(heard).map(|(place, _)| place)
        } else {
            None
        };
        let place = oldest.unwrap_or(self.met.len());
        if let Some(old) = self.met.get_mut(place) {
            self.places.remove(front(old.name), place);
            self.places.insert(front(boot.name), place);
            *old = boot;
        } else {
            self.places.insert(front(boot.name), place);
            self.met.push(boot);
        }
        place
    }
}

fn front(name: BootName) -> u32 {
    let [a, b, c, d, ..] = name.0;
    u32::from_le_bytes([a, b, c, d])
}

/// Where a datagram begins in its buffer.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    start: usize,
    frames: usize,
    counter: u64,
    key: LinkKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back() {
        let boot = Boot { sender: MemberId([3; 16]), salt: Salt([4; 16]), generation: 5 };
        for boot in [HeaderBoot::Short(BootName([9; 8])), HeaderBoot::Long(boot)] {
            let header = Header { epoch: Epoch(2), boot, counter: (1 << 48) - 1 };
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            assert_eq!(Header::parse(&bytes), Ok((header, bytes.len())));
            assert_eq!(Header::parse(&bytes[..bytes.len() - 1]), Err(Reject::Length));
        }
        assert_eq!(Header::parse(&[2; 60]), Err(Reject::Version));
    }
}
