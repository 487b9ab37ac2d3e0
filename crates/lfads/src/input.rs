//! Options that say how to read a recording, and the recording read with them.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Result;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use data::{
    AxisOrder, DataError, LeftOut, Options, Part, Problem, Recording, TraceBlocks, Traces, Units,
};
use serde::{Serialize, Serializer};

use crate::external::ExternalArgs;
use crate::range::{self, Span};

/// How to read a recording: only what the file does not say itself.
#[derive(Clone, Debug, PartialEq, Serialize, clap::Args)]
#[command(next_help_heading = "Reading the recording")]
pub struct InputArgs {
    /// Frames per second [default: as the file says]
    #[arg(long, value_name = "HZ", value_parser = range::rate)]
    pub rate: Option<f64>,

    /// What the values are [default: as the file says]
    #[arg(long, value_enum)]
    pub units: Option<UnitsArg>,

    /// Dataset, variable, archive member or plane folder that holds the traces
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,

    /// Order of the axes, where the file does not tell; `time-neuron` and `neuron-time` of trials too, which come first
    #[arg(long, value_name = "AXES", value_parser = orders())]
    #[serde(serialize_with = "named")]
    pub order: Option<AxisOrder>,

    /// Share of the neuropil's fluorescence to subtract [default: as the file says, else 0.7 of suite2p, IBL, and NWB whose series is not called corrected]
    #[arg(long, value_name = "SHARE", value_parser = range::share)]
    pub neuropil: Option<f32>,

    /// Also the regions that iscell rejects
    #[arg(long)]
    pub all_rois: bool,

    /// suite2p: also the frames that it flagged, badframes of ops.npy
    #[arg(long)]
    pub keep_flagged: bool,

    /// File of frames that are no data: a number a frame (.npy or text), 1 where there is no data, or
    /// a list of frames, counted from 0; or such a number for each frame and neuron, or each trial and frame
    #[arg(long, value_name = "FILE")]
    #[serde(serialize_with = "lossy")]
    pub mask: Option<PathBuf>,

    /// Neurons to leave out, counted from 0, separated by commas; `silent`: all that never change
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub leave_out: Vec<LeaveOut>,

    /// Only from this second on; in an array of trials, of every trial
    #[arg(long, value_name = "S", value_parser = range::moment)]
    pub from: Option<f64>,

    /// Only up to this second
    #[arg(long, value_name = "S", value_parser = range::moment)]
    pub to: Option<f64>,

    /// Only these frames, counted from 0, the end left out: 100:6000, 100: or :6000
    #[arg(long, value_name = "A:B", value_parser = range::span, conflicts_with_all = ["from", "to"])]
    pub frames: Option<Span>,

    /// Do not cut the recording into the trials of its table
    #[arg(long)]
    pub continuous: bool,
}

/// A path as text; what is no Unicode is replaced.
#[allow(clippy::ref_option, reason = "serde hands a reference")]
fn lossy<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = path.as_ref().map(|path| path.to_string_lossy());
    text.serialize(serializer)
}

/// An order by its name.
#[allow(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference"
)]
fn named<S: Serializer>(order: &Option<AxisOrder>, serializer: S) -> Result<S::Ok, S::Error> {
    order.map(AxisOrder::name).serialize(serializer)
}

/// Neurons to leave out, on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaveOut {
    /// All that are NaN or of one value in every frame.
    Silent,
    /// One, by its place in the file.
    #[serde(untagged)]
    Neuron(usize),
}

impl FromStr for LeaveOut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "silent" => Ok(Self::Silent),
            number => number
                .parse()
                .map(Self::Neuron)
                .map_err(|_| "it must be neurons counted from 0, or `silent`".to_owned()),
        }
    }
}

/// Units on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum UnitsArg {
    /// Raw fluorescence
    F,
    /// Relative fluorescence, dF/F
    Dff,
    /// Spike counts per frame
    Counts,
}

/// Orders of axes by name; of two axes the first two.
fn orders() -> impl TypedValueParser<Value = AxisOrder> {
    PossibleValuesParser::new(AxisOrder::ALL.map(AxisOrder::name))
        .map(|name| AxisOrder::named(&name).expect("the name of an order"))
}

