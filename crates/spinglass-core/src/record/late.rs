//! Entries that came later: of objects, certificates, orders, and ways to members.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use super::Entry;
use super::codec::{flag, name, now, put_now, rest, text};
use super::papers::{certified, order, put_certified, put_order, put_security, security};
use crate::object;
use crate::path::PathQuestion;
use crate::wire::{Malformed, Put, Reader};

impl<'a> Entry<'a> {
    /// Entries that came later: of objects, and of certificates.
    pub(super) fn encode_late(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::PutObject { now, name, bytes } => {
                buffer.put_u8(24);
                put_now(*now, buffer);
                buffer.put_text(name.as_str());
                buffer.put(bytes);
            }
            Self::FetchObject { now, object } => {
                buffer.put_u8(25);
                put_now(*now, buffer);
                object.encode(buffer);
            }
            Self::Certified(answer) => {
                buffer.put_u8(29);
                put_certified(answer, buffer);
            }
            Self::Topic(text) => {
                buffer.put_u8(30);
                buffer.put(text.as_bytes());
            }
            Self::Exchanged(answer) => {
                buffer.put_u8(32);
                buffer.put_u8(u8::from(answer.is_some()));
                answer.iter().for_each(|answer| buffer.put(answer));
            }
            Self::Order { now, order } => {
                buffer.put_u8(33);
                put_now(*now, buffer);
                put_order(order, buffer);
            }
            Self::Heed { now, list } => {
                buffer.put_u8(35);
                put_now(*now, buffer);
                buffer.put(list);
            }
            Self::Roots { now, roots } => {
                buffer.put_u8(40);
                put_now(*now, buffer);
                roots.iter().for_each(|root| buffer.put_sized(root));
            }
            Self::Renew { now, security } => {
                buffer.put_u8(34);
                put_now(*now, buffer);
                put_security(Some(security), buffer);
            }
            Self::SetReplyPort { now, port } => {
                buffer.put_u8(36);
                put_now(*now, buffer);
                buffer.put_u16(port.map_or(0, NonZeroU16::get));
            }
            Self::Opened(None) => buffer.put_u8(13),
            Self::Opened(Some(frames)) => {
                buffer.put_u8(14);
                buffer.put(frames);
            }
            _ => (),
        }
    }

    /// Reads one of the entries that came later.
    pub(super) fn decode_late(kind: u8, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match kind {
            29 => Self::Certified(certified(reader)?),
            30 => Self::Topic(text(reader)?),
            36 => Self::SetReplyPort { now: now(reader)?, port: NonZeroU16::new(reader.u16()?) },
            38 => Self::SetAddress { now: now(reader)?, address: reader.address()? },
            39 => Self::AskPath {
                now: now(reader)?,
                whom: reader.address()?,
                question: PathQuestion::parse(reader.bytes(reader.rest().len())?)?,
            },
            24 => Self::PutObject { now: now(reader)?, name: name(reader)?, bytes: rest(reader)? },
            25 => {
                let now = now(reader)?;
                let object = object::parse_name(reader.bytes(reader.rest().len())?)?;
                Self::FetchObject { now, object }
            }
            32 => {
                let is_some = flag(reader)?;
                let rest = reader.bytes(reader.rest().len())?;
                if !is_some && !rest.is_empty() {
                    return Err(Malformed);
                }
                Self::Exchanged(is_some.then_some(Cow::Borrowed(rest)))
            }
            33 => Self::Order { now: now(reader)?, order: order(reader)? },
            35 => {
                let now = now(reader)?;
                Self::Heed { now, list: Cow::Borrowed(reader.bytes(reader.rest().len())?) }
            }
            40 => {
                let now = now(reader)?;
                let mut roots = Vec::new();
                while !reader.is_empty() {
                    roots.push(reader.sized()?.to_vec());
                }
                Self::Roots { now, roots: Cow::Owned(roots) }
            }
            34 => {
                let now = now(reader)?;
                let security = security(reader)?.ok_or(Malformed)?;
                Self::Renew { now, security: *security }
            }
            _ => return Err(Malformed),
        })
    }
}
