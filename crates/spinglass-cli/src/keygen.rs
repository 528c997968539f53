//! `spinglass keygen`: a group's key, which all its members share, and a member's own identity key.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
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

The files can be read by their owner alone, and are refused if others can read them. Whoever holds
the group key can take part in the group; the identity key signs what its member publishes.")]
pub(crate) struct Keygen {
    /// Write a new group key here
    #[arg(long, value_name = "FILE", required_unless_present_any = ["identity", "relay"])]
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
