//! Reading in pieces gives what reading whole gives.
#![cfg(all(feature = "csv", feature = "hdf5", feature = "zip"))]

use std::path::{Path, PathBuf};

use data::{
    Arrays, AxisOrder, Likelihood, Options, Recording, TraceBlocks, TraceStream, Units, write_npy,
};
use hdf5_writer::{AttributeBuilder, DatasetBuilder, Hdf5Builder, WriteOptions};
use ndarray::{Array2, Array3, ArrayD, s};

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
        assert_eq!(blocks.units(), whole.units);
        assert_eq!(blocks.tau_s(), whole.tau_s);
        assert_eq!(blocks.discretisation(), whole.discretisation);
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
    let values = Array2::from_shape_fn((40, 7), |(t, n)| (t * (n + 3)) as f32 % 11.0);
    write_npy(&path, values.view()).unwrap();
    agree(&path, &options(Some(30.0), None));
    agree(&path, &options(Some(30.0), Some(AxisOrder::NeuronTime)));
}

#[test]
fn suite2p_folders() {
    agree(&golden("suite2p"), &Options::default());
    let every = Options {
        cells_only: false,
        neuropil: Some(0.3),
        ..Options::default()
    };
    agree(&golden("suite2p"), &every);
    // The axes are suite2p's, whatever is stated.
    let stated = options(None, Some(AxisOrder::TimeNeuron));
    agree(&golden("suite2p"), &stated);
}

#[test]
fn datasets_of_hdf5() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.h5");
    let values: Vec<f32> = (0..40 * 7).map(|i| (i * i) as f32 % 13.0).collect();
    for chunked in [false, true] {
        let dataset = DatasetBuilder::typed_data("dff", [40, 7], &values).unwrap();
        let dataset = if chunked {
            dataset.chunked([16, 3])
        } else {
            dataset
        };
        let file = Hdf5Builder::new()
            .dataset(dataset)
            .attribute(AttributeBuilder::scalar("tau", 0.7).unwrap())
            .attribute(AttributeBuilder::fixed_string("discretisation", "euler"));
        let plan = file.into_plan().unwrap();
        std::fs::write(&path, plan.encode(WriteOptions::default()).unwrap()).unwrap();
        agree(&path, &options(Some(30.0), None));
        agree(&path, &options(Some(30.0), Some(AxisOrder::NeuronTime)));
    }
}

/// Some regions of suite2p's joining of planes are filled with zeros at their end.
#[test]
fn joined_planes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/series/joined");
    agree(&folder, &Options::default());
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

/// What a check of a recording says, whole and in blocks.
fn verdicts(path: &Path, options: &Options) -> [Result<(), String>; 2] {
    let whole = Recording::open(path, options).unwrap();
    let in_blocks = || {
        let blocks = TraceBlocks::open(path, options, 2)?.unwrap();
        let mut check = blocks.check()?;
        for block in blocks {
            let block = block?;
            for (neuron, trace) in (block.first_neuron..).zip(block.traces.outer_iter()) {
                check.see(neuron, trace)?;
            }
        }
        check.finish()
    };
    [whole.check(Likelihood::Gaussian), in_blocks()]
        .map(|said: Result<(), data::DataError>| said.map_err(|e| e.to_string()))
}

#[test]
fn a_check_in_blocks_says_what_it_says_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.npy");
    let sound = Array2::from_shape_fn((40, 5), |(t, n)| ((t + n) % 7) as f32 / 2.0);
    let spoilt = |spoil: &dyn Fn(&mut Array2<f32>)| {
        let mut values = sound.clone();
        spoil(&mut values);
        values
    };
    let counts = sound.mapv(|v| 2.0 * v);
    let stated = |units| Options {
        units,
        ..options(Some(8.0), None)
    };
    let cases = [
        (sound.clone(), None, ""),
        (
            spoilt(&|x| x.column_mut(3).fill(f32::NAN)),
            None,
            "neuron 3 (`3`) is NaN in every frame",
        ),
        (
            spoilt(&|x| x.column_mut(4).fill(0.25)),
            None,
            "neuron 4 (`4`) is 0.25 in every frame",
        ),
        (counts.clone(), None, "only whole numbers from 0 to 6"),
        (counts.clone(), Some(Units::Fluorescence), ""),
        (
            counts,
            Some(Units::SpikeCounts),
            "the values are spike counts",
        ),
    ];
    for (values, units, wanted) in cases {
        write_npy(&path, values.view()).unwrap();
        let [whole, in_blocks] = verdicts(&path, &stated(units));
        assert_eq!(whole, in_blocks);
        match wanted {
            "" => assert_eq!(whole, Ok(())),
            _ => assert!(whole.as_ref().unwrap_err().contains(wanted), "{whole:?}"),
        }
    }
}

