//! Reading in pieces gives what reading whole gives.

use std::path::{Path, PathBuf};

use data::{AxisOrder, NpzStream, Options, Recording, TraceBlocks, write_npy};
use hdf5_writer::{DatasetBuilder, Hdf5Builder, WriteOptions};
use ndarray::{Array2, ArrayD, s};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/recordings");
    folder.join(name)
}

fn options(rate_hz: Option<f64>, order: Option<AxisOrder>) -> Options {
    Options {
        rate_hz,
        order,
        ..Options::default()
    }
}

/// Whether both ways agree, for blocks of every size.
fn agree(path: &Path, options: &Options) {
    let whole = Recording::open(path, options).unwrap();
    let trace = whole.stretches()[0];
    for per_block in 1..=trace.ncols() + 1 {
        let blocks = TraceBlocks::open(path, options, per_block)
            .unwrap()
            .unwrap();
        assert_eq!(blocks.n_neurons(), trace.ncols());
        assert_eq!(blocks.n_bins(), trace.nrows());
        assert_eq!(blocks.neuron_ids(), whole.neuron_ids);
        assert!((blocks.dt_s() - whole.dt_s).abs() < 1e-12);
        let mut n_seen = 0;
        for block in blocks {
            let block = block.unwrap();
            assert_eq!(block.first_neuron, n_seen);
            n_seen += block.traces.nrows();
            let part = trace.slice(s![.., block.first_neuron..n_seen]);
            assert!(
                block
                    .traces
                    .t()
                    .iter()
                    .zip(part)
                    .all(|(a, b)| a.to_bits() == b.to_bits())
            );
            assert!(block.traces.is_standard_layout());
        }
        assert_eq!(n_seen, trace.ncols());
    }
}

#[test]
fn matrices_of_numpy() {
    for name in ["f4.npy", "i8_fortran.npy", "version2.npy"] {
        let shape = Recording::open(
            &golden(name),
            &options(Some(8.0), Some(AxisOrder::TimeNeuron)),
        );
        if shape.is_ok_and(|r| r.stretches().len() == 1) {
            agree(
                &golden(name),
                &options(Some(8.0), Some(AxisOrder::TimeNeuron)),
            );
            agree(
                &golden(name),
                &options(Some(8.0), Some(AxisOrder::NeuronTime)),
            );
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.npy");
    let values = Array2::from_shape_fn((40, 7), |(t, n)| (t * 7 + n) as f32);
    write_npy(&path, values.view()).unwrap();
    agree(&path, &options(Some(30.0), None));
    agree(&path, &options(Some(30.0), Some(AxisOrder::NeuronTime)));
}

#[test]
fn suite2p_folders() {
    agree(&golden("suite2p"), &Options::default());
    let every = Options {
        cells_only: false,
        neuropil: 0.3,
        ..Options::default()
    };
    agree(&golden("suite2p"), &every);
}

#[test]
fn datasets_of_hdf5() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.h5");
    let values: Vec<f32> = (0..40 * 7).map(|i| i as f32).collect();
    for chunked in [false, true] {
        let dataset = DatasetBuilder::typed_data("dff", [40, 7], &values).unwrap();
        let dataset = if chunked {
            dataset.chunked([16, 3])
        } else {
            dataset
        };
        let plan = Hdf5Builder::new().dataset(dataset).into_plan().unwrap();
        std::fs::write(&path, plan.encode(WriteOptions::default()).unwrap()).unwrap();
        agree(&path, &options(Some(30.0), None));
        agree(&path, &options(Some(30.0), Some(AxisOrder::NeuronTime)));
    }
}

#[test]
fn what_cannot_be_read_in_pieces_is_left_to_the_whole_reader() {
    for name in ["header.csv", "rate.nwb", "stored.npz", "lfads.h5"] {
        let blocks = TraceBlocks::open(&golden(name), &options(Some(8.0), None), 2).unwrap();
        assert!(blocks.is_none(), "{name}");
    }
}

#[test]
fn bad_input_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.npy");
    let mut values = Array2::<f32>::zeros((40, 7));
    values[(5, 3)] = f32::INFINITY;
    write_npy(&path, values.view()).unwrap();
    let message = |e: data::DataError| e.to_string();
    let Err(error) = TraceBlocks::open(&path, &Options::default(), 2) else {
        panic!("no rate was given");
    };
    assert!(message(error).contains("rate"));
    let mut blocks = TraceBlocks::open(&path, &options(Some(8.0), None), 2)
        .unwrap()
        .unwrap();
    assert!(message(blocks.read(6..8).unwrap_err()).contains("`neurons` is 6 to 8"));
    let read: Result<Vec<_>, _> = blocks.collect();
    let error = message(read.unwrap_err());
    assert!(error.contains("inf") && error.contains("[5, 3]"), "{error}");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 4]).unwrap();
    assert!(TraceBlocks::open(&path, &options(Some(8.0), None), 2).is_err());
}

#[test]
fn archives_grow_trace_by_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.npz");
    let mut out = NpzStream::create(&path, &["spikes", "calcium"], [5, 2]).unwrap();
    for neuron in 0..2 {
        for array in 0..2 {
            let trace: Vec<f32> = (0..5)
                .map(|t| (100 * array + 10 * neuron + t) as f32)
                .collect();
            out.append(array, &trace).unwrap();
        }
    }
    assert!(
        out.append(0, &[0.0; 5])
            .unwrap_err()
            .to_string()
            .contains("5 frames for neuron 2")
    );
    assert!(out.append(2, &[0.0; 5]).is_err());
    out.finish(&[("tau", ArrayD::zeros(vec![2]))]).unwrap();
    for (array, name) in ["spikes", "calcium"].iter().enumerate() {
        let options = Options {
            dataset: Some((*name).to_owned()),
            ..options(Some(8.0), None)
        };
        let back = Recording::open(&path, &options).unwrap();
        let expected = Array2::from_shape_fn((5, 2), |(t, n)| (100 * array + 10 * n + t) as f32);
        assert_eq!(back.stretches()[0], expected);
    }
    // One that is not finished leaves what was there.
    let before = std::fs::read(&path).unwrap();
    let out = NpzStream::create(&path, &["spikes"], [5, 2]).unwrap();
    assert!(
        out.finish(&[])
            .unwrap_err()
            .to_string()
            .contains("0 of `spikes`")
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
