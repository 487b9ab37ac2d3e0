//! Fills `corpus/` with small sound files of each format: `cargo run --example seeds`.

use std::path::Path;

use data::{Arrays, Dataset, Split, Suite2pFolder, write_csv, write_npy, write_npz, write_suite2p};
use data_fuzz::{ALF, SUITE2P};
use hdf5_writer::{AttributeBuilder, DatasetBuilder, Hdf5Builder, WriteOptions};
use ndarray::{Array2, Array3, ArrayD};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Frames and neurons of each recording.
const SHAPE: (usize, usize) = (6, 2);

fn main() -> Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = fuzz.join("corpus");
    let targets = [
        "npy",
        "npz",
        "csv",
        "suite2p",
        "nwb",
        "matlab",
        "matlab5",
        "alf",
        "hdf5",
        "benchmark",
        "blocks",
    ];
    for target in targets {
        std::fs::create_dir_all(corpus.join(target))?;
    }
    written(&corpus)?;
    golden(&fuzz.join("../tests/golden"), &corpus)?;
    in_blocks(&corpus)
}

fn trace() -> Array2<f32> {
    Array2::from_shape_fn(SHAPE, |(t, n)| t as f32 / 4.0 - n as f32)
}

/// A folder of the International Brain Laboratory.
fn alf(corpus: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let write =
        |name: &str, values: ArrayD<f32>| write_npy(&folder.path().join(name), values.view());
    let [traces, neuropil, times, bad, types] = ALF;
    write(traces, trace().into_dyn())?;
    write(neuropil, trace().into_dyn())?;
    write(
        times,
        ArrayD::from_shape_vec(vec![SHAPE.0], (0..SHAPE.0).map(|t| t as f32).collect())?,
    )?;
    write(bad, ArrayD::zeros(vec![SHAPE.0]))?;
    write(types, ArrayD::ones(vec![SHAPE.1]))?;
    Ok(std::fs::write(
        corpus.join("alf/written"),
        end_to_end(folder.path(), &ALF)?,
    )?)
}

/// What the crate writes, and NWB and MATLAB files reduced to what is read of them.
fn written(corpus: &Path) -> Result<()> {
    write_npy(&corpus.join("npy/written"), trace().view())?;
    let trials = Array3::from_shape_fn((2, 3, 2), |(i, t, n)| (i + t + n) as f32);
    write_npy(&corpus.join("npy/trials"), trials.view())?;
    let rate = ArrayD::from_elem(vec![], 8.0_f32);
    let arrays = [("dff", trace().into_dyn()), ("fs", rate)];
    let views: Vec<_> = arrays.iter().map(|(name, a)| (*name, a.view())).collect();
    write_npz(&corpus.join("npz/written"), &views)?;
    let names = ["a".to_owned(), "b".to_owned()];
    write_csv(&corpus.join("csv/written"), &names, trace().view())?;
    suite2p(corpus)?;
    alf(corpus)?;
    let split = || Split {
        fluor: Some(trials.clone()),
        ..Split::default()
    };
    let dataset = Dataset {
        dt_s: 0.1,
        tau_s: Some(0.4),
        discretisation: Some("euler".into()),
        loadings: None,
        seed: Some(3),
        recipe: Some("[lorenz]".into()),
        train: split(),
        valid: split(),
    };
    dataset.write(&corpus.join("benchmark/written"))?;
    dataset.write(&corpus.join("hdf5/benchmark"))?;
    let mut results = Arrays::default();
    results.numbers.insert("dt".into(), 0.1);
    // Enough values to be stored compressed.
    results.insert("rates", "Hz", ArrayD::from_elem(vec![2, 90, 2], 1.5));
    results.write(&corpus.join("hdf5/results"))?;
    encode(&corpus.join("nwb/small"), nwb()?)?;
    let mut matlab = b"MATLAB 7.3 MAT-file".to_vec();
    matlab.resize(512, b' ');
    encode(&corpus.join("matlab/small"), matlab_variables()?)?;
    matlab.extend(std::fs::read(corpus.join("matlab/small"))?);
    Ok(std::fs::write(corpus.join("matlab/small"), matlab)?)
}

/// The folder's files end to end.
fn suite2p(corpus: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let suite2p = Suite2pFolder {
        fluorescence: trace().reversed_axes().as_standard_layout().into_owned(),
        neuropil: Array2::ones((SHAPE.1, SHAPE.0)),
        cell_probability: vec![0.2, 0.9],
        rate_hz: 30.0,
    };
    write_suite2p(folder.path(), &suite2p)?;
    let whole = end_to_end(folder.path(), &SUITE2P)?;
    Ok(std::fs::write(corpus.join("suite2p/written"), whole)?)
}

