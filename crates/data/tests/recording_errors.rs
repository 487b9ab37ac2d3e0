//! Bad recordings: each mistake, and the one line that is said of it.
#![cfg(all(feature = "csv", feature = "hdf5", feature = "zip"))]

use std::path::{Path, PathBuf};

use data::{
    AxisOrder, Likelihood, Options, Recording, TraceBlocks, Traces, Units, write_npy, write_npz,
};
use hdf5_writer::{AttributeBuilder, DatasetBuilder, Hdf5Builder, WriteOptions};
use ndarray::{Array, Array2, Array3};

/// The file, made when its turn comes; the options; what is said.
type Case<'a> = (Box<dyn Fn() -> PathBuf + 'a>, Options, &'a str);

struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn bytes(&self, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path("recording");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn npy(&self, values: Array2<f32>) -> PathBuf {
        let path = self.path("recording");
        write_npy(&path, values.view()).unwrap();
        path
    }

    /// A sound plane of three regions and nine frames.
    fn suite2p(&self) -> PathBuf {
        let values = Array2::ones((3, 9));
        let plane = self.path("plane0");
        std::fs::create_dir(&plane).unwrap();
        write_npy(&plane.join("F.npy"), values.view()).unwrap();
        write_npy(&plane.join("Fneu.npy"), values.view()).unwrap();
        write_npy(&plane.join("iscell.npy"), Array2::ones((3, 2)).view()).unwrap();
        plane
    }
}

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/recordings");
    folder.join(name)
}

fn at_8_hz() -> Options {
    Options {
        rate_hz: Some(8.0),
        ..Options::default()
    }
}

/// What is said after the path of the file.
fn complaint(path: &Path, options: &Options) -> String {
    after_path(path, &Recording::open(path, options).unwrap_err())
}

