//! Members as separate processes: starting them, giving orders, stopping and continuing them, and
//! leaving none behind.
//!
//! Every child is killed when its [`Herd`] is dropped, also a stopped one; a child whose conductor
//! dies without dropping anything is killed by the kernel (`PR_SET_PDEATHSIG`), which is why
//! conductors run on one thread: the signal follows the thread that started the child.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::clock::monotonic_ns;
use crate::member::protocol::{Order, Progress, Report, Root, Setup, Step, Tally};

/// Roots of the table kept.
const ROOTS_MAX: usize = 4096;
/// Reports that may wait for the conductor.
const REPORTS_MAX: usize = 4096;
/// How long a member may take to start.
const START_TIME: Duration = Duration::from_secs(20);
/// How long all members may take to know one another: where half of all packets are lost, 32 of
/// them take some 40 s.
const MEET_TIME: Duration = Duration::from_secs(120);
/// Between the order to count afresh and the first bin, so that every member has read it.
const STEP_LEAD: Duration = Duration::from_millis(60);
/// Clock ticks per second in /proc: `USER_HZ`, the same on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// How members' processes are started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Launcher {
    /// The members' program; none: this program's own members.
    pub(crate) program: Option<PathBuf>,
    /// Where each one is, if they are not on loopback: its network namespace, and its address.
    pub(crate) places: Vec<(String, SocketAddr)>,
}

impl Launcher {
    fn command(&self, index: usize) -> Result<Command> {
        let own = || std::env::current_exe().context("cannot find this program's own file");
        let program = self.program.clone().map_or_else(own, Ok)?;
        let mut command = match self.places.get(index) {
            None => Command::new(program),
            Some((namespace, _)) => {
                // It becomes the program, so that signals reach that.
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
        };
        if self.program.is_none() {
            command.arg("member");
        }
        Ok(command)
    }
}

/// One member's process.
#[derive(Debug)]
struct Member {
    child: Child,
    orders: ChildStdin,
    pid: Pid,
    address: Option<SocketAddr>,
    progress: Progress,
    /// When it was told.
    progress_at: Instant,
}

/// A group of members as processes. The first one is the sender, by custom.
#[derive(Debug)]
pub(crate) struct Herd {
    members: Vec<Member>,
    reports: mpsc::Receiver<(usize, Report)>,
    step: Step,
    datagram_bytes: usize,
    /// The newest roots of the table that the observer saw, oldest first.
    roots: Vec<Root>,
    /// When members last changed something in the table: which, and when.
    changes: Vec<(usize, u64)>,
}

impl Herd {
    const fn empty(reports: mpsc::Receiver<(usize, Report)>) -> Self {
        Self {
            members: Vec::new(),
            reports,
            step: Step { number: 0, begin_ns: 0, bin_ns: 0 },
            datagram_bytes: 0,
            roots: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Starts `count` members that join one another, and waits until all know all.
    ///
    /// # Errors
    /// A member does not start, or they do not find each other in time.
    pub(crate) async fn start(count: usize, setup: &Setup) -> Result<Self> {
        Self::launch(&Launcher::default(), count, 0, setup).await
    }

    /// The same, the last `hostile` of whom are to turn hostile.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) async fn start_with(count: usize, hostile: usize, setup: &Setup) -> Result<Self> {
        Self::launch(&Launcher::default(), count, hostile, setup).await
    }

    /// The same, started in this way.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) async fn launch(
        launcher: &Launcher,
        count: usize,
        hostile: usize,
        setup: &Setup,
    ) -> Result<Self> {
        let (sender, reports) = mpsc::channel(REPORTS_MAX);
        let mut herd = Self::empty(reports);
        let mut setup = setup.clone();
        for index in 0..count {
            setup.index = index;
            setup.hostile = index + hostile >= count;
            setup.bind = launcher.places.get(index).map(|(_, address)| *address).or(setup.bind);
            herd.spawn(launcher, index, &setup, sender.clone()).await?;
            setup.record = None;
            if index == 0 {
                herd.await_bound(1).await?;
                setup.seeds = herd.members.iter().filter_map(|member| member.address).collect();
            }
        }
        herd.await_bound(count).await?;
        let peers = herd.addresses();
        herd.order_all(&Order::Await { members: count, peers }).await?;
        herd.gather(count, MEET_TIME, |report| matches!(report, Report::Ready).then_some(()))
            .await
            .context("the members did not all find one another")?;
        Ok(herd)
    }