impl InputArgs {
    /// Reads `path`, leaves out what is to be left out, and cuts trials where there is a table; says
    /// on the log how the file was understood.
    ///
    /// # Errors
    /// One line naming file, dataset, what was found and what to do.
    pub fn open(&self, path: &Path) -> Result<Recording> {
        let recording = self.open_quietly(path)?;
        say_notes(&recording.notes);
        Ok(recording)
    }

    /// The same with what is known beside it, cut alike.
    ///
    /// # Errors
    /// Those of [`Self::open`] and [`ExternalArgs::open`].
    pub fn open_beside(
        &self,
        path: &Path,
        external: &ExternalArgs,
    ) -> Result<(Recording, Option<Recording>)> {
        let recording = self.uncut(path)?;
        let inputs = external.open(&recording, self.options().part)?;
        let (recording, inputs) = (
            self.cut(recording)?,
            inputs.map(|inputs| self.cut(inputs)).transpose()?,
        );
        say_notes(&recording.notes);
        Ok((recording, inputs))
    }

    /// The same, saying nothing.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_quietly(&self, path: &Path) -> Result<Recording> {
        self.cut(self.uncut(path)?)
    }

    fn uncut(&self, path: &Path) -> Result<Recording> {
        let opened = Recording::open(path, &self.options());
        let rest = opened.and_then(|recording| self.left_out().of(recording));
        rest.map_err(with_option_names)
    }

    /// Into trials, where there is a table.
    fn cut(&self, recording: Recording) -> Result<Recording> {
        let has_table = !recording.trial_table.is_empty();
        match recording.traces {
            Traces::Continuous(_) if has_table && !self.continuous => {
                let cut = recording.cut_trials();
                cut.map_err(|error| {
                    anyhow::anyhow!("{error} (--continuous: read on through the trials)")
                })
            }
            _ => Ok(recording),
        }
    }

    /// What is read, of the recording at `path`: not to be written over.
    pub fn files<'a>(&'a self, path: &'a Path) -> Vec<&'a Path> {
        let mask = self.mask.as_deref();
        std::iter::once(path).chain(mask).collect()
    }

    /// The same for the reading library.
    pub fn options(&self) -> Options {
        Options {
            rate_hz: self.rate,
            units: self.units.map(|units| match units {
                UnitsArg::F => Units::Fluorescence,
                UnitsArg::Dff => Units::DeltaFOverF,
                UnitsArg::Counts => Units::SpikeCounts,
            }),
            dataset: self.dataset.clone(),
            order: self.order,
            neuropil: self.neuropil,
            cells_only: !self.all_rois,
            flagged_frames: self.keep_flagged,
            mask: self.mask.clone(),
            part: Part {
                from_s: self.from,
                to_s: self.to,
                first_frame: self.frames.and_then(|frames| frames.first),
                end_frame: self.frames.and_then(|frames| frames.end),
            },
        }
    }

    /// What is not wanted of it.
    fn left_out(&self) -> LeftOut {
        let number = |out: &LeaveOut| match *out {
            LeaveOut::Neuron(neuron) => Some(neuron),
            LeaveOut::Silent => None,
        };
        LeftOut {
            neurons: self.leave_out.iter().filter_map(number).collect(),
            silent: self.leave_out.contains(&LeaveOut::Silent),
        }
    }

    /// The neurons that are wanted of a recording that is read in blocks, which says on the log how it was understood.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub fn kept_of_blocks(&self, blocks: &mut TraceBlocks) -> Result<Vec<usize>> {
        let left_out = self.left_out();
        let kept = left_out.kept_of_blocks(&self.options(), blocks);
        say_notes(blocks.notes());
        kept.map_err(with_option_names)
    }
}

/// Says how the file was understood.
fn say_notes(notes: &[String]) {
    for note in notes {
        tracing::info!("{}", with_flags(note));
    }
}

/// A text of the library's with its options under their names on the command line.
pub fn with_flags(text: &str) -> String {
    let flags = [
        ("`order`", "--order"),
        ("`rate`", "--rate"),
        ("`dataset`", "--dataset"),
        ("`neuropil`", "--neuropil"),
        ("`cells_only`", "--all-rois"),
        ("`flagged_frames`", "--keep-flagged"),
        ("`mask`", "--mask"),
    ];
    let replaced = |text: String, (option, flag): (&str, &str)| text.replace(option, flag);
    flags.into_iter().fold(text.to_owned(), replaced)
}