fn after_path(path: &Path, error: &data::DataError) -> String {
    let said = error.to_string();
    assert!(!said.contains('\n'), "{said}");
    let prefix = format!("{}: ", path.display());
    said.strip_prefix(&prefix).expect(&said).to_owned()
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn a_table_of_bad_files() {
    let desk = Desk::new();
    let wide = || desk.npy(Array2::zeros((3, 9)));
    let tall = Array2::<f32>::zeros((9, 3));
    let named = |name: &str| Options {
        dataset: Some(name.into()),
        ..at_8_hz()
    };
    let with_rate = |rate_hz| Options {
        rate_hz: Some(rate_hz),
        ..Options::default()
    };
    let f4 = std::fs::read(golden("f4.npy")).unwrap();
    let npz = std::fs::read(golden("stored.npz")).unwrap();
    let mut infinite = tall.clone();
    infinite[[4, 1]] = f32::NEG_INFINITY;
    let given = at_8_hz();
    let cases: Vec<Case<'_>> = vec![
        (
            Box::new(wide),
            given.clone(),
            "dataset `array` has shape [3, 9]: read as [time, neuron], 3 frames of 9 neurons, \
             more neurons than frames; say with `order` which axis is which",
        ),
        (
            Box::new(|| desk.npy(tall.clone())),
            Options::default(),
            "the file states no frame rate; give `rate`, in frames per second",
        ),
        (
            Box::new(|| desk.npy(tall.clone())),
            with_rate(0.0),
            "`rate` is 0; it must be a positive number, in frames per second for `rate`, \
             in seconds for `dt`",
        ),
        (
            Box::new(|| desk.npy(infinite.clone())),
            given.clone(),
            "dataset `array` holds -inf at [4, 1]; write NaN for a missing frame",
        ),
        (
            Box::new(|| desk.npy(Array2::zeros((0, 3)))),
            given.clone(),
            "dataset `array` has shape [0, 3]: an axis is empty; give one with values, \
             or leave the dataset out",
        ),
        (
            Box::new(|| {
                let path = desk.path("recording");
                write_npy(&path, Array::<f32, _>::zeros((2, 2, 2, 2)).view()).unwrap();
                path
            }),
            given.clone(),
            "dataset `array` has shape [2, 2, 2, 2]; its axes must be [time, neuron] or [trial, time, neuron]",
        ),
        (
            Box::new(|| desk.bytes(&f4[..f4.len() - 4])),
            given.clone(),
            "the file is cut short: its header says 272 bytes, it has 268; \
             copy or download it again",
        ),
        (
            Box::new(|| golden("complex.npy")),
            given.clone(),
            "array is stored as NumPy type '<c16'; \
             store it as integers or floating-point numbers",
        ),
        (
            Box::new(|| desk.bytes(b"\x93NUMPY\x09\0v\0")),
            given.clone(),
            "array is not a sound .npy array: format version 9, not 1, 2 or 3; \
             save it again with numpy.save",
        ),
        (
            Box::new(|| golden("two.npz")),
            Options::default(),
            "there is more than one array of one to three axes: f, dff; name one with `dataset`",
        ),
        (
            Box::new(|| golden("two.npz")),
            named("F"),
            "there is no array of one to three axes `F` (there is: f, dff); \
             name one of these with `dataset`",
        ),
        (
            Box::new(|| desk.bytes(&npz[..npz.len() - 30])),
            given.clone(),
            "the .npz archive is damaged or cut short: ",
        ),
        (
            Box::new(|| desk.bytes("a,b\n1,2\n3,4\n5\n")),
            given.clone(),
            "line 4 has 1 cells, the first has 2; \
             a table has one row per frame, one column per neuron",
        ),
        (
            Box::new(|| desk.bytes("a,b\n1,2\n3,4.5.6\n")),
            given.clone(),
            "line 3, column 2 holds `4.5.6`, not a number; \
             write NaN, or nothing, for a missing frame",
        ),
        (
            Box::new(|| desk.bytes("a,b\n")),
            given.clone(),
            "this is text without a line of numbers; a table has one row per frame, \
             one column per neuron",
        ),
        (
            Box::new(|| desk.bytes("t,a\n0,1\n0.1,2\n0.1,3\n")),
            Options::default(),
            "timestamps go from 0.1 s to 0.1 s at frame 2; they must increase: \
             sort the frames, or give `rate` instead",
        ),
        (
            Box::new(|| desk.bytes("t,a\n0,1\n1,2\n2,3\n99,4\n")),
            Options::default(),
            "timestamps leave a gap of 97 s after frame 2, at 1 s a frame; more frames would \
             be missing than recorded: cut the file into sessions there",
        ),
        (
            Box::new(|| desk.folder.path().to_owned()),
            Options::default(),
            "this folder is not suite2p's: no F.npy in it or in a folder right below; \
             give the folder that holds F.npy, Fneu.npy and iscell.npy, such as suite2p/plane0",
        ),
        (
            Box::new(|| golden("old.mat")),
            given.clone(),
            "there is no numeric variable of two or three axes; store the traces as one, [time, neuron]",
        ),
        (
            Box::new(|| golden("session.mat")),
            given.clone(),
            "there is more than one numeric variable of two or three axes: dff, trials; \
             name one with `dataset`",
        ),
        (
            Box::new(|| golden("session.mat")),
            named("DFF"),
            "there is no numeric variable of two or three axes `DFF` (there is: dff, trials); \
             name one of these with `dataset`",
        ),
        (
            Box::new(|| golden("rate.nwb")),
            named("denoised"),
            "there is no RoiResponseSeries `denoised` (there is: \
             processing/ophys/DfOverF/dff, processing/ophys/Fluorescence/raw, \
             processing/ophys/Neuropil/neuropil); name one of these with `dataset`",
        ),
        (
            Box::new(|| desk.bytes(b"II*\0\x08\0\0\0\0\0 a TIFF")),
            given.clone(),
            "this is a TIFF image or movie; extract the traces first, with suite2p or CaImAn",
        ),
        (
            Box::new(|| desk.bytes("")),
            given.clone(),
            "the format is not known (it begins with nothing: it is empty); \
             give .npy, .npz, CSV, a suite2p folder, NWB, MATLAB v7.3 or HDF5",
        ),
        (
            Box::new(|| desk.path("nowhere")),
            given.clone(),
            "cannot read the file: No such file or directory",
        ),
    ];
    for (make, options, wanted) in cases {
        let path = make();
        let said = complaint(&path, &options);
        assert!(said.starts_with(wanted), "{said}\n  instead of\n{wanted}");
    }
}

