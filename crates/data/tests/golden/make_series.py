"""Makes series/: what lies beside traces in NWB, suite2p, netCDF and MATLAB files, and says what they are.

python -m venv venv && venv/bin/pip install h5py scipy && venv/bin/python make_series.py

Frame t of neuron n holds (7 t (n + 3) mod 11) / 4 - n, 40 frames of 3 neurons, 8 Hz.
"""

import shutil
from pathlib import Path

import h5py
import numpy as np
from scipy.io import savemat

HERE = Path(__file__).parent / "series"
shutil.rmtree(HERE, ignore_errors=True)
HERE.mkdir()
t, n = np.meshgrid(np.arange(40), np.arange(3), indexing="ij")
X = (7 * t * (n + 3) % 11) / 4 - n
RATE = 8.0
times = t[:, 0] / RATE


def nwb(name, tables, series):
    """Tables by their names, each with its column iscell or none; series by container and name: values, rois,
    their table."""
    with h5py.File(HERE / name, "w") as f:
        f.attrs["nwb_version"] = "2.7.0"
        ophys = f.create_group("processing/ophys")
        for table, iscell in tables.items():
            group = ophys.create_group(f"ImageSegmentation/{table}")
            group.attrs["colnames"] = [] if iscell is None else ["iscell"]
            if iscell is not None:
                group["iscell"] = np.array(iscell)
        for path, (values, rois, table) in series.items():
            container, _ = path.split("/")
            kind = "DfOverF" if container == "DfOverF" else "Fluorescence"
            ophys.require_group(container).attrs["neurodata_type"] = kind
            group = ophys.create_group(path)
            group.attrs["neurodata_type"] = "RoiResponseSeries"
            group["data"], group["rois"], group["starting_time"] = values, rois, 2.0
            group["starting_time"].attrs["rate"] = RATE
            if table:
                group["rois"].attrs["table"] = ophys[f"ImageSegmentation/{table}"].ref


two, three = [0, 1], [0, 1, 2]
P = np.full_like(X, 2.0)
# Planes with a table each; F is the truth plus 1, neuropil 2 everywhere.
planes = {"T0": [1, 0], "T1": [0, 1]}
both = X[:, [0, 1]], X[:, [1, 2]]
nwb(
    "planes.nwb",
    planes,
    {f"Fluorescence/plane{k}": (both[k] + 1, two, f"T{k}") for k in two}
    | {f"Neuropil/plane{k}": (P[:, :2], two, f"T{k}") for k in two},
)
nwb(
    "planes_dff.nwb",
    planes,
    {f"DfOverF/plane{k}": (both[k], two, f"T{k}") for k in two}
    | {f"Fluorescence/plane{k}": (both[k] + 1, two, f"T{k}") for k in two},
)
# As neuroconv names them.
nwb(
    "neuroconv.nwb",
    planes,
    {f"Fluorescence/RoiResponseSeriesChan1Plane{k}": (both[k] + 1, two, f"T{k}") for k in two}
    | {f"Fluorescence/NeuropilChan1Plane{k}": (P[:, :2], two, f"T{k}") for k in two}
    | {f"Fluorescence/DeconvolvedChan1Plane{k}": (P[:, :2], two, f"T{k}") for k in two},
)
nwb(
    "unpaired.nwb",
    {"T": None},
    {"Fluorescence/F": (X + 1, three, "T")} | {f"Neuropil/{k}": (P, three, "T") for k in "ab"},
)
# Two tables, and a reference to one, to one without such a column, and none.
tables = {"T": [1, 0, 1], "U": [1, 1, 1, 0]}
nwb("referred.nwb", tables, {"Fluorescence/F": (X, three, "T")})
nwb("referred_bare.nwb", {"T": None, "U": [1, 0, 1]}, {"Fluorescence/F": (X, three, "T")})
nwb("not_referred.nwb", tables, {"Fluorescence/F": (X, three, None)})
# Other channels, and corrected signals.
nwb("channels.nwb", {"T": None}, {f"Fluorescence/{k}": (X, three, "T") for k in ["GCaMP", "tdTomato"]})
nwb(
    "corrected.nwb",
    {"T": None},
    {f"Fluorescence/{k}": (X, three, "T") for k in ["neuropil_corrected", "deconvolved"]},
)
nwb(
    "raw_corrected.nwb",
    {"T": None},
    {f"Fluorescence/{k}": (X, three, "T") for k in ["Raw", "NeuropilCorrected"]},
)
nwb(
    "ratio.nwb",
    {"T": None},
    {"Fluorescence/dff": (X, three, "T"), "Fluorescence/Neuropil": (P, three, "T")},
)
# A plane without a cell; none with one.
for name, last in [("one_empty.nwb", 1), ("all_empty.nwb", 0)]:
    nwb(
        name,
        {"T": [0, 0, last, last, last]},
        {"Fluorescence/plane0": (X[:, :2], two, "T"), "Fluorescence/plane1": (X, [2, 3, 4], "T")},
    )