/// The library's message and the option that it asks for.
pub fn with_option_names(error: DataError) -> anyhow::Error {
    let hint = option_names(&error.problem);
    anyhow::anyhow!("{error}{hint}")
}

/// The options that mend a problem, in brackets; nothing where there are none.
pub fn option_names(problem: &Problem) -> String {
    let hint = match problem {
        Problem::MissingRate
        | Problem::Rates { .. }
        | Problem::Timestamps { .. }
        | Problem::CoarseTimes { .. }
        | Problem::NotSeconds { .. }
        | Problem::SlowRate { .. }
        | Problem::Irregular { .. }
        | Problem::SpikeTimes { .. }
        | Problem::Zarr { .. } => "--rate HZ",
        Problem::Disagree { b, .. } if b.contains("timestamps") => {
            "--rate HZ reads on without the times"
        }
        Problem::AxisOrder { plausible, .. } => {
            let orders: Vec<String> = plausible.iter().map(ToString::to_string).collect();
            return format!(" (--order {})", orders.join(", or --order "));
        }
        Problem::Movie { .. } => {
            "--order trial-time-neuron, trial-neuron-time, neuron-trial-time, …"
        }
        Problem::Ambiguous { .. }
        | Problem::NotFound { .. }
        | Problem::Unlikely { .. }
        | Problem::OtherSeries { .. }
        | Problem::OnlyCounters { .. } => "--dataset NAME",
        Problem::NotStreamed => "leave --blocks out",
        Problem::NoCells { .. }
        | Problem::NoneAccepted { .. }
        | Problem::MissingMember {
            name: "iscell.npy", ..
        } => "--all-rois",
        Problem::MissingMember {
            name: "Fneu.npy", ..
        } => "--neuropil 0",
        Problem::Silent { neurons, .. } => {
            let numbers: Vec<String> = neurons.iter().map(|n| n.number.to_string()).collect();
            return format!(
                " (--leave-out {}, or --leave-out silent)",
                numbers.join(",")
            );
        }
        Problem::Counter { neuron, .. } => {
            return format!(" (--leave-out {neuron})");
        }
        Problem::NoSuchNeuron { .. } | Problem::AllLeftOut { .. } => "--leave-out",
        Problem::Mask { .. } => "--mask FILE",
        Problem::Part { .. } => "--from, --to, --frames",
        Problem::LooksLikeCounts { .. } => "--units f, or lfads fit --model lfads --units counts",
        Problem::UnitsDoNotSuit { .. } | Problem::NotACount { .. } => {
            "--units; lfads fit --model lfads for spike counts, any other for fluorescence"
        }
        _ => return String::new(),
    };
    format!(" ({hint})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neurons_as_they_are_typed() {
        assert_eq!("3".parse(), Ok(LeaveOut::Neuron(3)));
        assert_eq!("silent".parse(), Ok(LeaveOut::Silent));
        assert!("dead".parse::<LeaveOut>().is_err());
    }

    #[test]
    fn options_of_the_library_go_by_their_flags() {
        assert_eq!(with_flags("say so with `order`"), "say so with --order");
    }

    #[derive(clap::Parser)]
    struct Reading {
        #[command(flatten)]
        input: InputArgs,
    }

    #[test]
    fn every_option_reaches_the_reader() {
        let of = |line: &str| {
            let reading = <Reading as clap::Parser>::parse_from(line.split(' '));
            reading.input.options()
        };
        let plain = of("program");
        assert!(plain.cells_only && !plain.flagged_frames);
        assert!(plain.neuropil.is_none() && plain.dataset.is_none());
        let said = of(
            "program --rate 7 --units dff --dataset d --order neuron-time --neuropil 0.5 \
             --all-rois --keep-flagged --mask m --frames 3:9",
        );
        assert!(!said.cells_only && said.flagged_frames && said.mask.is_some());
        assert_eq!((said.rate_hz, said.neuropil), (Some(7.0), Some(0.5)));
        assert_eq!(said.dataset.as_deref(), Some("d"));
        assert_eq!(said.units, Some(Units::DeltaFOverF));
        assert_eq!(said.order, Some(AxisOrder::NeuronTime));
        assert_eq!(
            (said.part.first_frame, said.part.end_frame),
            (Some(3), Some(9))
        );
    }
}