#[test]
fn an_array_order_that_the_caller_states_is_not_questioned() {
    let desk = Desk::new();
    let path = desk.npy(Array2::zeros((3, 9)));
    for (order, n_neurons) in [(AxisOrder::TimeNeuron, 9), (AxisOrder::NeuronTime, 3)] {
        let options = Options {
            order: Some(order),
            ..at_8_hz()
        };
        let recording = Recording::open(&path, &options).unwrap();
        assert_eq!(recording.n_neurons(), n_neurons);
    }
}

#[test]
fn suite2p_folders_with_something_wrong() {
    let cases: [(&str, Array2<f32>, &str); 3] = [
        (
            "Fneu.npy",
            Array2::zeros((3, 8)),
            "dataset `F.npy` has shape [3, 9] but `Fneu.npy` has [3, 8]: \
             the number of regions and frames must be the same in both",
        ),
        (
            "iscell.npy",
            Array2::ones((2, 2)),
            "dataset `F.npy` has shape [3, 9] but `iscell.npy` has [2, 2]: \
             the number of regions must be the same in both",
        ),
        (
            "iscell.npy",
            Array2::zeros((3, 2)),
            "iscell.npy accepts none of 3 regions; accept some in suite2p, \
             or read them all (`cells_only = false`)",
        ),
    ];
    for (file, values, wanted) in cases {
        let desk = Desk::new();
        let plane = desk.suite2p();
        assert!(Recording::open(&plane, &at_8_hz()).is_ok());
        write_npy(&plane.join(file), values.view()).unwrap();
        assert_eq!(complaint(&plane, &at_8_hz()), wanted);
    }
    let desk = Desk::new();
    let plane = desk.suite2p();
    let no_rate = complaint(&plane, &Options::default());
    assert!(no_rate.contains("no frame rate"), "{no_rate}");
    let whole = std::fs::read(plane.join("F.npy")).unwrap();
    std::fs::write(plane.join("F.npy"), &whole[..200]).unwrap();
    let wanted = "`F.npy`: the file is cut short: its header says 236 bytes, it has 200";
    assert!(complaint(&plane, &at_8_hz()).starts_with(wanted));
    std::fs::write(plane.join("F.npy"), whole).unwrap();
    std::fs::remove_file(plane.join("iscell.npy")).unwrap();
    let wanted = "there is no iscell.npy beside F.npy; put it back, or read every region \
                  (`cells_only = false`)";
    assert_eq!(complaint(&plane, &at_8_hz()), wanted);
    std::fs::remove_file(plane.join("Fneu.npy")).unwrap();
    let wanted = "there is no Fneu.npy beside F.npy; put it back, or subtract no neuropil \
                  (`neuropil = 0`)";
    assert_eq!(complaint(&plane, &at_8_hz()), wanted);
    let traces_alone = Options {
        neuropil: Some(0.0),
        cells_only: false,
        ..at_8_hz()
    };
    let recording = Recording::open(&plane, &traces_alone).unwrap();
    assert_eq!(recording.n_neurons(), 3);
    let blocks = TraceBlocks::open(&plane, &traces_alone, 2)
        .unwrap()
        .unwrap();
    for block in blocks {
        assert!(
            block
                .unwrap()
                .traces
                .iter()
                .all(|x| x.total_cmp(&1.0).is_eq())
        );
    }
}

