//! What an agent is told by a file and by its environment, beside its command line.
//!
//! Each option of `spinglass agent` is a key of the file and a variable, too: `--rotate-every 12h`
//! is `rotate_every = "12h"` and `SPINGLASS_ROTATE_EVERY=12h`. One table says what there is, the
//! parser's: `--help` shows it, `--print-config` writes it, and unknown keys are held against it.
//! The command line goes before the environment, and that before the file.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use spinglass::Value;
use toml::Value as Toml;
use toml::de::DeTable;

/// The command's names.
const NAMES: [&str; 2] = ["agent", "join"];
/// The file's table of attributes to begin with: `--set` in another form.
const ATTRIBUTES: &str = "attributes";
/// Options that say something about this start, and no key of a file.
const NO_KEYS: [&str; 7] =
    ["config", "print-config", "check-config", "set", "json", "help", "version"];
/// How alike a key and an unknown one must be for the one to be suggested.
const LIKENESS_MIN: f64 = 0.7;
/// Columns of the file's comments.
const COMMENT_COLUMNS: usize = 90;

/// A command line, completed.
#[derive(Debug)]
pub(crate) struct Completed {
    /// All that the options were told.
    pub(crate) matches: ArgMatches,
    /// The file's attributes.
    pub(crate) attributes: Vec<(String, Value)>,
}

/// Whether a command line is an agent's, as far as one sees without reading it.
pub(crate) fn is_named_in(arguments: &[OsString]) -> bool {
    place_in(arguments).is_some()
}

fn place_in(arguments: &[OsString]) -> Option<usize> {
    arguments.iter().position(|argument| NAMES.iter().any(|name| argument == name))
}

/// Lets each option of the agent be told by a variable.
pub(crate) fn with_variables(command: Command) -> Command {
    command.mut_subcommand(NAMES[0], |agent| {
        agent.mut_args(|argument| match key_of(&argument) {
            // They are made once, and named until the end.
            Some(key) => {
                let name: &str = format!("SPINGLASS_{}", key.to_uppercase()).leak();
                argument.env(name).hide_env(true)
            }
            None => argument,
        })
    })
}

/// Completes an agent's command line by the file that it names, if any.
///
/// # Errors
/// The file can't be read, or says what no option takes: with the line, and what may be meant.
pub(crate) fn complete(
    command: &Command,
    matches: ArgMatches,
    arguments: &[OsString],
) -> Result<Completed> {
    let agent = matches.subcommand_matches(NAMES[0]);
    let file = agent.and_then(|told| told.get_one::<PathBuf>("config"));
    let (Some(told), Some(file)) = (agent, file) else {
        return Ok(Completed { matches, attributes: Vec::new() });
    };
    let settings = command.find_subcommand(NAMES[0]).context("there is a command agent")?;
    let read = read(file, settings, told).with_context(|| format!("{}", file.display()))?;
    let place = place_in(arguments).context("the command is named")?;
    let (before, after) = arguments.split_at(place + 1);
    let all = before.iter().cloned().chain(read.arguments).chain(after.iter().cloned());
    let matches = command.clone().try_get_matches_from(all);
    let matches = matches.map_err(|error| {
        let text = error.to_string();
        let said: Vec<&str> =
            text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let said = said.join(" ");
        anyhow::anyhow!("{}: {}", file.display(), said.trim_start_matches("error: "))
    })?;
    Ok(Completed { matches, attributes: read.attributes })
}

/// What each key's option was told, by whatever said so.
pub(crate) fn told(command: &Command, matches: &ArgMatches) -> Told {
    let agent = command.find_subcommand(NAMES[0]).zip(matches.subcommand_matches(NAMES[0]));
    let Some((agent, matches)) = agent else { return Told::default() };
    let told = |argument: &Arg| {
        let raw = matches.get_raw(argument.get_id().as_str())?;
        Some((key_of(argument)?, raw.map(ToOwned::to_owned).collect()))
    };
    Told(agent.get_arguments().filter_map(told).collect())
}

/// What the options were told, by their keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(BTreeMap<String, Vec<OsString>>);

impl Told {
    /// Keys of which another says something else.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let keys: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        keys.into_iter().filter(|key| self.0.get(*key) != other.0.get(*key)).cloned().collect()
    }
}

/// The file with every key, explained, and none set.
pub(crate) fn template(command: &Command) -> String {
    let mut text = String::from(
        "# Settings of a Spinglass agent: spinglass agent --config FILE\n\
         # Each is also an option (--rotate-every) and a variable (SPINGLASS_ROTATE_EVERY); the\n\
         # command line goes before the environment, and that before this file.\n",
    );
    let agent = command.find_subcommand(NAMES[0]);
    for argument in agent.into_iter().flat_map(Command::get_arguments) {
        let Some(key) = key_of(argument) else { continue };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "\n{}# {key} = {}", commented(&help), example(argument));
    }
    let _ = writeln!(
        text,
        "\n# Attributes of the agent's row to begin with.\n[{ATTRIBUTES}]\n# role = \"db\""
    );
    text
}

/// What a file says, as options that were not told otherwise.
#[derive(Debug, Default)]
struct FromFile {
    arguments: Vec<OsString>,
    attributes: Vec<(String, Value)>,
}

