//! Members behind real firewalls and NATs, in network namespaces. Needs to be root, `ip`, and for
//! NAT `nft`; says so where one is missing.

mod network;

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use network::{Folder, INSIDE, Network, OUTSIDE, Running, WALL_OUTSIDE};

#[test]
fn a_member_that_may_only_open_tcp_443_is_a_member_by_a_relay() {
    let Some(network) = Network::new("443").filter(Network::allow_443) else {
        eprintln!("SKIPPED: needs to be root, and `ip` that makes network namespaces");
        return;
    };
    let (inside, outside, folder) = (&network.inside, &network.outside, Folder::new("443"));
    let receive = format!("recv logs --count 1 --bind {OUTSIDE}:7710 --group-key group.key");
    let mut receiver = Running::start(folder.ours(outside, &receive));
    let alone = folder.send(inside, &format!("--bind {INSIDE}:7710 --patience 3"));
    assert_eq!(alone, 1, "the firewall lets no UDP through");
    let _relay = relay(&folder, outside);
    // It may choose its way, and there is no other.
    let by_relay = format!("--relay wss://{OUTSIDE} --relay-trust tls.crt --patience 20");
    assert_eq!(folder.send(inside, &by_relay), 2);
    while !receiver.line().contains("hello") {}
}

fn relay(folder: &Folder, outside: &str) -> Running {
    let mut relay = Running::start(folder.ours(
        outside,
        &format!(
            "relay --listen {OUTSIDE}:443 --tls-cert tls.crt --tls-key tls.key \
             --relay-key relay.key"
        ),
    ));
    assert!(relay.line().contains("listening"));
    relay
}

/// What translates addresses of everybody inside, to whatever port is free, and lets in what
/// answers: by host and port, as Linux does.
const MASQUERADE: &str = "add table ip nat; \
    add chain ip nat post { type nat hook postrouting priority 100; }; \
    add rule ip nat post oifname out masquerade";

/// The same, but for one port, which is forwarded.
fn forward() -> String {
    format!(
        "add table ip nat; \
         add chain ip nat pre {{ type nat hook prerouting priority -100; }}; \
         add rule ip nat pre iifname out udp dport 40000 dnat to {INSIDE}:7710; \
         add chain ip nat post {{ type nat hook postrouting priority 100; }}; \
         add rule ip nat post oifname out udp sport 7710 snat to {WALL_OUTSIDE}:40000; \
         add rule ip nat post oifname out masquerade"
    )
}

/// What lets no UDP through.
const NO_UDP: &str = "add table ip wall; \
    add chain ip wall through { type filter hook forward priority 0; }; \
    add rule ip wall through ip protocol udp drop";

/// Two agents outside, a relay, and one inside with that relay.
struct Agents {
    folder: Folder,
    _running: Vec<Running>,
}

impl Agents {
    fn start(network: &Network, test: &str) -> Self {
        let folder = Folder::new(test);
        let common = "join --group-key group.key --region /usa";
        let outside = |port: u16| {
            let seeds = if port == 7710 { String::new() } else { format!("--seeds {OUTSIDE}") };
            let options =
                format!("{common} --bind {OUTSIDE}:{port} {seeds} --socket ./{port}.sock");
            Running::start(folder.ours(&network.outside, &options))
        };
        let mut running = vec![outside(7710), outside(7711), relay(&folder, &network.outside)];
        let inside = format!(
            "{common} --name inside --bind {INSIDE}:7710 --seeds {OUTSIDE} --socket ./inside.sock \
             --relay wss://{OUTSIDE} --relay-trust tls.crt"
        );
        running.push(Running::start(folder.ours(&network.inside, &inside)));
        Self { folder, _running: running }
    }

    /// The addresses of all members, as an agent outside knows them.
    fn addresses(&self) -> Vec<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_spinglass"))
            .args(["members", "--json", "--socket", "./7711.sock"])
            .current_dir(&self.folder.0)
            .output()
            .expect("it runs");
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let members = said.as_array().cloned().unwrap_or_default();
        let addresses = members.iter().filter_map(|member| member["address"].as_str());
        addresses.map(str::to_owned).collect()
    }

    /// Waits until the one inside is at an address that fits.
    fn wait(&self, what: &str, fits: impl Fn(&str) -> bool) {
        for _ in 0..600 {
            let addresses = self.addresses();
            if addresses.len() == 3 && addresses.iter().any(|address| fits(address)) {
                return;
            }
            sleep(Duration::from_millis(100));
        }
        panic!("not {what} after a minute: {:?}", self.addresses());
    }
}

fn is_relays(address: &str) -> bool {
    address.starts_with(OUTSIDE) && !address.ends_with(":7710") && !address.ends_with(":7711")
}

#[test]
fn a_member_behind_a_nat_that_lets_others_through_is_reached_without_its_relay() {
    let network = Network::new("forward").filter(|network| network.translate(&forward()));
    let Some(network) = network else {
        eprintln!("SKIPPED: needs to be root, `ip` and `nft`");
        return;
    };
    let agents = Agents::start(&network, "forward");
    let mapped = format!("{WALL_OUTSIDE}:40000");
    agents.wait("at the NAT's port", |address| address == mapped);
    // Now the firewall lets no UDP through any more.
    assert!(network.translate(NO_UDP));
    agents.wait("back at the relay", is_relays);
}

#[test]
fn a_member_behind_a_nat_that_lets_nobody_else_through_stays_at_its_relay() {
    let network = Network::new("nat").filter(|network| network.translate(MASQUERADE));
    let Some(network) = network else {
        eprintln!("SKIPPED: needs to be root, `ip` and `nft`");
        return;
    };
    let agents = Agents::start(&network, "nat");
    agents.wait("at the relay", is_relays);
    // Some attempts later it still is: each takes a few seconds.
    for _ in 0..100 {
        let addresses = agents.addresses();
        let inside = addresses.iter().any(|address| is_relays(address));
        assert!(inside && addresses.len() == 3, "{addresses:?}");
        sleep(Duration::from_millis(100));
    }
}
