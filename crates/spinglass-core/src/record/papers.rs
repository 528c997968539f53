//! What a recording keeps of certificates: a member's own, and what was said of others'.

use alloc::boxed::Box;
use alloc::string::ToString as _;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::config::Security;
use crate::crypto::{Hash, PublicKey};
use crate::identity::{CHAIN_BYTES_MAX, Chain, Claims, NameError, Refusal, Scope, SpiffeId};
use crate::orders::NewOrder;
use crate::rules::{NamePattern, POLICY_BYTES_MAX, Policy};
use crate::wire::{Malformed, Put, Reader};

/// Refusals without a number, by their code; 0 is an answer that is none.
const REFUSALS: [Refusal; 12] = [
    Refusal::Malformed,
    Refusal::NotEd25519,
    Refusal::UnknownIssuer,
    Refusal::BadSignature,
    Refusal::NotAMember,
    Refusal::NotACertifier,
    Refusal::NotOneName,
    Refusal::BadName(NameError::Node),
    Refusal::ForeignDomain,
    Refusal::OutsideZone,
    Refusal::Revoked,
    Refusal::BadRevocations,
];
const NOT_YET: u8 = 100;
const EXPIRED: u8 = 101;

pub(super) fn put_certified(answer: &Result<Box<Claims>, Refusal>, buffer: &mut Vec<u8>) {
    match answer {
        Ok(claims) => {
            let Claims { name, public_key, not_before, not_after, hash, scope } = &**claims;
            buffer.put_u8(0);
            buffer.put_text(&name.to_string());
            buffer.put(&public_key.0);
            buffer.put_u64(*not_before);
            buffer.put_u64(*not_after);
            buffer.put(&hash.0);
            buffer.put_text(&scope.to_string());
        }
        Err(Refusal::NotYet { not_before }) => {
            buffer.put_u8(NOT_YET);
            buffer.put_u64(*not_before);
        }
        Err(Refusal::Expired { not_after }) => {
            buffer.put_u8(EXPIRED);
            buffer.put_u64(*not_after);
        }
        Err(refusal) => {
            let kind = core::mem::discriminant(refusal);
            let at = REFUSALS.iter().position(|one| core::mem::discriminant(one) == kind);
            buffer.put_u8(at.and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(1));
        }
    }
}

pub(super) fn certified(
    reader: &mut Reader<'_>,
) -> Result<Result<Box<Claims>, Refusal>, Malformed> {
    Ok(match reader.u8()? {
        0 => {
            let text = |reader: &mut Reader<'_>| reader.text(u8::MAX.into()).map(str::to_string);
            Ok(Box::new(Claims {
                name: SpiffeId::parse(&text(reader)?).map_err(|_| Malformed)?,
                public_key: PublicKey(reader.array()?),
                not_before: reader.u64()?,
                not_after: reader.u64()?,
                hash: Hash(reader.array()?),
                scope: Scope::parse(&text(reader)?).map_err(|_| Malformed)?,
            }))
        }
        NOT_YET => Err(Refusal::NotYet { not_before: reader.u64()? }),
        EXPIRED => Err(Refusal::Expired { not_after: reader.u64()? }),
        code => Err(*REFUSALS.get(usize::from(code) - 1).ok_or(Malformed)?),
    })
}

pub(super) fn put_security(security: Option<&Security>, buffer: &mut Vec<u8>) {
    let mut bytes = Vec::new();
    security.iter().for_each(|security| security.chain.encode(&mut bytes));
    buffer.put_varint(bytes.len() as u64);
    buffer.put(&bytes);
    bytes.clear();
    let policy = security.and_then(|security| security.policy.as_ref());
    policy.iter().for_each(|policy| policy.encode(&mut bytes));
    buffer.put_varint(bytes.len() as u64);
    buffer.put(&bytes);
}

pub(super) fn security(reader: &mut Reader<'_>) -> Result<Option<Box<Security>>, Malformed> {
    let chain = part(reader, CHAIN_BYTES_MAX)?;
    let policy = part(reader, POLICY_BYTES_MAX)?;
    if chain.is_empty() {
        return if policy.is_empty() { Ok(None) } else { Err(Malformed) };
    }
    let chain = Chain::parse(chain)?;
    let policy = if policy.is_empty() { None } else { Some(Policy::parse(policy)?) };
    Ok(Some(Box::new(Security { chain, policy })))
}

