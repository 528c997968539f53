//! Names to join by, looked up beside the event loop: at the start, and again for as long as none
//! of a name's addresses is a member's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use spinglass_core::Node as CoreNode;
use tokio::time::{sleep, timeout};

use crate::inbox::Command;
use crate::node::Shared;
use crate::seed::HostPort;

/// Addresses of one name that are tried; those that the resolver gives last are left out.
const ADDRESSES_MAX: usize = 32;
/// How long a look-up may take: what resolvers take for all of their retries.
const LOOK_UP_TIME: Duration = Duration::from_secs(15);
/// Until a name is looked at again, at first: a group that starts at once has its members in the
/// DNS within seconds.
const AGAIN_MIN: Duration = Duration::from_secs(1);
/// The same at most: it doubles each time, so that a resolver has one question a minute from an
/// agent whose seeds are gone. So often, too, is it seen whether one still answers.
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// Looks a name up again and again, and tells the node what it finds; ends with the node. `own` is
/// where the node receives: an address of the other family would only upset its socket.
pub(crate) async fn resolve(name: HostPort, own: SocketAddr, shared: Arc<Shared>) {
    let mut again = AGAIN_MIN;
    let mut known: Vec<SocketAddr> = Vec::new();
    let mut is_lost = false;
    loop {
        match look_up(&name, own).await {
            Ok(addresses) => {
                (known, is_lost) = (addresses, false);
                let told = shared.inbox.command(Command::AddSeeds(known.clone()));
                if told.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Once is enough; that it goes on can be seen at who is there.
                if !is_lost {
                    tracing::warn!(%name, error, "cannot look up a seed's name; trying again");
                }
                is_lost = true;
            }
        }
        sleep(again).await;
        again = AGAIN_MAX.min(again * 2);
        loop {
            let Some(is_answered) = is_answered(&known, &shared).await else { return };
            if !is_answered {
                break;
            }
            again = AGAIN_MIN;
            sleep(AGAIN_MAX).await;
        }
    }
}

async fn look_up(name: &HostPort, own: SocketAddr) -> Result<Vec<SocketAddr>, String> {
    let found = timeout(LOOK_UP_TIME, tokio::net::lookup_host((name.host(), name.port()))).await;
    let found = found.map_err(|_| String::from("the resolver does not answer"))?;
    let found = found.map_err(|error| error.to_string())?;
    let reachable = found.filter(|address| address.is_ipv4() == own.is_ipv4());
    let addresses: Vec<_> = reachable.take(ADDRESSES_MAX).collect();
    let version = if own.is_ipv4() { 4 } else { 6 };
    if addresses.is_empty() {
        Err(format!("it has no IPv{version} address"))
    } else {
        Ok(addresses)
    }
}

/// Whether a member is at one of these addresses, this one aside; `None`: the node is gone.
async fn is_answered(addresses: &[SocketAddr], shared: &Shared) -> Option<bool> {
    let addresses = addresses.to_vec();
    let is_there = move |node: &CoreNode| {
        let own = node.id();
        let mut others = node.members().filter(|member| member.id != own);
        others.any(|member| addresses.contains(&member.address))
    };
    shared.look(is_there).await
}
