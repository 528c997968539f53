//! `spinglass lab run`: scenarios, with everything that they leave behind.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Serialize;
use spinglass_lab::experiment::{Experiment, Results};
use spinglass_lab::report::{Bar, Report};
use spinglass_lab::run;
use spinglass_lab::scenario::{BUILT_IN, Extent, parse};

use crate::output::{Format, Verdict, table};

/// Options of `lab run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  spinglass lab run                                 which scenarios there are
  spinglass lab run figure1 --small                 a little of everything, in seconds
  spinglass lab run figure1                         all of it, in minutes: results/figure1
  spinglass lab run mine.toml --output /tmp/mine    a scenario of your own

What is done is kept in runs.csv, line by line: a run that was stopped goes on where it was, unless
the scenario has changed; after a change of the program say --again. The report is report.html, and
report.md with its drawings.")]
pub(crate) struct Run {
    /// A scenario's name, or its file
    scenario: Option<String>,
    /// Run a little of everything
    #[arg(long)]
    small: bool,
    /// Where results go [default: results/NAME, or results/NAME-small]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Runs at a time [default: as many as there are processors]
    #[arg(long)]
    threads: Option<usize>,
    /// Run again what is done
    #[arg(long)]
    again: bool,
}

/// What `lab run --json` prints.
#[derive(Debug, Serialize)]
struct Told<'a> {
    scenario: String,
    small: bool,
    runs: usize,
    output: String,
    bars: BTreeMap<&'a str, BarTold<'a>>,
}

#[derive(Debug, Serialize)]
struct BarTold<'a> {
    #[serde(flatten)]
    bar: &'a Bar,
    holds: bool,
}

/// A scenario's name and text.
struct Chosen {
    name: String,
    text: String,
}

impl Chosen {
    /// One that is built in, or a file's.
    fn find(scenario: &str) -> Result<Self> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == scenario) {
            return Ok(Self { name: (*name).into(), text: (*text).into() });
        }
        let path = Path::new(scenario);
        if path.extension().is_none_or(|it| it != "toml") {
            bail!("there is no scenario {scenario}: say {}, or a file that ends in .toml", names());
        }
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {scenario}"))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, text })
    }
}

fn names() -> String {
    BUILT_IN.map(|(name, _)| name).join(", ")
}

/// Runs a scenario, or says which there are.
///
/// # Errors
/// There is none of that name, it makes no sense, or results can't be written.
pub(super) fn run_scenario(options: &Run, format: Format) -> Result<Verdict> {
    let Some(scenario) = &options.scenario else {
        format.print(&BUILT_IN.map(|(name, _)| name), |_| format!("scenarios: {}\n", names()))?;
        return Ok(Verdict::Good);
    };
    let chosen = Chosen::find(scenario)?;
    let extent = if options.small { Extent::Small } else { Extent::Full };
    let experiment = parse(&chosen.text, extent).with_context(|| scenario.clone())?;
    let suffix = if options.small { "-small" } else { "" };
    let output = options.output.clone();
    let output = output.unwrap_or_else(|| Path::new("results").join(chosen.name.clone() + suffix));
    let results = run_all(options, &chosen, &*experiment, &output, format)?;
    let report = experiment.report(&results);
    let how = format!(
        "Made by `spinglass lab run {scenario}{}`: the same seeds give the same numbers.",
        if options.small { " --small" } else { "" }
    );
    keep(&report, &chosen.name, &how, &output)?;
    tell(&report, &chosen, options.small, results.runs().count(), &output, format)?;
    Ok(Verdict::from(report.bars.iter().all(Bar::holds)))
}

/// Runs what is not done; what is goes on where it was.
fn run_all(
    options: &Run,
    chosen: &Chosen,
    experiment: &dyn Experiment,
    output: &Path,
    format: Format,
) -> Result<Results> {
    let within = |error: io::Error| format!("cannot write in {}: {error}", output.display());
    fs::create_dir_all(output).map_err(within).map_err(anyhow::Error::msg)?;
    let (copy, path) = (output.join("scenario.toml"), output.join("runs.csv"));
    // Of the same place on a figure, a small run measures less than a full one.
    let text = format!("# {}\n{}", if options.small { "small" } else { "full" }, chosen.text);
    let is_same = fs::read_to_string(&copy).is_ok_and(|before| before == text);
    let done = match File::open(&path) {
        Ok(file) if is_same && !options.again => run::read(file).unwrap_or_default(),
        _ => Results::default(),
    };
    fs::write(&copy, text)?;
    // Anew, so that a line that was cut off is gone.
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&path)?;
    file.write_all(run::HEADER.as_bytes())?;
    for (job, measured) in done.runs() {
        run::write(&mut file, job, measured)?;
    }
    let threads = options.threads.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
    });
    let bar = format.bar(experiment.jobs().len() as u64);
    bar.set_position(done.runs().count() as u64);
    let results = run::run(experiment, done, threads, |job, measured| {
        run::write(&mut file, job, measured)?;
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(results)
}

fn keep(report: &Report, name: &str, how: &str, output: &Path) -> Result<()> {
    let drawings = report.drawings(name).map_err(anyhow::Error::msg)?;
    for (file, svg) in drawings {
        fs::write(output.join(file), svg)?;
    }
    fs::write(output.join("report.md"), report.markdown(name, how))?;
    fs::write(output.join("report.html"), report.page(name, how).map_err(anyhow::Error::msg)?)?;
    Ok(())
}

fn tell(
    report: &Report,
    chosen: &Chosen,
    small: bool,
    runs: usize,
    output: &Path,
    format: Format,
) -> Result<()> {
    let told = Told {
        scenario: chosen.name.clone(),
        small,
        runs,
        output: output.display().to_string(),
        bars: report
            .bars
            .iter()
            .map(|bar| (bar.name.as_str(), BarTold { bar, holds: bar.holds() }))
            .collect(),
    };
    format.print(&told, |told| {
        let rows: Vec<Vec<String>> = report
            .bars
            .iter()
            .map(|bar| {
                let verdict = if bar.holds() { "holds" } else { "DOES NOT HOLD" };
                vec![bar.name.clone(), format!("{:.4}", bar.value), bar.wanted(), verdict.into()]
            })
            .collect();
        let rows = table(&["what", "measured", "was to be", ""], &rows);
        let notes: String = report.notes.iter().map(|note| format!("  {note}\n")).collect();
        format!("{}\n{notes}{rows}{} runs, in {}\n", report.title, told.runs, told.output)
    })
}