fn read(file: &Path, agent: &Command, told: &ArgMatches) -> Result<FromFile> {
    let text = std::fs::read_to_string(file).context("it can't be read")?;
    let table: toml::Table = text.parse()?;
    let mut read = FromFile::default();
    for (key, value) in &table {
        if key == ATTRIBUTES {
            read.attributes = attributes(value)?;
            continue;
        }
        let of_key = |argument: &&Arg| key_of(argument).as_deref() == Some(key);
        let Some(argument) = agent.get_arguments().find(of_key) else {
            bail!("line {}: there is no setting {key:?}{}", line(&text, key), nearest(agent, key));
        };
        if is_told(argument, told) || is_told_otherwise(argument, agent, told) {
            continue;
        }
        let arguments = options(argument, key, value);
        read.arguments.extend(arguments.with_context(|| format!("line {}", line(&text, key)))?);
    }
    Ok(read)
}

/// Whether the command line or the environment tells an option.
fn is_told(argument: &Arg, told: &ArgMatches) -> bool {
    let source = told.value_source(argument.get_id().as_str());
    matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// Whether they tell one that excludes it: `--no-http` where the file says `http`.
fn is_told_otherwise(argument: &Arg, agent: &Command, told: &ArgMatches) -> bool {
    let excludes = |one: &Arg, other: &Arg| {
        agent.get_arg_conflicts_with(one).iter().any(|it| it.get_id() == other.get_id())
    };
    let others = agent.get_arguments().filter(|other| is_told(other, told));
    others.into_iter().any(|other| excludes(argument, other) || excludes(other, argument))
}

/// The key of an option, if it has one.
fn key_of(argument: &Arg) -> Option<String> {
    let long = argument.get_long().filter(|long| !NO_KEYS.contains(long))?;
    Some(long.replace('-', "_"))
}

fn is_list(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Append)
}

/// A key's value as the option would be told it.
fn options(argument: &Arg, key: &str, value: &Toml) -> Result<Vec<OsString>> {
    let long = argument.get_long().unwrap_or_default();
    if matches!(argument.get_action(), ArgAction::SetTrue) {
        let Toml::Boolean(is_on) = value else { bail!("{key} is true or false") };
        return Ok(is_on.then(|| format!("--{long}").into()).into_iter().collect());
    }
    let values = match value {
        Toml::Array(values) if is_list(argument) => values.as_slice(),
        Toml::Array(_) => bail!("{key} takes one value, and no list"),
        one => std::slice::from_ref(one),
    };
    let told = values.iter().map(|value| {
        let text = match value {
            Toml::String(text) => text.clone(),
            Toml::Integer(number) => number.to_string(),
            Toml::Float(number) => number.to_string(),
            Toml::Boolean(truth) => truth.to_string(),
            Toml::Array(_) | Toml::Table(_) | Toml::Datetime(_) => {
                bail!("{key} takes a text, a number, or a list of these")
            }
        };
        Ok(format!("--{long}={text}").into())
    });
    told.collect()
}

fn attributes(value: &Toml) -> Result<Vec<(String, Value)>> {
    let table = value.as_table().context("attributes are a table: [attributes]")?;
    let told = |(name, value): (&String, &Toml)| {
        let value = attribute(value).with_context(|| format!("the attribute {name}"))?;
        Ok((name.clone(), value))
    };
    table.iter().map(told).collect()
}

fn attribute(value: &Toml) -> Result<Value> {
    Ok(match value {
        Toml::String(text) => Value::text(text),
        Toml::Integer(number) => Value::Int(*number),
        Toml::Float(number) => Value::float(*number),
        Toml::Boolean(truth) => Value::Bool(*truth),
        Toml::Array(items) => Value::list(items.iter().map(attribute).collect::<Result<Vec<_>>>()?),
        Toml::Datetime(_) | Toml::Table(_) => {
            bail!("a value is true, false, a number, a text or a list of these")
        }
    })
}

/// The line in which a key stands.
fn line(text: &str, key: &str) -> usize {
    let table = DeTable::parse(text).ok();
    let mut keys = table.iter().flat_map(|table| table.get_ref().keys());
    let start = keys.find(|it| it.get_ref() == key).map_or(0, |it| it.span().start);
    1 + text.get(..start).unwrap_or_default().matches('\n').count()
}

/// What may be meant.
fn nearest(agent: &Command, key: &str) -> String {
    let keys = agent.get_arguments().filter_map(key_of).chain([ATTRIBUTES.to_owned()]);
    let scored = keys.map(|known| (strsim::jaro_winkler(&known, key), known));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    match best {
        Some((likeness, known)) if likeness >= LIKENESS_MIN => {
            format!("; do you mean {known:?}?")
        }
        _ => String::from("; `spinglass agent --print-config` shows all"),
    }
}

/// An example of an option's value.
fn example(argument: &Arg) -> String {
    if matches!(argument.get_action(), ArgAction::SetTrue) {
        return String::from("false");
    }
    let names = argument.get_value_names().unwrap_or_default();
    let name = names.first().map_or("VALUE", |name| name.as_str());
    let default = argument.get_default_values().first().and_then(|value| value.to_str());
    let shown = default.filter(|default| !default.is_empty()).unwrap_or(name);
    let allowed: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| value.get_name().to_owned())
        .collect();
    let allowed =
        if allowed.is_empty() { String::new() } else { format!("    # {}", allowed.join(", ")) };
    if is_list(argument) { format!("[{shown:?}]{allowed}") } else { format!("{shown:?}{allowed}") }
}

/// A text as lines of comment.
fn commented(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is one from the start");
        if last.len() + 1 + word.len() > COMMENT_COLUMNS {
            lines.push(format!("# {word}"));
        } else {
            last.push(' ');
            last.push_str(word);
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}