    /// Starts members as they are described, one each, and waits until all receive; not until they
    /// know one another. All but the first `seeds` of them join by those.
    ///
    /// # Errors
    /// A member does not start.
    pub(crate) async fn raise(setups: &[Setup], seeds: usize) -> Result<Self> {
        let (sender, reports) = mpsc::channel(REPORTS_MAX);
        let mut herd = Self::empty(reports);
        for (index, setup) in setups.iter().enumerate() {
            let mut setup = setup.clone();
            if index == seeds {
                herd.await_bound(index).await?;
            }
            if index >= seeds {
                setup.seeds = herd.addresses().into_iter().take(seeds).collect();
            }
            herd.spawn(&Launcher::default(), index, &setup, sender.clone()).await?;
        }
        herd.await_bound(setups.len()).await?;
        Ok(herd)
    }

    async fn spawn(
        &mut self,
        launcher: &Launcher,
        index: usize,
        setup: &Setup,
        reports: mpsc::Sender<(usize, Report)>,
    ) -> Result<()> {
        let mut child = launcher
            .command(index)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a member's process")?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let pid = pid.context("a member's process ended at once")?;
        let orders = child.stdin.take().context("a member's standard input is piped")?;
        let output = child.stdout.take().context("a member's standard output is piped")?;
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let report = serde_json::from_str(&line)
                    .unwrap_or_else(|error| Report::Trouble(format!("{error} in {line:?}")));
                if reports.send((index, report)).await.is_err() {
                    return;
                }
            }
        });
        let (progress, progress_at) = (Progress::default(), Instant::now());
        let mut member = Member { child, orders, pid, address: None, progress, progress_at };
        member.write_line(&serde_json::to_string(setup)?).await?;
        self.members.push(member);
        Ok(())
    }

    async fn await_bound(&mut self, count: usize) -> Result<()> {
        let missing = self.members.iter().take(count).filter(|m| m.address.is_none()).count();
        let bound = self
            .gather(missing, START_TIME, |report| match report {
                Report::Bound { address, datagram_bytes } => Some((*address, *datagram_bytes)),
                _ => None,
            })
            .await
            .context("a member did not start")?;
        for (index, (address, datagram_bytes)) in bound {
            self.datagram_bytes = datagram_bytes;
            if let Some(member) = self.members.get_mut(index) {
                member.address = Some(address);
            }
        }
        Ok(())
    }

    /// How many members there are.
    pub(crate) const fn count(&self) -> usize {
        self.members.len()
    }

    /// The largest datagram that the members make, in bytes.
    pub(crate) const fn datagram_bytes(&self) -> usize {
        self.datagram_bytes
    }

    /// The process ids.
    pub(crate) fn pids(&self) -> Vec<Pid> {
        self.members.iter().map(|member| member.pid).collect()
    }

    /// Where the members receive.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().filter_map(|member| member.address).collect()
    }

    /// The newest progress of each member.
    pub(crate) fn progress(&self) -> impl Iterator<Item = &Progress> {
        self.members.iter().map(|member| &member.progress)
    }

    /// The same, and when it was told.
    pub(crate) fn progress_told(&self) -> impl Iterator<Item = (&Progress, Instant)> {
        self.members.iter().map(|member| (&member.progress, member.progress_at))
    }

    /// The newest roots of the table that the observer saw, oldest first.
    pub(crate) fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// When a member last changed something in the table, since [`Self::forget_changes`].
    pub(crate) fn change_of(&self, member: usize) -> Option<u64> {
        self.changes.iter().find(|(other, _)| *other == member).map(|(_, at_ns)| *at_ns)
    }

    /// Forgets what members changed so far.
    pub(crate) fn forget_changes(&mut self) {
        self.changes.clear();
    }

    /// Gives one member an order.
    ///
    /// # Errors
    /// The member has ended.
    pub(crate) async fn order(&mut self, index: usize, order: &Order) -> Result<()> {
        let line = serde_json::to_string(order)?;
        let member = self.members.get_mut(index).context("there is no such member")?;
        member.write_line(&line).await.with_context(|| format!("member {index} has ended"))
    }

    /// Gives every member an order.
    ///
    /// # Errors
    /// A member has ended.
    pub(crate) async fn order_all(&mut self, order: &Order) -> Result<()> {
        for index in 0..self.count() {
            self.order(index, order).await?;
        }
        Ok(())
    }

    /// Lets every member count afresh, in bins of this width; returns when the first bin begins.
    ///
    /// # Errors
    /// A member has ended.
    pub(crate) async fn begin_step(&mut self, bin: Duration) -> Result<Step> {
        let bin_ns = u64::try_from(bin.as_nanos()).unwrap_or(u64::MAX);
        let lead = u64::try_from(STEP_LEAD.as_nanos()).unwrap_or(0);
        let begin_ns = monotonic_ns() + lead;
        self.step = Step { number: self.step.number + 1, begin_ns, bin_ns };
        self.order_all(&Order::Step(self.step)).await?;
        let left = begin_ns.saturating_sub(monotonic_ns());
        tokio::time::sleep(Duration::from_nanos(left)).await;
        Ok(self.step)
    }

    /// Waits for the sender to say that everything it was ordered to publish is published, and
    /// returns how many messages that were and how long it took, in seconds.
    ///
    /// # Errors
    /// It does not say so within `limit`.
    pub(crate) async fn await_published(&mut self, limit: Duration) -> Result<(u64, f64)> {
        let found = self
            .gather(1, limit, |report| match report {
                Report::Published { count, seconds } => Some((*count, *seconds)),
                _ => None,
            })
            .await
            .context("the sender did not finish in time")?;
        found.first().map(|(_, published)| *published).context("gathered one")
    }

    /// Waits until every member has said, since it was last asked to watch, that its root says so;
    /// returns when the last one's did, on the machine's monotonic clock.
    ///
    /// # Errors
    /// One does not say so within `limit`.
    pub(crate) async fn await_reached(&mut self, limit: Duration) -> Result<u64> {
        let reached = self
            .gather(self.count(), limit, |report| match report {
                Report::Reached { at_ns } => Some(*at_ns),
                _ => None,
            })
            .await
            .context("not every member heard in time")?;
        Ok(reached.into_iter().map(|(_, at_ns)| at_ns).max().unwrap_or(0))
    }

    /// Every member's count of the step, in their order.
    ///
    /// # Errors
    /// A member does not answer in time.
    pub(crate) async fn tallies(&mut self) -> Result<Vec<Tally>> {
        let indices: Vec<usize> = (0..self.count()).collect();
        self.tallies_of(&indices).await
    }

    /// These members' counts of the step, in the order of `indices`.
    ///
    /// # Errors
    /// A member does not answer in time.
    pub(crate) async fn tallies_of(&mut self, indices: &[usize]) -> Result<Vec<Tally>> {
        for index in indices {
            self.order(*index, &Order::Tell).await?;
        }
        let step = self.step.number;
        let mut tallies = self
            .gather(indices.len(), START_TIME, |report| match report {
                Report::Tally(tally) if tally.step == step => Some(tally.clone()),
                _ => None,
            })
            .await
            .context("a member did not tell what it counted")?;
        tallies.sort_by_key(|(index, _)| indices.iter().position(|wanted| wanted == index));
        Ok(tallies.into_iter().map(|(_, tally)| *tally).collect())
    }

    /// Takes in whatever is reported until `end`, keeping progress; stops early, with `true`, when
    /// the sender reports that it has published everything.
    ///
    /// # Errors
    /// A member reports trouble, or has ended.
    pub(crate) async fn watch_until(&mut self, end: Instant) -> Result<bool> {
        while let Ok(report) = timeout_at(end, self.reports.recv()).await {
            let (index, report) = report.context("every member has ended")?;
            if let Some(Report::Published { .. }) = self.keep(index, report)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn gather<T>(
        &mut self,
        count: usize,
        limit: Duration,
        wanted: impl Fn(&Report) -> Option<T>,
    ) -> Result<Vec<(usize, T)>> {
        let end = Instant::now() + limit;
        let mut found = Vec::with_capacity(count);
        while found.len() < count {
            let Ok(report) = timeout_at(end, self.reports.recv()).await else {
                bail!("{} of {count} members reported within {limit:?}", found.len());
            };
            let (index, report) = report.context("every member has ended")?;
            let Some(report) = self.keep(index, report)? else { continue };
            found.extend(wanted(&report).map(|value| (index, value)));
        }
        Ok(found)
    }

    /// Keeps progress, and fails on trouble; anything else is handed back.
    fn keep(&mut self, index: usize, report: Report) -> Result<Option<Report>> {
        match report {
            Report::Trouble(trouble) => bail!("member {index}: {trouble}"),
            Report::Progress(progress) => {
                if let Some(member) = self.members.get_mut(index) {
                    (member.progress, member.progress_at) = (progress, Instant::now());
                }
                Ok(None)
            }
            Report::Root(root) => {
                if self.roots.len() >= ROOTS_MAX {
                    self.roots.remove(0);
                }
                self.roots.push(root);
                Ok(None)
            }
            Report::Changed { at_ns } => {
                self.changes.retain(|(member, _)| *member != index);
                self.changes.push((index, at_ns));
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }

    /// Processor seconds, user and system, that all members have used so far.
    pub(crate) fn processor_seconds(&self) -> f64 {
        self.members.iter().filter_map(|member| processor_seconds(member.pid)).sum()
    }

    /// The memory that each member holds.
    pub(crate) fn resident(&self) -> Vec<Resident> {
        self.members.iter().filter_map(|member| resident(member.pid)).collect()
    }

    /// Ends every member and waits until it is gone.
    pub(crate) async fn end(mut self) {
        for member in &mut self.members {
            // A process that has ended already is what we want.
            let _ = member.child.start_kill();
        }
        for member in &mut self.members {
            let _ = member.child.wait().await;
        }
    }
}

impl Member {
    async fn write_line(&mut self, line: &str) -> Result<()> {
        self.orders.write_all(line.as_bytes()).await?;
        self.orders.write_all(b"\n").await?;
        self.orders.flush().await?;
        Ok(())
    }
}

/// Stops or continues a process.
pub(crate) fn set_stopped(pid: Pid, stopped: bool) {
    let signal = if stopped { Signal::STOP } else { Signal::CONT };
    // A process that has ended is reported by its silence.
    let _ = kill_process(pid, signal);
}

/// The memory that a process holds, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resident {
    /// All of it.
    pub(crate) bytes: u64,
    /// What is no page of a file, such as the program's own.
    pub(crate) private_bytes: u64,
}

/// The memory that a process holds.
pub(crate) fn resident(pid: Pid) -> Option<Resident> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes << 10)
    };
    Some(Resident { bytes: bytes("VmRSS:")?, private_bytes: bytes("RssAnon:")? })
}

/// Processor seconds, user and system, that a process has used so far.
pub(crate) fn processor_seconds(pid: Pid) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The program's name, in parentheses, may hold blanks; utime and stime are 12th and 13th after.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Some(ticks.sum::<f64>() / TICKS_PER_SECOND)
}