fn part<'a>(reader: &mut Reader<'a>, limit: usize) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(reader.varint()?).map_err(|_| Malformed)?;
    if length > limit { Err(Malformed) } else { reader.bytes(length) }
}

pub(super) fn put_order(order: &NewOrder, buffer: &mut Vec<u8>) {
    match order {
        NewOrder::Rotate => buffer.put_u8(0),
        NewOrder::Trees(alone) => buffer.put_u8(1 + u8::from(*alone)),
        NewOrder::Release(who) => {
            buffer.put_u8(3);
            buffer.put_text(&who.to_string());
        }
        NewOrder::Quarantine { who, lasts } => {
            buffer.put_u8(4);
            buffer.put_text(&who.to_string());
            // None is no time at all, which nobody asks for.
            let millis = lasts.map_or(0, |lasts| lasts.as_millis());
            buffer.put_u64(u64::try_from(millis).unwrap_or(u64::MAX));
        }
        NewOrder::Revoke(list) => {
            buffer.put_u8(5);
            buffer.put(list);
        }
        NewOrder::Rules(None) => buffer.put_u8(6),
        NewOrder::Rules(Some(policy)) => {
            buffer.put_u8(7);
            policy.encode(buffer);
        }
        NewOrder::Clear => buffer.put_u8(8),
    }
}

pub(super) fn order(reader: &mut Reader<'_>) -> Result<NewOrder, Malformed> {
    let who = |reader: &mut Reader<'_>| {
        NamePattern::parse(reader.text(u8::MAX.into())?).map_err(|_| Malformed)
    };
    Ok(match reader.u8()? {
        0 => NewOrder::Rotate,
        1 => NewOrder::Trees(false),
        2 => NewOrder::Trees(true),
        3 => NewOrder::Release(who(reader)?),
        4 => {
            let (who, millis) = (who(reader)?, reader.u64()?);
            let lasts = (millis > 0).then(|| Duration::from_millis(millis));
            NewOrder::Quarantine { who, lasts }
        }
        5 => NewOrder::Revoke(Bytes::copy_from_slice(reader.bytes(reader.rest().len())?)),
        6 => NewOrder::Rules(None),
        7 => NewOrder::Rules(Some(Policy::parse(reader.bytes(reader.rest().len())?)?)),
        8 => NewOrder::Clear,
        _ => return Err(Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{ActionPattern, Effect, NamePattern, Rule};
    use alloc::vec;

    #[test]
    fn what_is_kept_of_certificates_comes_back() {
        let claims = Claims {
            name: SpiffeId::parse("spiffe://example.org/usa/n1").unwrap(),
            public_key: PublicKey([1; 32]),
            not_before: 10,
            not_after: 20,
            hash: Hash([2; 16]),
            scope: Scope::parse("spiffe://example.org/usa").unwrap(),
        };
        let refused = REFUSALS.iter().copied().map(Err);
        let times = [Refusal::NotYet { not_before: 7 }, Refusal::Expired { not_after: 8 }];
        for answer in refused.chain(times.map(Err)).chain([Ok(Box::new(claims))]) {
            let mut bytes = Vec::new();
            put_certified(&answer, &mut bytes);
            let mut reader = Reader::new(&bytes);
            assert_eq!(certified(&mut reader), Ok(answer));
            assert!(reader.is_empty());
        }
        let rule = Rule {
            effect: Effect::Allow,
            who: vec![NamePattern::parse("spiffe://example.org/**").unwrap()],
            what: vec![ActionPattern::parse("publish news").unwrap()],
        };
        let chain = Chain::new(vec![vec![1; 300], vec![2; 20]]).unwrap();
        let policy = Some(Policy::new(vec![rule]).unwrap());
        for expected in [None, Some(Security { chain, policy })] {
            let mut bytes = Vec::new();
            put_security(expected.as_ref(), &mut bytes);
            assert_eq!(security(&mut Reader::new(&bytes)), Ok(expected.map(Box::new)));
        }
    }
}
