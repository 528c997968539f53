//! Where the project's dependencies come from, and which of them run code while they are built.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell::{cargo, run_quietly};

/// Packages whose build scripts have been looked at: they probe the compiler, generate tables, or
/// build C that comes with them.
const BUILD_SCRIPTS: [&str; 33] = [
    "anyhow",
    "aws-lc-rs",
    "aws-lc-sys",
    "blake3",
    "borsh",
    "curve25519-dalek",
    "getrandom",
    "httparse",
    "libc",
    "libm",
    "libmimalloc-sys",
    "libsqlite3-sys",
    "num-traits",
    "oid-registry",
    "parking_lot_core",
    "portable-atomic",
    "proc-macro2",
    "prometheus-client",
    "quinn-udp",
    "quote",
    "ring",
    "rustix",
    "rustls",
    "rustversion",
    "serde",
    "serde_core",
    "serde_json",
    "signal-hook",
    "thiserror",
    "zerocopy",
    "zmij",
    "zstd-safe",
    "zstd-sys",
];
/// Packages that must not come back: nobody keeps them any more, or they were found hostile.
const BANNED: [&str; 6] =
    ["bincode", "atty", "proc-macro-error", "rustls-pemfile", "serde_yaml", "ansi_term"];

/// What is wrong with the packages that this workspace is built of.
///
/// # Errors
/// Cargo can't be asked, or `Cargo.lock` is not up to date.
pub(crate) fn faults() -> Result<Vec<String>> {
    // Packages of other systems alone are not even fetched.
    let words = ["metadata", "--format-version", "1", "--locked", "--filter-platform", &host()?];
    let mut command = cargo(&words);
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata fails");
    }
    Ok(faults_in(&serde_json::from_slice(&output.stdout)?))
}

/// The triple that this toolchain builds for by default.
fn host() -> Result<String> {
    let told = run_quietly(Command::new("rustc").arg("-vV"))?;
    let host = told.stdout.iter().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not tell its host")
}

fn faults_in(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    packages.iter().filter_map(fault).collect()
}

fn fault(package: &Value) -> Option<String> {
    let name = package["name"].as_str().unwrap_or_default();
    if cfg!(spinglass_bug = "supply_unchecked") {
        return None;
    }
    // The workspace's own have no source.
    let source = package["source"].as_str();
    if source.is_some_and(|source| !source.starts_with("registry+")) {
        return Some(format!("{name} does not come from the registry"));
    }
    if BANNED.contains(&name) {
        return Some(format!("{name} must not be used"));
    }
    let targets = package["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let kinds = targets.iter().filter_map(|target| target["kind"].as_array()).flatten();
    let has_script = kinds.into_iter().any(|kind| kind == "custom-build");
    let is_unknown = has_script && !BUILD_SCRIPTS.contains(&name);
    is_unknown.then(|| {
        format!("{name} runs a build script that nobody looked at: read it, then name it here")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_comes_from_elsewhere_is_found() {
        let registry = "registry+https://registry.example/index";
        let library = json!([{ "kind": ["lib"] }]);
        let script = json!([{ "kind": ["lib"] }, { "kind": ["custom-build"] }]);
        let found = faults_in(&json!({ "packages": [
            { "name": "ours", "source": null, "targets": library },
            { "name": "theirs", "source": registry, "targets": library },
            { "name": "libc", "source": registry, "targets": script },
            { "name": "forked", "source": "git+https://forge.example/forked", "targets": library },
            { "name": "bincode", "source": registry, "targets": library },
            { "name": "new", "source": registry, "targets": script },
        ] }));
        let about: Vec<_> = found.iter().filter_map(|fault| fault.split(' ').next()).collect();
        assert_eq!(about, ["forked", "bincode", "new"]);
    }
}
