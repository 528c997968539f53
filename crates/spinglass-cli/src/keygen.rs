//! `spinglass keygen`: a group's key, which all its members share, and a member's own identity key.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde::Serialize;
use spinglass_crypto::{GroupKeys, SigningKey};

use crate::ca;
use crate::output::{Format, Verdict};

/// Options of `keygen`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass keygen --group group.key          once, then copied to every member over a safe way
  spinglass keygen --identity me.key          on each member; it never leaves it
  spinglass keygen --identity me.key --public me.pub    me.pub goes to whoever certifies members
  spinglass keygen --group g.key --identity a.key --force
  spinglass keygen --relay relay.key --of group.key    what a relay needs, and no more
  spinglass keygen --sql-password alice >> users.toml  for `spinglass agent --sql-users users.toml`

The files can be read by their owner alone, and are refused if others can read them. Whoever holds
the group key can take part in the group; the identity key signs what its member publishes.")]
pub(crate) struct Keygen {
    /// Write a new group key here
    #[arg(long, value_name = "FILE")]
    #[arg(required_unless_present_any = ["identity", "relay", "sql_password"])]
    group: Option<PathBuf>,
    /// Write a new identity key here
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Write the identity key's public half here, in PEM: what `spinglass ca issue` certifies
    #[arg(long, value_name = "FILE", requires = "identity")]
    public: Option<PathBuf>,
    /// Write here the relay key that follows from a group's key: by it `spinglass relay` knows the
    /// group's members, and reads nothing of what they say
    #[arg(long, value_name = "FILE", requires = "of")]
    relay: Option<PathBuf>,
    /// The group's key that it follows from
    #[arg(long, value_name = "FILE", requires = "relay", conflicts_with = "group")]
    of: Option<PathBuf>,
    /// Read a password, and print what a file of `agent --sql-users` holds of it
    #[arg(long, value_name = "USER", exclusive = true)]
    sql_password: Option<String>,
    /// Overwrite files that exist: what is under the old key is lost with it
    #[arg(long)]
    force: bool,
}

/// What was made. Never a key.
#[derive(Debug, Serialize)]
struct Made {
    group: Option<PathBuf>,
    identity: Option<PathBuf>,
    relay: Option<PathBuf>,
    member: Option<String>,
}

/// Makes the keys.
///
/// # Errors
/// A file exists and `--force` was not given, or can't be written.
pub(crate) fn run(options: &Keygen, format: Format) -> Result<Verdict> {
    if let Some(user) = &options.sql_password {
        return sql_password(user, format);
    }
    let paths = [&options.group, &options.identity, &options.public, &options.relay];
    let paths: Vec<&Path> = paths.into_iter().filter_map(Option::as_deref).collect();
    ca::check_new(&paths, options.force)?;
    if let Some(path) = &options.group {
        GroupKeys::generate().store(path, options.force)?;
    }
    if let (Some(path), Some(of)) = (&options.relay, &options.of) {
        GroupKeys::load(of)?.relay_keys().store(path, options.force)?;
    }
    let mut member = None;
    if let Some(path) = &options.identity {
        let key = SigningKey::generate();
        key.store(path, options.force)?;
        if let Some(public) = &options.public {
            ca::write(public, &key.public_pem(), options.force)?;
        }
        member = Some(key.member_id().to_string());
    }
    let made = Made {
        group: options.group.clone(),
        identity: options.identity.clone(),
        relay: options.relay.clone(),
        member,
    };
    format.print(&made, |made| {
        let mut text = String::new();
        if let Some(path) = &made.group {
            text += &format!(
                "group key:    {} (keep it secret; give it to every member)\n",
                path.display()
            );
        }
        if let (Some(path), Some(member)) = (&made.identity, &made.member) {
            text += &format!("identity key: {} (member {member})\n", path.display());
        }
        if let Some(path) = &made.relay {
            let path = path.display();
            text += &format!("relay key:    {path} (give it to whoever runs relays)\n");
        }
        text
    })?;
    Ok(Verdict::Good)
}

/// What a file of SQL's users holds of one.
#[derive(Debug, Serialize)]
struct SqlUser {
    user: String,
    password: String,
}

/// Reads a password, from standard input's first line or unseen from the terminal.
fn sql_password(user: &str, format: Format) -> Result<Verdict> {
    let plain = user.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-');
    ensure!(plain && !user.is_empty(), "a user's name has letters, digits, - and _ only");
    let password = unseen_line(&format!("password of {user}: "))?;
    ensure!(!password.is_empty(), "an empty password is none");
    let password = spinglass_doors::sql::verifier(&password)?;
    let made = SqlUser { user: user.into(), password };
    format.print(&made, |SqlUser { user, password }| {
        format!("[users.{user}]\npassword = {password:?}\n# changes = true    # not only reads\n")
    })?;
    Ok(Verdict::Good)
}

/// A line of standard input; a terminal is asked for it, and does not show it.
fn unseen_line(prompt: &str) -> Result<String> {
    let input = std::io::stdin();
    let before = tcgetattr(&input).ok();
    if let Some(before) = &before {
        eprint!("{prompt}");
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&input, OptionalActions::Flush, &unseen)?;
    }
    let mut line = String::new();
    let read = input.read_line(&mut line);
    if let Some(before) = &before {
        tcsetattr(&input, OptionalActions::Flush, before)?;
        eprintln!();
    }
    read.context("no password comes")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
