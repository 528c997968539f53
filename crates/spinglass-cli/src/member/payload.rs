//! What the measured messages look like: a header of 21 bytes that lets a receiver see which are
//! missing and how old each is, then content.

/// Bytes of the header; no measured message is smaller.
pub(crate) const HEADER_BYTES: usize = 21;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Content to be counted only.
    Counted,
    /// A piece of the streamed file.
    Piece,
    /// After the last piece: the file's BLAKE3 hash. Its number is the count of pieces.
    End,
    /// A line of live text.
    Line,
}

/// A message's first 21 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// What it is.
    pub(crate) kind: Kind,
    /// The step that it belongs to.
    pub(crate) step: u32,
    /// Its place in the step.
    pub(crate) number: u64,
    /// When it was published, on the machine's monotonic clock.
    pub(crate) sent_ns: u64,
}

impl Header {
    /// The message with this header and `content`.
    pub(crate) fn with(self, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + content.len());
        bytes.push(match self.kind {
            Kind::Counted => 0,
            Kind::Piece => 1,
            Kind::End => 2,
            Kind::Line => 3,
        });
        bytes.extend_from_slice(&self.step.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.sent_ns.to_le_bytes());
        bytes.extend_from_slice(content);
        bytes
    }

    /// Splits a message; `None` if it is none of ours.
    pub(crate) fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (kind, rest) = bytes.split_first()?;
        let kind = match kind {
            0 => Kind::Counted,
            1 => Kind::Piece,
            2 => Kind::End,
            3 => Kind::Line,
            _ => return None,
        };
        let (step, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (sent_ns, content) = rest.split_first_chunk()?;
        let header = Self {
            kind,
            step: u32::from_le_bytes(*step),
            number: u64::from_le_bytes(*number),
            sent_ns: u64::from_le_bytes(*sent_ns),
        };
        Some((header, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_splits_as_it_was_made() {
        for kind in [Kind::Counted, Kind::Piece, Kind::End, Kind::Line] {
            let header = Header { kind, step: 7, number: 1 << 40, sent_ns: 99 };
            let bytes = header.with(b"content");
            assert_eq!(Header::split(&bytes), Some((header, b"content".as_slice())));
            assert_eq!(Header::split(&bytes[..HEADER_BYTES - 1]), None);
        }
        assert_eq!(Header::split(&[9; 30]), None);
    }
}