/// Arrays that a stream is given, `[1, time, neuron]`, with others.
fn results([n_bins, n_neurons]: [usize; 2]) -> Arrays {
    let mut results = Arrays::default();
    results.numbers.insert("dt".into(), 0.1);
    results
        .lists
        .insert("neuron_ids".into(), vec!["a".into(), "b".into()]);
    for (scale, name) in [(1.0, "spikes"), (-0.5, "calcium")] {
        let values = Array3::from_shape_fn((1, n_bins, n_neurons), |(_, t, n)| match (t, n) {
            (3, 1) => f32::NAN,
            _ => scale * ((t * 7 + n * 131) % 1009) as f32,
        });
        results.insert(name, "dF/F", values.into_dyn());
    }
    results.insert("tau", "s", ArrayD::from_elem(vec![n_neurons], 0.7));
    results
}

/// Streams the spikes and calcium of `results` trace by trace.
fn stream(path: &Path, results: &Arrays, shape: [usize; 2]) {
    let arrays = [("spikes", "dF/F"), ("calcium", "dF/F")];
    let mut out = TraceStream::create(path, &arrays, shape).unwrap();
    for neuron in 0..shape[1] {
        for (array, (name, _)) in arrays.iter().enumerate() {
            let trace = results.arrays[*name]
                .values
                .slice(s![0, .., neuron])
                .to_vec();
            out.append(array, &trace).unwrap();
        }
    }
    let mut others = results.clone();
    others.arrays.retain(|name, _| name == "tau");
    out.finish(&others).unwrap();
}

#[test]
fn a_stream_writes_what_is_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (streamed, whole) = (folder.path().join("streamed"), folder.path().join("whole"));
    // One chunk; several along either axis; one frame; more than a leaf of the index holds.
    for shape in [[5, 2], [20_000, 50], [1, 40], [70_000, 17], [17_000, 600]] {
        let results = results(shape);
        for extension in ["h5", "npz"] {
            let (streamed, whole) = (
                streamed.with_extension(extension),
                whole.with_extension(extension),
            );
            stream(&streamed, &results, shape);
            results.write(&whole).unwrap();
            let [found, expected] = [&streamed, &whole].map(|path| Arrays::read(path).unwrap());
            assert_eq!(
                (&found.numbers, &found.texts),
                (&expected.numbers, &expected.texts)
            );
            assert!(found.arrays.keys().eq(expected.arrays.keys()));
            for (name, array) in &expected.arrays {
                let other = &found.arrays[name];
                let bits = |a: &ArrayD<f32>| a.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(other.unit, array.unit);
                assert_eq!(other.values.shape(), array.values.shape());
                assert!(
                    bits(&other.values) == bits(&array.values),
                    "{shape:?} {name}"
                );
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    }
}

#[test]
fn a_stream_that_is_not_finished_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["out.h5", "out.npz"] {
        let path = folder.path().join(name);
        std::fs::write(&path, "before").unwrap();
        let mut out = TraceStream::create(&path, &[("spikes", "")], [5, 2]).unwrap();
        out.append(0, &[0.0; 5]).unwrap();
        let message = |e: data::DataError| e.to_string();
        let said = message(out.append(1, &[0.0; 5]).unwrap_err());
        assert!(said.contains("`array` is 1"), "{said}");
        let said = message(out.append(0, &[0.0; 4]).unwrap_err());
        assert!(said.contains("4 frames for neuron 1"), "{said}");
        let said = message(out.finish(&Arrays::default()).unwrap_err());
        assert!(
            said.contains("1 of `spikes`") && said.contains(name),
            "{said}"
        );
        let mut out = TraceStream::create(&path, &[("spikes", "")], [5, 1]).unwrap();
        out.append(0, &[0.0; 5]).unwrap();
        let said = message(out.append(0, &[0.0; 5]).unwrap_err());
        assert!(said.contains("5 frames for neuron 1"), "{said}");
        drop(out);
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