/// A shape with a 0 in it takes no room in the file, whatever else is in it.
#[test]
fn suite2p_regions_without_frames() {
    let desk = Desk::new();
    let plane = desk.suite2p();
    let mut bytes = std::fs::read(plane.join("F.npy")).unwrap();
    let text = String::from_utf8_lossy(&bytes[10..128]).into_owned();
    let text = text.replace("(3, 9)", "(1000000000000000000, 0)");
    bytes[10..127].copy_from_slice(&text.as_bytes()[..117]);
    std::fs::write(plane.join("F.npy"), &bytes).unwrap();
    let every = Options {
        neuropil: Some(0.0),
        cells_only: false,
        ..at_8_hz()
    };
    let wanted = "dataset `F.npy` has shape [1000000000000000000, 0]: an axis is empty; \
                  give one with values, or leave the dataset out";
    assert_eq!(complaint(&plane, &every), wanted);
    assert_eq!(complaint(&plane, &at_8_hz()), wanted);
}

/// Each step is finite, their sum is not.
#[test]
fn timestamps_too_far_apart() {
    let desk = Desk::new();
    let times = [-1e308_f64, 0.0, 1e308, 1.7e308];
    let rows = times.map(|t| format!("{t:e},1,2\n"));
    let path = desk.bytes(format!("time,a,b\n{}", rows.concat()).into_bytes());
    let said = complaint(&path, &Options::default());
    assert!(said.starts_with("`timestamps` is from -1"), "{said}");
}

#[test]
fn several_planes() {
    let desk = Desk::new();
    let plane = desk.suite2p();
    std::fs::create_dir(desk.path("plane1")).unwrap();
    std::fs::copy(plane.join("F.npy"), desk.path("plane1/F.npy")).unwrap();
    let wanted = "there is no Fneu.npy beside F.npy; \
                  put it back, or subtract no neuropil (`neuropil = 0`)";
    assert_eq!(complaint(desk.folder.path(), &at_8_hz()), wanted);
    let named = Options {
        dataset: Some("plane0".into()),
        ..at_8_hz()
    };
    assert!(Recording::open(desk.folder.path(), &named).is_ok());
}

#[test]
fn hdf5_files_with_something_wrong() {
    let desk = Desk::new();
    let build = |shapes: &[(&str, &[u64])]| {
        let mut file = Hdf5Builder::new().attribute(AttributeBuilder::scalar("dt", 0.1).unwrap());
        for (name, shape) in shapes {
            let n = shape.iter().product::<u64>() as usize;
            let values = vec![1_f32; n];
            file = file.dataset(DatasetBuilder::typed_data(*name, *shape, &values).unwrap());
        }
        let plan = file.into_plan().unwrap();
        desk.bytes(plan.encode(WriteOptions::default()).unwrap())
    };
    let say = |shapes: &[(&str, &[u64])]| complaint(&build(shapes), &Options::default());
    assert_eq!(
        say(&[("times", &[9])]),
        "there is no dataset of two or three axes; store the traces as one, [time, neuron]"
    );
    assert_eq!(
        say(&[("train_data", &[2, 9, 3]), ("valid_data", &[2, 9, 4])]),
        "dataset `train_data` has shape [2, 9, 3] but `valid_data` has [2, 9, 4]: \
         the number of neurons must be the same in both"
    );
    // Padded to one length they would take 2 GB.
    assert_eq!(
        say(&[
            ("train_data", &[16_000, 1, 2]),
            ("valid_data", &[1, 16_000, 2])
        ]),
        "dataset `train_data` has shape [16000, 1, 2] but `valid_data` has [1, 16000, 2]: \
         the number of frames must be the same in both"
    );
    let whole = std::fs::read(build(&[("dff", &[9, 3])])).unwrap();
    let path = desk.bytes(&whole[..whole.len() - 5]);
    let said = complaint(&path, &Options::default());
    assert!(said.starts_with("the file is cut short: its header says"));
}

