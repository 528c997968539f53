//! Names: `spiffe://example.org/usa/ithaca/n1` of a member, `spiffe://example.org/usa` of a zone.

use alloc::sync::Arc;
use core::fmt;

use crate::config::REGION_BYTES_MAX;
use crate::node::NAME_BYTES_MAX;
use crate::table::{PathError, ZonePath};

/// What every name starts with.
const SCHEME: &str = "spiffe://";
/// The longest name of a trust domain, in bytes. SPIFFE allows 255; a name of ours fits one byte's
/// length.
pub const DOMAIN_BYTES_MAX: usize = 100;
/// The longest name of a member, in bytes: scheme, trust domain, zone, slash, node.
pub const SPIFFE_BYTES_MAX: usize =
    SCHEME.len() + DOMAIN_BYTES_MAX + REGION_BYTES_MAX + 1 + NAME_BYTES_MAX;
/// A name is encoded behind one byte of length.
const _: () = assert!(SPIFFE_BYTES_MAX <= u8::MAX as usize);

/// A text that is no name, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// It does not begin with `spiffe://`.
    Scheme,
    /// The trust domain is empty, too long, or has other characters than small letters, digits,
    /// `-`, `_` and `.`.
    Domain,
    /// There is no node behind the zone.
    NoNode,
    /// The node is too long, `.` or `..`, or has other characters than letters, digits, `-`, `_`
    /// and `.`.
    Node,
    /// The zone is no path, or not in its one form.
    Zone(PathError),
}

impl fmt::Display for NameError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => formatter.write_str(
                "a name begins with spiffe://, such as spiffe://example.org/usa/ithaca/n1",
            ),
            Self::Domain => write!(
                formatter,
                "a trust domain has 1 to {DOMAIN_BYTES_MAX} of a-z, 0-9, '-', '_' and '.', such \
                 as example.org, and neither a port nor a user"
            ),
            Self::NoNode => formatter.write_str(
                "a member's name ends with its node: spiffe://DOMAIN/ZONE/NODE, without a slash \
                 at the end",
            ),
            Self::Node => write!(
                formatter,
                "a node's name has 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, '-', '_' and '.', and \
                 is neither '.' nor '..'"
            ),
            Self::Zone(error) => write!(formatter, "{error}, and neither '.' nor '..'"),
        }
    }
}

impl core::error::Error for NameError {}

/// A trust domain's name, such as `example.org`: those who share roots of trust.
///
/// 1 to [`DOMAIN_BYTES_MAX`] of `a` to `z`, digits, `-`, `_` and `.` [SPIFFE-ID §2.1].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// The trust domain of this name.
    ///
    /// # Errors
    /// It is none; capital letters are refused, since names are compared by their bytes.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let legal =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        let bounded = (1..=DOMAIN_BYTES_MAX).contains(&text.len());
        if bounded && text.bytes().all(legal) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Domain)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A member's name: a trust domain, a zone and a node in it.
///
/// Written `spiffe://<trust domain><zone path>/<node>`: a SPIFFE ID [SPIFFE-ID §2] whose path's
/// last segment is the node and whose others are the zone. A subset of what SPIFFE allows: the
/// zone keeps to [`ZonePath`]'s letters and depth, the whole to [`SPIFFE_BYTES_MAX`] bytes. As
/// SPIFFE has it there is no query, fragment, port, user, percent-encoding, empty segment, `.` or
/// `..`, and no slash at the end. A name has one form, and is compared by its bytes; nodes may
/// have capital letters, and `N1` is not `n1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    domain: TrustDomain,
    zone: ZonePath,
    node: Arc<str>,
}

impl SpiffeId {
    /// The name that `text` is.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (domain, path) = split(text)?;
        let domain = TrustDomain::parse(domain)?;
        let (zone, node) = path.rsplit_once('/').ok_or(NameError::NoNode)?;
        Self::new(domain, parse_zone(zone)?, node)
    }

    /// The name of a node in a zone.
    ///
    /// # Errors
    /// The node's or the zone's name can't be part of one.
    pub fn new(domain: TrustDomain, zone: ZonePath, node: &str) -> Result<Self, NameError> {
        if zone.names().any(is_dots) {
            return Err(NameError::Zone(PathError::BadName));
        }
        match node {
            "" => Err(NameError::NoNode),
            node if node.len() <= NAME_BYTES_MAX && is_segment(node) => {
                Ok(Self { domain, zone, node: node.into() })
            }
            _ => Err(NameError::Node),
        }
    }

    /// The trust domain.
    #[must_use]
    pub const fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// The zone.
    #[must_use]
    pub const fn zone(&self) -> &ZonePath {
        &self.zone
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What stands behind the trust domain, segment by segment: the zone's names and the node.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.zone.names().chain(core::iter::once(self.node()))
    }
}

/// What a certifier may name: everything in one zone of one trust domain.
///
/// Written `spiffe://<trust domain>` for all of it, else `spiffe://<trust domain><zone path>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// The trust domain.
    pub domain: TrustDomain,
    /// The zone; the root for all.
    pub zone: ZonePath,
}

