//! A recording deconvolved into a file: whole, a trace at a time, or read in blocks.

use std::borrow::Cow;
use std::path::Path;

use anyhow::{Context, Result};
use calcium::CalciumError;
use data::{Arrays, Recording, TraceBlocks, TraceStream, Traces, Units};
use ndarray::Array1;
use rayon::prelude::*;

use super::{Deconvolution, Method, Solved};
use crate::inference::heading;
use crate::layout::Layout;
use crate::neurons::{Told, each_neuron, neuron_in, neuron_of};

/// What is being done to each neuron.
const DECONVOLVED: &str = "neurons deconvolved";

impl Deconvolution {
    /// Deconvolves `recording` into the file `output`; of one long trace a neuron, what was found is written before the next
    /// neurons are looked at. What comes back has the numbers of each neuron, and perhaps its traces.
    ///
    /// # Errors
    /// A trace that the method cannot solve, naming the neuron; a file that cannot be written.
    pub fn write(&self, recording: &Recording, output: &Path) -> Result<Vec<Solved>> {
        if matches!(recording.traces, Traces::Continuous(_)) && TraceStream::suits(output) {
            return self.stream(recording, output);
        }
        let layout = Layout::new(recording);
        let starts = layout.starts();
        let solved = each_neuron(recording, DECONVOLVED, |neuron| {
            self.solve(&layout.join(recording, neuron), &starts)
        })?;
        let mut results = heading(&recording.path, recording.dt_s, &recording.neuron_ids);
        for (place, (name, unit)) in self.arrays(self.unit()).into_iter().enumerate() {
            let traces = solved.iter().map(|solved| solved.traces[place].as_slice());
            results.insert(name, unit, layout.split(traces).into_dyn());
        }
        self.insert_numbers(&mut results, &solved);
        results.write_for(recording, output)?;
        Ok(solved)
    }

    fn stream(&self, recording: &Recording, output: &Path) -> Result<Vec<Solved>> {
        let trace = recording.stretches()[0];
        let ids = &recording.neuron_ids;
        let mut out = Stream::new(self, output, trace.nrows(), ids.len())?;
        let neurons: Vec<usize> = (0..ids.len()).collect();
        out.solve(
            &neurons,
            |&neuron| Cow::Owned(trace.column(neuron).to_vec()),
            |&neuron| neuron_of(recording, neuron),
        )?;
        out.finish(&recording.path, ids)
    }

    /// The same of the neurons `kept`, in ascending order, of the recording that `blocks` read, in memory of the size of a
    /// block.
    ///
    /// # Errors
    /// Those of [`Self::write`]; what the blocks hold that no fluorescence is, as [`data::DataError`].
    pub fn write_blocks(
        &self,
        blocks: TraceBlocks,
        kept: &[usize],
        output: &Path,
    ) -> Result<Vec<Solved>> {
        let (path, ids) = (blocks.path().to_owned(), blocks.neuron_ids().to_vec());
        let kept_ids: Vec<String> = kept.iter().map(|&neuron| ids[neuron].clone()).collect();
        let mut out = Stream::new(self, output, blocks.n_bins(), kept.len())?;
        let mut check = blocks.check()?;
        for block in blocks {
            let block = block?;
            let traces = (block.first_neuron..).zip(block.traces.outer_iter());
            let traces: Vec<_> = traces
                .filter(|(neuron, _)| kept.binary_search(neuron).is_ok())
                .collect();
            let mut sound = true;
            for (neuron, trace) in &traces {
                sound = check.see(*neuron, trace.view())?;
            }
            // The rest is only looked through, so that all silent neurons are named at once.
            if !sound {
                continue;
            }
            out.solve(
                &traces,
                |(_, trace)| {
                    trace
                        .as_slice()
                        .map_or_else(|| Cow::Owned(trace.to_vec()), Cow::Borrowed)
                },
                |&(neuron, _)| neuron_in(&path, neuron, &ids[neuron]),
            )?;
        }
        check.finish()?;
        out.finish(&path, &kept_ids)
    }

    /// Adds the numbers of each neuron, `[neuron]`, and what they count.
    fn insert_numbers(&self, results: &mut Arrays, solved: &[Solved]) {
        for (place, (name, unit)) in self.numbers(self.unit()).into_iter().enumerate() {
            let values = solved.iter().map(|neuron| neuron.numbers[place] as f32);
            results.insert(name, unit, values.collect::<Array1<f32>>().into_dyn());
        }
        if self.method == Method::Network {
            let n_absolute = solved.iter().filter(|n| n.remarks.is_absolute).count();
            let counts = match n_absolute {
                0 => "relative",
                n if n == solved.len() => "absolute",
                _ => "absolute where counts_are_absolute is 1, else relative",
            };
            results.texts.insert("counts".into(), counts.into());
        }
    }

    /// Of the traces.
    fn unit(&self) -> &'static str {
        match self.units {
            Some(Units::DeltaFOverF) => "dF/F",
            Some(_) => "F",
            None => "",
        }
    }
}

/// Results that are written a neuron at a time, of which only the numbers are kept.
struct Stream<'a> {
    deconvolution: &'a Deconvolution,
    out: TraceStream,
    told: Told,
    solved: Vec<Solved>,
}

impl<'a> Stream<'a> {
    fn new(
        deconvolution: &'a Deconvolution,
        output: &Path,
        n_bins: usize,
        n_neurons: usize,
    ) -> Result<Self> {
        let arrays = deconvolution.arrays(deconvolution.unit());
        Ok(Self {
            deconvolution,
            out: TraceStream::create(output, &arrays, [n_bins, n_neurons])?,
            told: Told::of(DECONVOLVED, n_neurons),
            solved: Vec::with_capacity(n_neurons),
        })
    }

    /// Deconvolves the `trace` of each neuron and appends what was found: no more results in memory than are made at a time,
    /// as traces may be long. An error has the neuron's `name`.
    fn solve<T: Sync>(
        &mut self,
        neurons: &[T],
        trace: impl Fn(&T) -> Cow<'_, [f32]> + Sync,
        name: impl Fn(&T) -> String,
    ) -> Result<()> {
        let deconvolution = self.deconvolution;
        for neurons in neurons.chunks(rayon::current_num_threads()) {
            let solve = |neuron| deconvolution.solve(&trace(neuron), &[0]);
            let solved: Vec<Result<Solved, CalciumError>> = neurons.par_iter().map(solve).collect();
            for (neuron, solved) in neurons.iter().zip(solved) {
                self.append(solved.with_context(|| name(neuron))?)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, mut solved: Solved) -> Result<()> {
        for (array, trace) in solved.traces.iter().enumerate() {
            self.out.append(array, trace)?;
        }
        solved.traces = Vec::new();
        self.solved.push(solved);
        self.told.one_more();
        Ok(())
    }

    fn finish(self, path: &Path, ids: &[String]) -> Result<Vec<Solved>> {
        let mut results = heading(path, self.deconvolution.dt_s, ids);
        self.deconvolution
            .insert_numbers(&mut results, &self.solved);
        self.out.finish(&results)?;
        Ok(self.solved)
    }
}
