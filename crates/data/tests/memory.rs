//! Reading a recording as a whole takes no more than three times the memory of its traces.
#![cfg(all(feature = "csv", feature = "hdf5", feature = "zip"))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use data::{Options, Recording, write_npy};
use hdf5_writer::{
    AttributeBuilder, ByteOrder, CompoundField, DatasetBuilder, Datatype, Hdf5Builder, WriteOptions,
};
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

/// The most memory that reading takes, in sizes of the table as 32-bit floats: of the traces, and of an index or
/// a time beside them.
fn peak(path: &Path, shape: (usize, usize)) -> f64 {
    let options = Options {
        rate_hz: Some(30.0),
        ..Options::default()
    };
    let before = TAKEN.load(Relaxed);
    MOST.store(before, Relaxed);
    let recording = Recording::open(path, &options).unwrap();
    let taken = MOST.load(Relaxed) - before;
    let found = recording.stretches()[0].dim();
    assert!(found.0 == shape.0 && found.1 <= shape.1, "{found:?}");
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

/// Tables of records as PyTables and NumPy have them: a time and the traces.
fn records(traces: &Array2<f32>) -> Vec<u8> {
    let rows = traces.outer_iter().enumerate();
    let row = |(frame, row): (usize, ndarray::ArrayView1<'_, f32>)| {
        let time_s = frame as f64 / 30.0;
        let numbers = std::iter::once(time_s).chain(row.iter().map(|&v| f64::from(v)));
        numbers.flat_map(f64::to_le_bytes).collect::<Vec<u8>>()
    };
    rows.flat_map(row).collect()
}

fn names(traces: &Array2<f32>) -> Vec<String> {
    let cells = (0..traces.ncols()).map(|neuron| format!("cell_{neuron}"));
    std::iter::once("time".to_owned()).chain(cells).collect()
}

fn hdf5_of_records(traces: &Array2<f32>, chunk: Option<u64>) -> Vec<u8> {
    let double = Datatype::FloatingPoint {
        size: 8,
        byte_order: ByteOrder::LittleEndian,
    };
    let names = names(traces);
    let fields = names.iter().enumerate().map(|(place, name)| CompoundField {
        name: name.clone(),
        byte_offset: 8 * place as u32,
        datatype: double.clone(),
    });
    let table = Datatype::Compound {
        size: 8 * names.len() as u32,
        fields: fields.collect(),
    };
    let dataset = DatasetBuilder::new("table", table, [traces.nrows() as u64]);
    let dataset = dataset.raw_data(records(traces));
    let dataset = match chunk {
        Some(chunk) => dataset.chunked([chunk]),
        None => dataset,
    };
    let plan = Hdf5Builder::new().dataset(dataset).into_plan().unwrap();
    plan.encode(WriteOptions::default()).unwrap()
}

fn npy_of_records(traces: &Array2<f32>) -> Vec<u8> {
    let names = names(traces);
    let fields: Vec<String> = names.iter().map(|n| format!("('{n}', '<f8')")).collect();
    let fields = fields.join(", ");
    let n_rows = traces.nrows();
    let header =
        format!("{{'descr': [{fields}], 'fortran_order': False, 'shape': ({n_rows},), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(records(traces));
    bytes
}

/// What pandas' `to_hdf` writes in its fixed format, as far as it is read.
fn hdf5_of_pandas(traces: &Array2<f32>) -> Vec<u8> {
    let data = |name: &str, shape: &[u64], values: &[f64]| {
        DatasetBuilder::typed_data(format!("df/{name}"), shape, values).unwrap()
    };
    let (n_rows, n_columns) = (traces.nrows() as u64, traces.ncols() as u64);
    let index: Vec<f64> = (0..n_rows).map(|row| row as f64).collect();
    let columns: Vec<f64> = (0..n_columns).map(|column| column as f64).collect();
    let values: Vec<f64> = traces.iter().map(|&v| f64::from(v)).collect();
    let kind = AttributeBuilder::fixed_string("pandas_type", "frame");
    let builder = Hdf5Builder::new()
        .group_attribute("df", kind)
        .dataset(data("axis0", &[n_columns], &columns))
        .dataset(data("axis1", &[n_rows], &index))
        .dataset(data("block0_items", &[n_columns], &columns))
        .dataset(data("block0_values", &[n_rows, n_columns], &values));
    let plan = builder.into_plan().unwrap();
    plan.encode(WriteOptions::default()).unwrap()
}

/// One test, as other threads would take memory too.
#[test]
fn three_times_the_traces_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let (wide, narrow) = (traces(12_000, 100), traces(400_000, 3));
    let (mut peaks, mut others) = (Vec::new(), Vec::new());
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
    for (kind, traces) in [("wide", &wide), ("narrow", &narrow)] {
        let with_time = (traces.nrows(), traces.ncols() + 1);
        for (what, bytes) in [
            ("table with its time", wide_table(traces).into_bytes()),
            ("HDF5 of records", hdf5_of_records(traces, None)),
            (
                "HDF5 of records in chunks",
                hdf5_of_records(traces, Some(1000)),
            ),
            ("HDF5 of pandas", hdf5_of_pandas(traces)),
            (".npy of records", npy_of_records(traces)),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let peak = peak(&path, with_time);
            others.push((format!("{kind} {what}"), peak));
        }
    }

    // Two numbers of 64 bits a row, a time and one of a column, are an eighth of the narrow ones.
    assert!(others.iter().all(|(_, peak)| *peak <= 3.25), "{others:?}");
    assert!(peaks.iter().all(|(_, peak)| *peak <= 3.0), "{peaks:?}");
}