#[test]
fn trials_of_nothing() {
    let desk = Desk::new();
    let mut values = Array3::<f32>::zeros((3, 5, 2));
    values.index_axis_mut(ndarray::Axis(0), 1).fill(f32::NAN);
    let path = desk.path("trials.npz");
    write_npz(&path, &[("x", values.view().into_dyn())]).unwrap();
    let wanted = "trial 1 holds nothing but NaN; correct its times or leave it out";
    let options = Options {
        order: Some(AxisOrder::TrialTimeNeuron),
        ..at_8_hz()
    };
    assert_eq!(complaint(&path, &options), wanted);

    let path = golden("rate.nwb");
    let mut recording = Recording::open(&path, &Options::default()).unwrap();
    recording.trial_table[1].start_s = 3.25;
    let said = after_path(&path, &recording.cut_trials().unwrap_err());
    let wanted = "trial 1 holds no frame between 3.25 s and 3.25 s (the recording lasts \
                  from 2 s to 3.5 s); correct its times or leave it out";
    assert_eq!(said, wanted);
    recording.trial_table.clear();
    let said = after_path(&path, &recording.cut_trials().unwrap_err());
    assert!(said.starts_with("there is no continuous recording with a table of trials"));
    let said = after_path(&path, &recording.keep(&[0, 3]).unwrap_err());
    let wanted = "`neurons` is 3; it must be a list of neurons of the recording, counted from 0";
    assert_eq!(said, wanted);
}

/// A sound recording of whole numbers, of which the tests below spoil one thing.
fn counts() -> Recording {
    let desk = Desk::new();
    let values = Array2::from_shape_fn((9, 3), |(t, n)| ((t + n) % 3) as f32);
    Recording::open(&desk.npy(values), &at_8_hz()).unwrap()
}

fn verdict(
    likelihood: Likelihood,
    spoil: impl FnOnce(&mut Array2<f32>, &mut Option<Units>),
) -> String {
    let mut recording = counts();
    if let Traces::Continuous(trace) = &mut recording.traces {
        spoil(trace, &mut recording.units);
    }
    match recording.check(likelihood) {
        Ok(()) => "good".to_owned(),
        Err(e) => after_path(&recording.path, &e),
    }
}

#[test]
fn values_that_do_not_suit_a_poisson_model() {
    use Likelihood::Poisson;
    assert_eq!(verdict(Poisson, |_, _| ()), "good");
    assert_eq!(verdict(Poisson, |x, _| x[[2, 1]] = f32::NAN), "good");
    let cases: [(&str, String); 5] = [
        (
            "dataset `array` holds -1 at [0, 2, 1]; spikes are counts per bin",
            verdict(Poisson, |x, _| x[[2, 1]] = -1.0),
        ),
        (
            "dataset `array` holds 0.5 at [0, 2, 1]; spikes are counts per bin",
            verdict(Poisson, |x, _| x[[2, 1]] = 0.5),
        ),
        (
            "dataset `array`: neuron 1 (`1`) is 0 in every frame; leave them out",
            verdict(Poisson, |x, _| x.column_mut(1).fill(0.0)),
        ),
        (
            "dataset `array`: neuron 2 (`2`) is NaN in every frame; leave them out",
            verdict(Poisson, |x, _| x.column_mut(2).fill(f32::NAN)),
        ),
        (
            "the values are dF/F, which this model's likelihood does not describe",
            verdict(Poisson, |_, units| *units = Some(Units::DeltaFOverF)),
        ),
    ];
    for (wanted, said) in cases {
        assert!(said.starts_with(wanted), "{said}\n  instead of\n{wanted}");
    }
}

#[test]
fn values_that_do_not_suit_fluorescence() {
    use Likelihood::Gaussian;
    let said = verdict(Gaussian, |_, _| ());
    let wanted = "dataset `array` holds only whole numbers from 0 to 2: spike counts? \
                  Fluorescence is expected; choose a Poisson model, or state `units` as F";
    assert_eq!(said, wanted);
    let stated = verdict(Gaussian, |_, units| *units = Some(Units::Fluorescence));
    assert_eq!(stated, "good");
    assert_eq!(verdict(Gaussian, |x, _| x[[1, 1]] = 0.25), "good");
    assert_eq!(verdict(Gaussian, |x, _| *x *= 300.0), "good");
    let said = verdict(Gaussian, |_, units| *units = Some(Units::SpikeCounts));
    assert!(
        said.starts_with("the values are spike counts, which"),
        "{said}"
    );
}
