//! Reading a recording as a whole takes no more than three times the memory of its traces.
#![cfg(all(feature = "csv", feature = "hdf5", feature = "zip"))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use data::{Options, Recording, write_npy};
use hdf5_writer::{DatasetBuilder, Hdf5Builder, WriteOptions};
use ndarray::Array2;

/// The system's allocator, and how many bytes are taken, now and at most.
struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

impl Counting {
    fn take(n_bytes: usize) {
        let taken = TAKEN.fetch_add(n_bytes, Relaxed) + n_bytes;
        MOST.fetch_max(taken, Relaxed);
    }
}

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::take(layout.size());
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::take(layout.size());
        // SAFETY: as the caller says.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller says.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // As if all were copied.
        Self::take(size);
        TAKEN.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller says.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that reading takes, in sizes of the traces.
fn peak(path: &Path, shape: (usize, usize)) -> f64 {
    let options = Options {
        rate_hz: Some(30.0),
        ..Options::default()
    };
    let before = TAKEN.load(Relaxed);
    MOST.store(before, Relaxed);
    let recording = Recording::open(path, &options).unwrap();
    let taken = MOST.load(Relaxed) - before;
    assert_eq!(recording.stretches()[0].dim(), shape);
    taken as f64 / (size_of::<f32>() * shape.0 * shape.1) as f64
}

/// Like fluorescence: no column is a counter.
fn traces(n_frames: usize, n_neurons: usize) -> Array2<f32> {
    Array2::from_shape_fn((n_frames, n_neurons), |(frame, neuron)| {
        let place = (frame * 13 + neuron * 7919) as f64;
        ((place * 12.9898).sin() * 43_758.545).fract() as f32
    })
}

fn wide_table(traces: &Array2<f32>) -> String {
    let mut text = "time_s".to_owned();
    for neuron in 0..traces.ncols() {
        write!(text, ",cell_{neuron}").unwrap();
    }
    for (frame, row) in traces.outer_iter().enumerate() {
        write!(text, "\n{:.4}", frame as f64 / 30.0).unwrap();
        for value in row {
            write!(text, ",{value:.6}").unwrap();
        }
    }
    text
}

/// A line a value, neuron by neuron or frame by frame.
fn list(traces: &Array2<f32>, by_neuron: bool) -> String {
    let mut text = "unit,time_s,value\n".to_owned();
    let mut line = |frame: usize, neuron: usize| {
        let time_s = frame as f64 / 30.0;
        let value = traces[[frame, neuron]];
        writeln!(text, "{neuron},{time_s:.4},{value:.6}").unwrap();
    };
    let (n_frames, n_neurons) = traces.dim();
    for outer in 0..if by_neuron { n_neurons } else { n_frames } {
        for inner in 0..if by_neuron { n_frames } else { n_neurons } {
            match by_neuron {
                true => line(inner, outer),
                false => line(outer, inner),
            }
        }
    }
    text
}

fn write_hdf5(path: &Path, traces: &Array2<f32>, chunks: Option<[u64; 2]>) {
    let values: Vec<f64> = traces.iter().map(|&v| f64::from(v)).collect();
    let shape = [traces.nrows() as u64, traces.ncols() as u64];
    let dataset = DatasetBuilder::typed_data("dff", shape, &values).unwrap();
    let dataset = match chunks {
        Some(chunks) => dataset.chunked(chunks),
        None => dataset,
    };
    let plan = Hdf5Builder::new().dataset(dataset).into_plan().unwrap();
    std::fs::write(path, plan.encode(WriteOptions::default()).unwrap()).unwrap();
}

/// A .npy file of 64-bit floats.
fn npy_of_doubles(traces: &Array2<f32>) -> Vec<u8> {
    let shape = traces.dim();
    let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape:?}, }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(format!("{header:117}\n").as_bytes());
    bytes.extend(traces.iter().flat_map(|&v| f64::from(v).to_le_bytes()));
    bytes
}

/// One test, as other threads would take memory too.
#[test]
fn three_times_the_traces_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let (wide, narrow) = (traces(12_000, 100), traces(400_000, 3));
    let mut peaks = Vec::new();
    let mut see = |what, traces: &Array2<f32>| peaks.push((what, peak(&path, traces.dim())));

    std::fs::write(&path, wide_table(&wide)).unwrap();
    see("a wide table", &wide);
    for (what, by_neuron) in [("a list of neurons", true), ("a list of frames", false)] {
        std::fs::write(&path, list(&wide, by_neuron)).unwrap();
        see(what, &wide);
    }
    write_npy(&path, narrow.view()).unwrap();
    see(".npy of few neurons", &narrow);
    std::fs::write(&path, npy_of_doubles(&narrow)).unwrap();
    see(".npy of doubles", &narrow);
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let member = zip::write::SimpleFileOptions::default();
    archive.start_file("dff.npy", member).unwrap();
    archive.write_all(&npy_of_doubles(&wide)).unwrap();
    archive.finish().unwrap();
    see(".npz of doubles", &wide);
    for (what, chunks) in [
        ("doubles in HDF5", None),
        ("doubles in chunks of HDF5", Some([500, 40])),
        ("doubles in HDF5, a chunk a neuron", Some([12_000, 1])),
    ] {
        write_hdf5(&path, &wide, chunks);
        see(what, &wide);
    }

    assert!(peaks.iter().all(|(_, peak)| *peak <= 3.0), "{peaks:?}");
}
