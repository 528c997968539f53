//! What goes wrong, and what is to be said beside, as PostgreSQL's clients are told.

use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::NoticeResponse;
use rusqlite::ffi::ErrorCode;

/// Something that a client is told beside what it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remark {
    /// Something is missing.
    Warning(String),
    /// Something that may not be known.
    Notice(String),
}

impl From<Remark> for PgWireBackendMessage {
    fn from(remark: Remark) -> Self {
        let (severity, code, text) = match remark {
            Remark::Warning(text) => ("WARNING", "01000", text),
            Remark::Notice(text) => ("NOTICE", "00000", text),
        };
        let fields = [(b'S', severity), (b'V', severity), (b'C', code), (b'M', &*text)];
        let fields = fields.map(|(kind, text)| (kind, text.to_owned())).into();
        Self::NoticeResponse(NoticeResponse::new(fields))
    }
}

/// An error with its code, as PostgreSQL's appendix A lists them.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
}

impl Fault {
    pub(super) fn new(code: &'static str, message: &str) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    pub(super) const fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// The agent is leaving.
    pub(super) fn gone() -> Self {
        Self::new("57P01", "the agent is leaving")
    }

    /// What SQLite says.
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        let text = match error {
            rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            rusqlite::Error::ModuleError(text) => text.clone(),
            other => other.to_string(),
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => {
                Self::new("57014", "the statement took too long")
                    .with_hint("SET statement_timeout = '20s', a narrower WHERE, or a summary")
            }
            Some(ErrorCode::AuthorizationForStatementDenied) => Self::new("42501", &text)
                .with_hint("what can be changed is: UPDATE self SET name = value"),
            Some(ErrorCode::TooBig) => Self::new("54000", &text),
            Some(ErrorCode::OutOfMemory) => {
                Self::new("53200", "the statement takes more memory than it may")
            }
            _ if text.contains("no such column") => Self::new("42703", &text),
            _ if text.contains("no such table") => Self::new("42P01", &text)
                .with_hint("\\dt lists the tables; a zone is a table, too: SELECT * FROM \"/usa\""),
            _ if text.contains("no such function") => Self::new("42883", &text),
            _ if text.contains("syntax error") || text.contains("unrecognized token") => {
                Self::new("42601", &text)
            }
            _ if text.contains(super::READ_ONLY) => Self::new("42501", super::READ_ONLY),
            _ => Self::new("22000", &text),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::of(&error)
    }
}

impl From<Fault> for PgWireError {
    fn from(fault: Fault) -> Self {
        let Fault { code, message, hint } = fault;
        let mut info = ErrorInfo::new("ERROR".into(), code.into(), message);
        info.hint = hint.map(Into::into);
        Self::UserError(Box::new(info))
    }
}
