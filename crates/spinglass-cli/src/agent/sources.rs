//! Attributes from a folder: files that hold them, and programs that print them.
//!
//! Every so often each file of the folder is looked at, in the order of their names: one that may
//! be run is run, any other whose name ends in `.json` is read. Both give one JSON object, whose
//! members become attributes of the agent's row; of one name the last file's holds. What a file no
//! longer says is removed.
//!
//! Invariants: a program has [`RUN_WITHIN`], and is killed then; what it prints is read up to
//! [`BYTES_MAX`]; one runs at a time. A file that others than its owner may write to is passed
//! over: whoever may write it would run as the agent does. What is wrong is said once, not at
//! every look.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value as Json};
use spinglass::{Node, Value};
use spinglass_doors::json::of_json;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::facts::Claimed;

/// How long a program may take.
const RUN_WITHIN: Duration = Duration::from_secs(5);
/// Bytes that a file holds, or a program prints.
const BYTES_MAX: u64 = 64 << 10;
/// Files of a folder.
const FILES_MAX: usize = 100;

/// Sets what the folder's files say, until the node is gone.
pub(super) async fn keep_reading(
    node: Weak<Node>,
    claimed: Arc<Claimed>,
    folder: PathBuf,
    every: Duration,
) {
    let mut said: BTreeMap<String, Value> = BTreeMap::new();
    let mut wrong: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (now, faults) = look(&folder).await;
        for (path, fault) in faults.iter().filter(|(path, fault)| wrong.get(*path) != Some(*fault))
        {
            tracing::warn!("{}: {fault}", path.display());
        }
        wrong = faults;
        let Some(node) = node.upgrade() else { return };
        let table = node.table();
        let gone = said.keys().filter(|name| !now.contains_key(*name)).cloned();
        let gone: Vec<(String, Value)> = gone.map(|name| (name, Value::Null)).collect();
        let news = now.iter().filter(|(name, value)| said.get(*name) != Some(*value));
        let news = news.map(|(name, value)| (name.clone(), value.clone()));
        for (name, value) in gone.into_iter().chain(news) {
            claimed.add(&name);
            if let Err(error) = table.set(&name, value).await {
                tracing::warn!("{}: {error}", folder.display());
            }
        }
        said = now;
    }
}

/// What all files say, and what is wrong with which.
async fn look(folder: &Path) -> (BTreeMap<String, Value>, BTreeMap<PathBuf, String>) {
    let (mut said, mut wrong) = (BTreeMap::new(), BTreeMap::new());
    let files = match files(folder) {
        Ok(files) => files,
        Err(error) => {
            wrong.insert(folder.to_owned(), format!("{error:#}"));
            return (said, wrong);
        }
    };
    for path in files {
        match attributes(&path).await {
            Ok(attributes) => said.extend(attributes),
            Err(error) => drop(wrong.insert(path, format!("{error:#}"))),
        }
    }
    (said, wrong)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).context("cannot read the folder")?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .collect();
    ensure!(paths.len() <= FILES_MAX, "more than {FILES_MAX} files");
    paths.sort();
    Ok(paths)
}

async fn attributes(path: &Path) -> Result<Vec<(String, Value)>> {
    let mode = std::fs::metadata(path)?.permissions().mode();
    ensure!(mode & 0o022 == 0, "others may write to it: chmod go-w");
    let text = if mode & 0o111 != 0 {
        run(path).await?
    } else if path.extension().is_some_and(|extension| extension == "json") {
        read(path).await?
    } else {
        return Ok(Vec::new());
    };
    let members: Map<String, Json> =
        serde_json::from_str(&text).context("it gives no JSON object")?;
    let attribute = |(name, json): (String, Json)| -> Result<(String, Value)> {
        let value = of_json(&json).with_context(|| name.clone())?;
        Ok((name, value))
    };
    members.into_iter().map(attribute).collect()
}

async fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(BYTES_MAX + 1).read_to_string(&mut text).await?;
    bounded(text)
}

async fn run(path: &Path) -> Result<String> {
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = match command.spawn() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => bail!("it may not be run"),
        child => child.context("it can't be run")?,
    };
    let out = child.stdout.take().context("it is piped")?;
    let whole = async {
        let mut text = String::new();
        out.take(BYTES_MAX + 1).read_to_string(&mut text).await?;
        let text = bounded(text)?;
        let status = child.wait().await?;
        ensure!(status.success(), "it ends with {status}");
        Ok(text)
    };
    let within = RUN_WITHIN.as_secs();
    timeout(RUN_WITHIN, whole).await.with_context(|| format!("it takes more than {within} s"))?
}

fn bounded(text: String) -> Result<String> {
    ensure!(text.len() as u64 <= BYTES_MAX, "it gives more than {} KiB", BYTES_MAX >> 10);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, name: &str, text: &str, mode: u32) {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn files_are_read_and_programs_run() {
        let folder = std::env::temp_dir().join(format!("spinglass-sources-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        put(&folder, "1.json", r#"{"role": "db", "rack": 7}"#, 0o644);
        put(&folder, "2", "#!/bin/sh\necho '{\"role\": \"web\", \"tags\": [1, \"a\"]}'\n", 0o755);
        put(&folder, "3.json", "[1]", 0o644);
        put(&folder, "4", "#!/bin/sh\nexit 3\n", 0o755);
        put(&folder, "5.json", "{}", 0o666);
        put(&folder, "6.json", r#"{"a": {"b": 1}}"#, 0o644);
        put(&folder, "README", "nothing of it is an attribute", 0o644);
        put(&folder, "7", "#!/bin/sh\nyes\n", 0o755);
        let (said, wrong) = look(&folder).await;
        let list = Value::list([Value::Int(1), Value::text("a")]);
        let expected = [("rack", Value::Int(7)), ("role", Value::text("web")), ("tags", list)];
        assert_eq!(said, expected.map(|(name, value)| (name.to_owned(), value)).into());
        let fault = |name: &str| wrong.get(&folder.join(name)).cloned().unwrap_or_default();
        assert!(fault("3.json").contains("no JSON object"), "{wrong:?}");
        assert!(fault("4").contains("exit status: 3"), "{wrong:?}");
        assert!(fault("5.json").contains("chmod go-w"), "{wrong:?}");
        assert!(fault("6.json").contains("a value is"), "{wrong:?}");
        assert!(fault("7").contains("more than 64 KiB"), "{wrong:?}");
        assert_eq!(wrong.len(), 5);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(look(&folder).await.1.len() == 1, "a folder that is not there is told of");
    }
}