nwb("scaled.nwb", {"T": None}, {"Fluorescence/F": (X, three, "T")})
with h5py.File(HERE / "scaled.nwb", "a") as f:
    f["processing/ophys/Fluorescence/F/data"].attrs["conversion"] = np.nan


# suite2p: a plane without a cell; planes at two rates.
def suite2p(folder, is_cell, rate):
    folder.mkdir(parents=True)
    np.save(folder / "F.npy", X.T.astype("f4"))
    np.save(folder / "Fneu.npy", np.zeros((3, 40), "f4"))
    np.save(folder / "iscell.npy", np.full((3, 2), is_cell))
    np.save(folder / "ops.npy", {"fs": rate})


for name, cells, rates in [("flyback", [0.0, 1.0], [RATE, RATE]), ("rates", [1.0, 1.0], [RATE, 4.0])]:
    for k in two:
        suite2p(HERE / name / f"plane{k}", cells[k], rates[k])

# netCDF: times in the units that their attribute says.
units = {"days since 2026-01-01": 86400, "minutes": 60, "milliseconds since 2026-01-01": 1e-3}
for text, unit_s in units.items():
    with h5py.File(HERE / f"{text.split()[0]}.nc", "w") as f:
        f["dff"], f["time"] = X, times / unit_s
        f["time"].attrs["units"] = text
with h5py.File(HERE / "axes.h5", "w") as f:
    f["stack"] = np.zeros((2, 3, 4, 5))

# MATLAB: rates that differ, a counter called t, times, complex numbers; NumPy: a dict.
savemat(HERE / "rates.mat", {"dff": X, "fs": 1000.0, "frameRate": RATE})
savemat(HERE / "same_rates.mat", {"dff": X, "fs": RATE, "frameRate": 8.001})
savemat(HERE / "counter.mat", {"dff": X, "t": np.arange(1.0, 41)})
savemat(HERE / "times.mat", {"dff": X, "t": times})
savemat(HERE / "complex.mat", {"z": X + 1j})
np.save(HERE / "dict.npy", {"F": X})

# suite2p's joining of planes: the last region ends five frames early, another shows nothing.
joined = HERE / "joined" / "suite2p" / "combined"
suite2p(joined, 1.0, RATE)
F, Fneu = X.T.astype("f4"), np.ones((3, 40), "f4")
F[1], Fneu[1], F[2, 35:], Fneu[2, 35:] = 0, 0, 0, 0
np.save(joined / "F.npy", F)
np.save(joined / "Fneu.npy", Fneu)

# minian: arrays over unit_id and frame, YrA with C in it; one alone.
for name, arrays in [("minian.nc", ["C", "YrA", "S"]), ("minian_alone.nc", ["C"])]:
    with h5py.File(HERE / name, "w") as f:
        for scale, values in [("unit_id", [4, 7, 9]), ("frame", range(40))]:
            f[scale] = np.array(values)
            f[scale].make_scale(scale)
        for array in arrays:
            f[array] = X.T if array == "YrA" else X.T / 2
            for axis, scale in enumerate(["unit_id", "frame"]):
                f[array].dims[axis].attach_scale(f[scale])
