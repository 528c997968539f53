//! A network of namespaces: one for each member, one with a bridge between them, and a table of
//! links on the bridge, each of which loses by itself.
//!
//! Its parts are named after this process, and gone when it is dropped.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The members' network, of which each has an address: RFC 1918's.
const NETWORK: [u8; 2] = [10, 77];
/// The port that each member receives at.
const PORT: u16 = 7000;
/// Where the group's multicast goes: an organisation's own (RFC 2365).
const MULTICAST: ([u8; 4], u16) = ([239, 192, 77, 1], 7001);
/// The most members: the bridge's ports.
pub(super) const MEMBERS_MAX: usize = 256;
/// The links' losses are told in thousandths.
const THOUSAND: f64 = 1000.0;

/// The network.
#[derive(Debug)]
pub(super) struct Fabric {
    bridge: String,
    members: Vec<String>,
}

impl Fabric {
    /// Makes a network for so many members.
    ///
    /// # Errors
    /// There is no `ip` or no `nft`, or they may not do it: it takes root.
    pub(super) fn build(members: usize) -> Result<Self> {
        if members > MEMBERS_MAX {
            bail!("at most {MEMBERS_MAX} members fit on the bridge");
        }
        let own = std::process::id();
        let name = |member| format!("spinglass-{own}-{member}");
        let members: Vec<String> = (0..members).map(name).collect();
        // From here on everything is taken down again, whatever fails.
        let fabric = Self { bridge: format!("spinglass-{own}-bridge"), members };
        fabric.raise().context(
            "cannot make network namespaces: run as root, or in a container that may \
             (CAP_NET_ADMIN, CAP_SYS_ADMIN), with the packages iproute2 and nftables",
        )?;
        Ok(fabric)
    }

    fn raise(&self) -> Result<()> {
        let all = || std::iter::once(&self.bridge).chain(&self.members);
        ip(&[], &lines(all().map(|name| format!("netns add {name}"))))?;
        let cables = self.members.iter().enumerate().map(|(at, member)| {
            let bridge = &self.bridge;
            format!("link add v{at} netns {bridge} type veth peer name eth0 netns {member}")
        });
        ip(&[], &lines(cables))?;
        let ports = (0..self.members.len())
            .flat_map(|at| [format!("link set v{at} master br0"), format!("link set v{at} up")]);
        let bridge = ["link add br0 type bridge mcast_snooping 0", "link set br0 up"];
        let bridge = bridge.map(str::to_owned).into_iter().chain(ports);
        ip(&["-n", &self.bridge], &lines(bridge))?;
        for (at, member) in self.members.iter().enumerate() {
            let address = self.address(at).ip();
            let own = [
                "link set lo up".to_owned(),
                format!("addr add {address}/16 dev eth0"),
                "link set eth0 up".into(),
                "route add 239.192.0.0/14 dev eth0".into(),
            ];
            ip(&["-n", member], &lines(own))?;
        }
        self.filter("table bridge spinglass {}\n")
    }

    /// The namespaces of the members, and where each receives.
    pub(super) fn places(&self) -> Vec<(String, SocketAddr)> {
        let all = self.members.iter().enumerate();
        all.map(|(at, name)| (name.clone(), self.address(at))).collect()
    }

    /// The members' multicast group.
    pub(super) const fn multicast() -> SocketAddr {
        let ([a, b, c, d], port) = MULTICAST;
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port)
    }

    fn address(&self, member: usize) -> SocketAddr {
        let [high, low] = u16::try_from(member + 1).unwrap_or(u16::MAX).to_be_bytes();
        let [a, b] = NETWORK;
        SocketAddr::from(([a, b, high, low], PORT))
    }

    /// Has every link lose this share of what goes over it, each way by itself.
    ///
    /// # Errors
    /// `nft` fails.
    pub(super) fn lose(&self, share: f64) -> Result<()> {
        let members = 0..self.members.len();
        let pairs = members.clone().flat_map(|from| members.clone().map(move |to| (from, to)));
        let links = pairs.filter(|(from, to)| from != to && share > 0.0);
        let links: Vec<String> =
            links.map(|(from, to)| format!("\"v{from}\" . \"v{to}\" : jump lossy")).collect();
        let elements = match links.is_empty() {
            true => String::new(),
            false => format!("elements = {{ {} }}", links.join(", ")),
        };
        let thousandths = (share * THOUSAND).round();
        self.filter(&format!(
            "delete table bridge spinglass\n\
             table bridge spinglass {{\n\
             chain lossy {{ numgen random mod 1000 < {thousandths} drop; }}\n\
             map links {{ type ifname . ifname : verdict; {elements}; }}\n\
             chain forward {{\n\
             type filter hook forward priority 0; iifname . oifname vmap @links;\n\
             }}\n\
             }}\n"
        ))
    }

    /// Bytes that members have handed to the network since it was made.
    ///
    /// # Errors
    /// `ip` fails.
    pub(super) fn bytes_sent(&self) -> Result<u64> {
        let told = output("ip", &["-n", &self.bridge, "-s", "-j", "link", "show"], "")?;
        let links: serde_json::Value = serde_json::from_str(&told)?;
        let is_port = |link: &&serde_json::Value| {
            link["ifname"].as_str().is_some_and(|name| name.starts_with('v'))
        };
        let ports = links.as_array().into_iter().flatten().filter(is_port);
        Ok(ports.filter_map(|link| link["stats64"]["rx"]["bytes"].as_u64()).sum())
    }

    fn filter(&self, rules: &str) -> Result<()> {
        output("ip", &["netns", "exec", &self.bridge, "nft", "-f", "-"], rules).map(drop)
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        for name in self.members.iter().chain([&self.bridge]) {
            // One that was not made can't be unmade.
            let _ = output("ip", &["netns", "del", name], "");
        }
    }
}

fn lines(all: impl IntoIterator<Item = String>) -> String {
    all.into_iter().map(|line| line + "\n").collect()
}

/// Runs commands of `ip`, a line each.
fn ip(arguments: &[&str], commands: &str) -> Result<()> {
    output("ip", &[arguments, &["-batch", "-"]].concat(), commands).map(drop)
}

/// Runs a program with such an input; returns what it prints.
fn output(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    child.stdin.take().context("its input is piped")?.write_all(input.as_bytes())?;
    let done = child.wait_with_output()?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("{program} {}: {}", arguments.join(" "), said.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
