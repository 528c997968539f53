//! The socket at which an agent takes commands: where it is, and how to ask there.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::protocol::{Answer, Request};

/// The longest line: an object of 16 MiB in hex, or a table of 1,024 rows of 900 bytes for each of
/// 9 levels, as JSON.
pub(super) const LINE_BYTES_MAX: u64 = 40 << 20;
/// How long an agent may take to answer, beyond what it was told that it may take: it waits for
/// others for eight seconds at most, else everything it needs is in its memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// An agent's socket.
#[derive(Debug, Clone)]
pub(super) struct Socket(PathBuf);

impl Socket {
    /// The socket at `path`, or else the one that this user's agent has by default.
    pub(super) fn at(path: Option<PathBuf>) -> Result<Self> {
        if let Some(path) = path {
            return Ok(Self(path));
        }
        if let Some(folder) = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
            && folder.is_dir()
        {
            return Ok(Self(folder.join("spinglass.sock")));
        }
        let user = rustix::process::getuid().as_raw();
        Ok(Self(std::env::temp_dir().join(format!("spinglass-{user}")).join("agent.sock")))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the socket, for this user alone. What a dead agent left there is taken over.
    pub(super) async fn listen(&self) -> Result<UnixListener> {
        let path = self.0.as_path();
        if UnixStream::connect(path).await.is_ok() {
            bail!(
                "an agent listens at {} already: `spinglass leave` ends it, and --socket gives \
                 this one another place",
                path.display()
            );
        }
        // A name alone has an empty path before it: that of the folder one is in.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.exists()) {
            fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        }
        match fs::symlink_metadata(path) {
            Ok(found) if is_socket(&found) => fs::remove_file(path)?,
            Ok(_) => bail!("{} is there and is no socket: it is left alone", path.display()),
            Err(error) if error.kind() == ErrorKind::NotFound => (),
            Err(error) => return Err(error).context(path.display().to_string()),
        }
        let listener = UnixListener::bind(path)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        if !cfg!(spinglass_bug = "socket_open") {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        }
        Ok(listener)
    }

    /// Asks the agent, and waits for its answer.
    pub(super) async fn ask(&self, request: &Request) -> Result<Answer> {
        let stream = UnixStream::connect(&self.0).await.with_context(|| {
            format!(
                "no agent listens at {}: start one with `spinglass agent`, or say where it is with \
                 --socket",
                self.0.display()
            )
        })?;
        let within = match request {
            Request::Query { within_ms, .. } => Duration::from_millis(*within_ms),
            _ => Duration::ZERO,
        };
        let within = within.saturating_add(ANSWER_WITHIN);
        let answer = tokio::time::timeout(within, exchange(stream, request)).await;
        match answer.map_err(|_| anyhow!("the agent at {} does not answer", self.0.display()))?? {
            Answer::Error(error) => bail!(error),
            answer => Ok(answer),
        }
    }

    /// Waits until nobody listens any more.
    pub(super) async fn wait_until_gone(&self, within: Duration) -> bool {
        let gone = async {
            while UnixStream::connect(&self.0).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(within, gone).await.is_ok()
    }
}

fn is_socket(found: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    found.file_type().is_socket()
}

async fn exchange(stream: UnixStream, request: &Request) -> Result<Answer> {
    let mut stream = BufReader::new(stream);
    let line = serde_json::to_string(request)? + "\n";
    stream.get_mut().write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(LINE_BYTES_MAX).read_line(&mut answer).await?;
    serde_json::from_str(&answer)
        .context("the agent's answer makes no sense: is it of this version?")
}

/// An answer to something else than was asked.
pub(super) fn unexpected() -> anyhow::Error {
    anyhow!("the agent answered something else than was asked: is it of this version?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_its_users_alone() {
        let folder = std::env::temp_dir().join(format!("spinglass-socket-{}", std::process::id()));
        let path = folder.join("agent.sock");
        let _listener = Socket(path.clone()).listen().await.unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&path)), (0o700, 0o600));
        fs::remove_dir_all(&folder).unwrap();
    }
}