impl Scope {
    /// The scope that `text` is.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (domain, path) = split(text)?;
        Ok(Self { domain: TrustDomain::parse(domain)?, zone: parse_zone(path)? })
    }

    /// Whether it covers a member of this name.
    #[must_use]
    pub fn covers(&self, name: &SpiffeId) -> bool {
        *name.domain() == self.domain && name.zone().is_within(&self.zone)
    }

    /// Whether it covers all that another one does.
    #[must_use]
    pub fn covers_scope(&self, other: &Self) -> bool {
        other.domain == self.domain && other.zone.is_within(&self.zone)
    }
}

/// Splits a name into its trust domain, and the path with its slash in front, if there is one.
fn split(text: &str) -> Result<(&str, &str), NameError> {
    let rest = text.strip_prefix(SCHEME).ok_or(NameError::Scheme)?;
    Ok(rest.split_at(rest.find('/').unwrap_or(rest.len())))
}

/// The zone of a path without a slash at its end; the root for none at all.
fn parse_zone(path: &str) -> Result<ZonePath, NameError> {
    if path.is_empty() {
        return Ok(ZonePath::root());
    }
    let zone = ZonePath::parse(path).map_err(NameError::Zone)?;
    let is_own_form = zone.as_str() == path && !zone.names().any(is_dots) && zone.depth() > 0;
    if is_own_form { Ok(zone) } else { Err(NameError::Zone(PathError::BadName)) }
}

fn is_dots(name: &str) -> bool {
    name == "." || name == ".."
}

/// Whether this is a path's segment as SPIFFE allows it.
pub(crate) fn is_segment(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && !is_dots(text) && text.bytes().all(legal)
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}", self.domain)?;
        self.segments().try_for_each(|segment| write!(formatter, "/{segment}"))
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}", self.domain)?;
        self.zone.names().try_for_each(|name| write!(formatter, "/{name}"))
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_its_domain_its_zone_and_its_node() {
        let name = SpiffeId::parse("spiffe://example.org/usa/ithaca/n1").unwrap();
        assert_eq!(name.domain().as_str(), "example.org");
        assert_eq!((name.zone().as_str(), name.node()), ("/usa/ithaca", "n1"));
        let name = SpiffeId::parse("spiffe://example.org/N1").unwrap();
        assert_eq!((name.zone().as_str(), name.node()), ("/", "N1"));
        assert_eq!(name.to_string(), "spiffe://example.org/N1");
    }

    #[test]
    fn what_is_no_name_is_refused_for_its_reason() {
        let check = |text: &str, error| {
            assert_eq!(SpiffeId::parse(text), Err(error), "{text}");
        };
        check("https://example.org/n1", NameError::Scheme);
        check("SPIFFE://example.org/n1", NameError::Scheme);
        check("spiffe:///n1", NameError::Domain);
        check("spiffe://Example.org/n1", NameError::Domain);
        check("spiffe://example.org:80/n1", NameError::Domain);
        check("spiffe://me@example.org/n1", NameError::Domain);
        check(&format!("spiffe://{}/n1", "d".repeat(101)), NameError::Domain);
        check("spiffe://example.org", NameError::NoNode);
        check("spiffe://example.org/", NameError::NoNode);
        check("spiffe://example.org/usa/", NameError::NoNode);
        check("spiffe://example.org/usa/n1?x=y", NameError::Node);
        check("spiffe://example.org/usa/n%31", NameError::Node);
        check("spiffe://example.org/usa/..", NameError::Node);
        check(&format!("spiffe://example.org/{}", "n".repeat(65)), NameError::Node);
        let zone = |error| NameError::Zone(error);
        check("spiffe://example.org//n1", zone(PathError::BadName));
        check("spiffe://example.org/usa//n1", zone(PathError::BadName));
        check("spiffe://example.org/USA/n1", zone(PathError::BadName));
        check("spiffe://example.org/../n1", zone(PathError::BadName));
        check("spiffe://example.org/1/2/3/4/5/6/7/8/9/n1", zone(PathError::TooDeep));
        check(&format!("spiffe://example.org/{}/n1", "z".repeat(64)), zone(PathError::TooLong));
    }

    #[test]
    fn a_scope_covers_what_lies_in_it() {
        let scope = Scope::parse("spiffe://example.org/usa").unwrap();
        let all = Scope::parse("spiffe://example.org").unwrap();
        let covers = |name| scope.covers(&SpiffeId::parse(name).unwrap());
        assert!(covers("spiffe://example.org/usa/n1"));
        assert!(covers("spiffe://example.org/usa/ithaca/n1"));
        assert!(!covers("spiffe://example.org/usa"), "the node usa in the root");
        assert!(!covers("spiffe://example.org/usage/n1"));
        assert!(!covers("spiffe://example.com/usa/n1"));
        assert!(all.covers_scope(&scope) && !scope.covers_scope(&all));
        assert_eq!((all.to_string(), all.zone), ("spiffe://example.org".into(), ZonePath::root()));
        for text in ["spiffe://example.org/", "spiffe://example.org/usa/", "spiffe://example.org//"]
        {
            assert!(Scope::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn names_have_one_form(text in "(spiffe://)?[a-z./]{0,3}[a-zA-Z0-9._%/-]{0,40}") {
            if let Ok(name) = SpiffeId::parse(&text) {
                prop_assert_eq!(name.to_string(), text.clone());
                prop_assert!(text.len() <= SPIFFE_BYTES_MAX);
            }
            if let Ok(scope) = Scope::parse(&text) {
                prop_assert_eq!(scope.to_string(), text);
            }
        }
    }
}
