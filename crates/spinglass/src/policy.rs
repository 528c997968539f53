//! Policies as files: rules in TOML.
//!
//! ```toml
//! [[rule]]
//! who = "spiffe://example.org/usa/**"
//! allow = ["join /usa/**", "publish grid/**"]
//!
//! [[rule]]
//! who = ["spiffe://example.org/**"]
//! deny = "rotate"
//! ```

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use spinglass_core::rules::{ActionPattern, Effect, NamePattern, Policy, Rule, RuleError};
use toml::Spanned;

/// The largest file, in bytes: four times what a policy may take.
const FILE_BYTES_MAX: usize = 65_536;

/// Why a file is no policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It can't be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is larger than any policy.
    #[error("{0} has more than 65536 bytes: a policy has at most 256 rules")]
    TooLarge(PathBuf),
    /// It is not TOML, or has other keys than rules have.
    #[error("{path}, line {line}: {what}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// A rule in it is none.
    #[error("{path}, line {line}: {what}: {error}")]
    Rule {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What was to be one.
        what: String,
        /// Why it is not.
        error: RuleError,
    },
    /// Its rules are no policy.
    #[error("{path}: {error}")]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: RuleError,
    },
}

/// A policy, and where in its file each rule begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    policy: Policy,
    lines: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    rule: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    who: Spanned<OneOrMore>,
    allow: Option<Spanned<OneOrMore>>,
    deny: Option<Spanned<OneOrMore>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a text, or a list of texts")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => core::slice::from_ref(text),
            Self::More(texts) => texts,
        }
    }
}

impl PolicyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read, or is none.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let mut text = String::new();
        let limit = FILE_BYTES_MAX as u64 + 1;
        File::open(path)
            .and_then(|file| file.take(limit).read_to_string(&mut text))
            .map_err(|source| PolicyError::Io { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// Reads a file's text; errors name it by `path`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str, path: &Path) -> Result<Self, PolicyError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(PolicyError::TooLarge(path.into()));
        }
        let document: Document = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span));
            PolicyError::Syntax { path: path.into(), line, what: error.message().to_owned() }
        })?;
        let source = Source { text, path };
        let rules: Result<Vec<Rule>, _> =
            document.rule.iter().map(|one| source.rule(one)).collect();
        let policy = Policy::new(rules?)
            .map_err(|error| PolicyError::Policy { path: path.into(), error })?;
        let lines = document.rule.iter().map(|one| line_of(text, one.span())).collect();
        Ok(Self { policy, lines })
    }

    /// The policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The line, counted from 1, at which a rule, counted from 0, begins.
    #[must_use]
    pub fn line(&self, rule: usize) -> Option<usize> {
        self.lines.get(rule).copied()
    }
}

/// A file in work.
struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Source<'_> {
    fn rule(&self, entry: &Spanned<Entry>) -> Result<Rule, PolicyError> {
        let Entry { who, allow, deny } = entry.get_ref();
        let (effect, what) = match (allow, deny) {
            (Some(what), None) => (Effect::Allow, what),
            (None, Some(what)) => (Effect::Deny, what),
            _ => {
                let what = "a rule has either `allow` or `deny`".to_owned();
                let line = line_of(self.text, entry.span());
                return Err(PolicyError::Syntax { path: self.path.into(), line, what });
            }
        };
        let who = self.patterns(who, NamePattern::parse)?;
        let what = self.patterns(what, ActionPattern::parse)?;
        Ok(Rule { effect, who, what })
    }

    fn patterns<T>(
        &self,
        texts: &Spanned<OneOrMore>,
        parse: impl Fn(&str) -> Result<T, RuleError>,
    ) -> Result<Vec<T>, PolicyError> {
        let parse = |text: &String| {
            parse(text).map_err(|error| PolicyError::Rule {
                path: self.path.into(),
                line: line_of(self.text, texts.span()),
                what: format!("{text:?}"),
                error,
            })
        };
        texts.get_ref().texts().iter().map(parse).collect()
    }
}

fn line_of(text: &str, span: Range<usize>) -> usize {
    text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use spinglass_core::identity::SpiffeId;
    use spinglass_core::rules::Action;

    fn parse(text: &str) -> Result<PolicyFile, PolicyError> {
        PolicyFile::parse(text, Path::new("policy.toml"))
    }

    #[test]
    fn rules_come_in_their_order_with_their_lines() {
        let file = parse(
            "# who may do what\n[[rule]]\nwho = \"spiffe://example.org/usa/bad\"\n\
             deny = \"publish **\"\n\n[[rule]]\nwho = [\"spiffe://example.org/usa/**\"]\n\
             allow = [\"publish grid/**\", \"rotate\"]\n",
        )
        .unwrap();
        let who = SpiffeId::parse("spiffe://example.org/usa/n1").unwrap();
        let decision = file.policy().decide(&who, &Action::Publish("grid/ny"));
        assert_eq!((decision.allowed, decision.rule), (true, Some(1)));
        assert_eq!([file.line(0), file.line(1), file.line(2)], [Some(2), Some(6), None]);
        assert_eq!(parse("").unwrap().policy(), &Policy::default());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let who = "who = \"spiffe://example.org/**\"";
        let check = |text: &str, line: usize, what: &str| {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("policy.toml, line {line}: ")), "{error}");
            assert!(error.contains(what), "{error}");
        };
        check("[[rule]]\n= 3", 2, "");
        check(&format!("[[rule]]\n{who}\nallows = \"rotate\""), 3, "allow");
        check(&format!("[[rule]]\n{who}"), 1, "either `allow` or `deny`");
        check(&format!("[[rule]]\n{who}\nallow = \"rotate\"\ndeny = \"rotate\""), 1, "either");
        check("[[rule]]\nallow = \"rotate\"", 1, "who");
        check(&format!("[[rule]]\n{who}\nallow = [\n \"rotate\",\n \"dance\"]"), 3, "join ZONE");
        check("[[rule]]\nwho = \"usa/**\"\nallow = \"rotate\"", 2, "spiffe://");
        check(&format!("[[rule]]\n{who}\nallow = 3"), 3, "a text, or a list of texts");
        let empty = parse(&format!("[[rule]]\n{who}\nallow = []")).unwrap_err().to_string();
        assert!(empty.contains("a rule says who"), "{empty}");
    }
}