fn end_to_end(folder: &Path, names: &[&str]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for name in names {
        bytes.extend(std::fs::read(folder.join(name))?);
    }
    Ok(bytes)
}

fn encode(path: &Path, file: Hdf5Builder) -> Result<()> {
    let bytes = file.into_plan()?.encode(WriteOptions::default())?;
    Ok(std::fs::write(path, bytes)?)
}

fn nwb() -> Result<Hdf5Builder> {
    let series = "processing/ophys/DfOverF/dff";
    let values: Vec<f32> = trace().into_iter().collect();
    let data = DatasetBuilder::typed_data(format!("{series}/data"), [6, 2], &values)?;
    let rois = DatasetBuilder::typed_data(format!("{series}/rois"), [2], &[0_i32, 1])?;
    let start = DatasetBuilder::typed_data(format!("{series}/starting_time"), [], &[2.0_f64])?;
    let column = |name: &str, values: &[f64]| {
        DatasetBuilder::typed_data(format!("intervals/trials/{name}"), [2], values)
    };
    let kind = |name: &str| AttributeBuilder::fixed_string("neurodata_type", name);
    Ok(Hdf5Builder::new()
        .attribute(AttributeBuilder::fixed_string("nwb_version", "2.7.0"))
        .dataset(data.attribute(AttributeBuilder::scalar("conversion", 0.5_f64)?))
        .dataset(rois)
        .dataset(start.attribute(AttributeBuilder::scalar("rate", 8.0_f64)?))
        .dataset(column("start_time", &[2.0, 2.25])?)
        .dataset(column("stop_time", &[2.25, 2.75])?)
        .group_attribute("processing/ophys/DfOverF", kind("DfOverF"))
        .group_attribute(series, kind("RoiResponseSeries")))
}

fn matlab_variables() -> Result<Hdf5Builder> {
    let class = |name: &str| AttributeBuilder::fixed_string("MATLAB_class", name);
    let values: Vec<f64> = trace().iter().map(|&v| f64::from(v)).collect();
    let dff = DatasetBuilder::typed_data("dff", [2, 6], &values)?;
    let rate = DatasetBuilder::typed_data("fs", [1, 1], &[8.0_f64])?;
    Ok(Hdf5Builder::new()
        .dataset(dff.attribute(class("double")))
        .dataset(rate.attribute(class("double"))))
}

/// The files of the crate's own tests.
fn golden(golden: &Path, corpus: &Path) -> Result<()> {
    for entry in std::fs::read_dir(golden.join("recordings"))? {
        let path = entry?.path();
        let target = match path.extension().and_then(|e| e.to_str()) {
            Some("npy") => "npy",
            Some("npz") => "npz",
            Some("csv") => "csv",
            Some("nwb") => "nwb",
            Some("mat") => "matlab",
            Some("h5") => "hdf5",
            _ => continue,
        };
        let name = path.file_name().unwrap_or_default();
        std::fs::copy(&path, corpus.join(target).join(name))?;
    }
    for entry in std::fs::read_dir(golden.join("layouts"))? {
        let path = entry?.path();
        if path.is_dir() {
            continue;
        }
        let head = std::fs::read(&path)?;
        let target = match path.extension().and_then(|e| e.to_str()) {
            Some("mat") if head.starts_with(b"MATLAB 5.0") => "matlab5",
            Some("mat") if head.starts_with(b"MATLAB 7.3") => "matlab",
            Some("h5" | "hdf5") => "hdf5",
            Some("nwb") => "nwb",
            Some("csv" | "txt") => "csv",
            _ => continue,
        };
        let name = path.file_name().unwrap_or_default();
        std::fs::copy(&path, corpus.join(target).join(name))?;
    }
    for name in ["foreign_v0.h5", "foreign_v3.h5"] {
        std::fs::copy(golden.join(name), corpus.join("benchmark").join(name))?;
        std::fs::copy(golden.join(name), corpus.join("hdf5").join(name))?;
    }
    let folder = golden.join("recordings/suite2p/plane0");
    Ok(std::fs::write(
        corpus.join("suite2p/golden"),
        end_to_end(&folder, &SUITE2P)?,
    )?)
}

/// Matrices behind the range of neurons to read.
fn in_blocks(corpus: &Path) -> Result<()> {
    for name in ["npy/f4.npy", "npy/i8_fortran.npy", "hdf5/plain.h5"] {
        let mut bytes = vec![1, 2];
        bytes.extend(std::fs::read(corpus.join(name))?);
        let place = corpus.join("blocks").join(name.replace('/', "_"));
        std::fs::write(place, bytes)?;
    }
    Ok(())
}
