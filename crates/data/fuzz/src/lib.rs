//! What every fuzz target does: bytes become a file, and the file is read in every way there is.

use std::ops::Range;
use std::path::PathBuf;

use data::{Arrays, AxisOrder, DataError, Dataset, Options, Recording, TraceBlocks};
use libfuzzer_sys::Corpus;
use ndarray::{ArrayView2, s};
use tempfile::TempDir;

/// Begins every .npy file.
pub const NPY: &[u8] = b"\x93NUMPY";
/// Begins every HDF5 file without a user block.
pub const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";
/// Files of a suite2p folder, in the order in which an input holds them.
pub const SUITE2P: [&str; 4] = ["F.npy", "Fneu.npy", "iscell.npy", "ops.npy"];

/// Files of one of the International Brain Laboratory's folders.
pub const ALF: [&str; 5] = [
    "mpci.ROIActivityF.npy",
    "mpci.ROINeuropilActivityF.npy",
    "mpci.times.npy",
    "mpci.badFrames.npy",
    "mpciROIs.mpciROITypes.npy",
];

/// A recording on disk, removed when dropped.
pub struct Scratch {
    folder: TempDir,
    path: PathBuf,
}

impl Scratch {
    /// A file that holds `bytes`.
    ///
    /// # Panics
    /// If the system's folder of temporary files cannot be written to.
    pub fn file(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("recording");
        std::fs::write(&path, bytes).expect("a temporary file");
        Self { folder, path }
    }

    /// A folder of .npy files that lie end to end in `bytes`, the last ones perhaps missing.
    ///
    /// # Panics
    /// If the system's folder of temporary files cannot be written to.
    pub fn folder(names: &[&str], bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let starts: Vec<usize> = (0..bytes.len())
            .filter(|&place| bytes[place..].starts_with(NPY))
            .collect();
        let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
        for ((name, &start), end) in names.iter().zip(&starts).zip(ends) {
            std::fs::write(folder.path().join(name), &bytes[start..end]).expect("a temporary file");
        }
        let path = folder.path().to_owned();
        Self { folder, path }
    }

    /// Opens the recording with and without what a caller may state, whole and in blocks.
    ///
    /// # Panics
    /// On any fault of the readers.
    pub fn open(&self) -> Corpus {
        let every = [
            Options::default(),
            given(AxisOrder::TimeNeuron),
            given(AxisOrder::NeuronTime),
        ];
        for options in &every {
            self.open_with(options);
            // Of several candidates each.
            for dataset in self.candidates(options) {
                let dataset = Some(dataset);
                self.open_with(&Options {
                    dataset,
                    ..options.clone()
                });
            }
        }
        Corpus::Keep
    }

    /// Opens the recording whole and in blocks, which must agree.
    fn open_with(&self, options: &Options) {
        let whole = self.checked(Recording::open(&self.path, options));
        if let Some(recording) = &whole {
            assert_sound(recording);
        }
        if let Some((blocks, is_sound)) = self.blocks(options) {
            // Where missing frames are filled in, or trials told apart, blocks are none; a counter or a time, which the
            // whole is without, their check refuses.
            if let Some(recording) = &whole {
                let has_all = blocks.len() == recording.n_neurons();
                assert!(has_all || !is_sound, "neurons in blocks and whole");
                if has_all {
                    assert_agree(recording, &blocks);
                }
            }
        }
    }

    /// Every trace, `[neuron][time]`, read two neurons at a time, and whether the check of blocks takes them.
    fn blocks(&self, options: &Options) -> Option<(Vec<Vec<f32>>, bool)> {
        let blocks = self.checked(TraceBlocks::open(&self.path, options, 2))??;
        let (n_neurons, n_bins) = (blocks.n_neurons(), blocks.n_bins());
        let mut check = self.checked(blocks.check());
        let mut traces = Vec::new();
        for block in blocks {
            let block = self.checked(block)?;
            for (neuron, trace) in (block.first_neuron..).zip(block.traces.outer_iter()) {
                check = check.and_then(|mut check| {
                    let seen = self.checked(check.see(neuron, trace));
                    seen.map(|_| check)
                });
            }
            traces.extend(block.traces.outer_iter().map(|trace| trace.to_vec()));
        }
        assert_eq!(traces.len(), n_neurons);
        assert!(traces.iter().all(|trace| trace.len() == n_bins));
        let is_sound = check.is_some_and(|check| self.checked(check.finish()).is_some());
        Some((traces, is_sound))
    }

    /// Names that an error of ambiguity lists.
    fn candidates(&self, options: &Options) -> Vec<String> {
        let Err(error) = Recording::open(&self.path, options) else {
            return Vec::new();
        };
        match *error.problem {
            data::Problem::Ambiguous { found, .. } => {
                found.split(", ").take(4).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Reads some neurons' traces, which are those of the whole recording.
    ///
    /// # Panics
    /// On any fault of the readers.
    pub fn read_neurons(&self, neurons: Range<usize>) {
        for order in [AxisOrder::TimeNeuron, AxisOrder::NeuronTime] {
            let options = given(order);
            let Some(mut blocks) = self
                .checked(TraceBlocks::open(&self.path, &options, 1))
                .flatten()
            else {
                continue;
            };
            let read = self.checked(blocks.read(neurons.clone()));
            let whole = self.checked(Recording::open(&self.path, &options));
            // Counters and times are no neurons of the whole.
            let whole = whole.filter(|whole| whole.n_neurons() == blocks.n_neurons());
            if let (Some(read), Some(whole)) = (read, whole) {
                let kept = whole.stretches()[0]
                    .slice(s![.., neurons.clone()])
                    .to_owned();
                let rows: Vec<_> = read.outer_iter().map(|trace| trace.to_vec()).collect();
                assert_same(&rows, kept.view());
            }
        }
    }

    /// Reads the file as results: named arrays.
    ///
    /// # Panics
    /// On any fault of the reader.
    pub fn read_arrays(&self) {
        self.checked(Arrays::read(&self.path));
    }

    /// Reads the file as a benchmark.
    ///
    /// # Panics
    /// On any fault of the reader.
    pub fn read_benchmark(&self) {
        if let Some(dataset) = self.checked(Dataset::read(&self.path)) {
            dataset.validate().expect("what was read is valid");
        }
    }

    /// What was read, or an error that is one line and names the file.
    fn checked<T>(&self, read: Result<T, DataError>) -> Option<T> {
        read.map_err(|error| {
            let said = error.to_string();
            let names_it = said.starts_with(&self.folder.path().display().to_string());
            assert!(names_it && !said.contains('\n'), "{said:?}");
        })
        .ok()
    }
}

fn assert_sound(recording: &Recording) {
    assert!(recording.dt_s.is_finite() && recording.dt_s > 0.0);
    for stretch in recording.stretches() {
        assert_eq!(stretch.ncols(), recording.n_neurons());
        assert!(!stretch.is_empty() && stretch.iter().all(|v| !v.is_infinite()));
    }
    let _ = recording.cut_trials();
    let _ = recording.check(data::Likelihood::Poisson);
    let _ = recording.check(data::Likelihood::Gaussian);
}

fn assert_agree(recording: &Recording, blocks: &[Vec<f32>]) {
    match recording.stretches()[..] {
        [trace] => assert_same(blocks, trace),
        ref trials => panic!("blocks of a recording with {} trials", trials.len()),
    }
}

/// The same values, `[neuron][time]` and `[time, neuron]`; NaN is NaN.
fn assert_same(blocks: &[Vec<f32>], whole: ArrayView2<'_, f32>) {
    assert_eq!(blocks.len(), whole.ncols(), "neurons in blocks and whole");
    for (block, column) in blocks.iter().zip(whole.columns()) {
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        assert_eq!(block.len(), column.len(), "frames in blocks and whole");
        assert!(block.iter().zip(column).all(same));
    }
}

/// What a caller may state.
fn given(order: AxisOrder) -> Options {
    Options {
        rate_hz: Some(8.0),
        order: Some(order),
        cells_only: false,
        neuropil: Some(0.0),
        ..Options::default()
    }
}
