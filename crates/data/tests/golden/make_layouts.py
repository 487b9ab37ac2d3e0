"""Makes layouts/: the recording of make_recordings.py as the usual tools lay it out.

python -m venv venv && venv/bin/pip install scipy h5py hdf5plugin pandas tables openpyxl xarray h5netcdf && venv/bin/python make_layouts.py

Frame t of neuron n holds t / 4 - n, 12 frames of 3 neurons, 8 Hz.
"""

import shutil
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import xarray as xr
from scipy.io import savemat

HERE = Path(__file__).parent / "layouts"
shutil.rmtree(HERE, ignore_errors=True)
HERE.mkdir()
t, n = np.meshgrid(np.arange(12), np.arange(3), indexing="ij")
X = t / 4.0 - n
RATE = 8.0

# MATLAB v5 to v7 and v4: variables, structs to any depth, cells, what is no number.
session = {
    "imaging": {"fs": RATE, "dff": X, "name": "mouse 7"},
    "quality": np.array([[1, 0, 1]], bool),
}
cells = np.empty((1, 2), object)
cells[:] = [[np.eye(3), "text"]]
for name, compressed in [("plain", False), ("deflated", True)]:
    savemat(
        HERE / f"struct_{name}.mat",
        {"session": session, "cells": cells, "note": "a note", "day": 3},
        do_compression=compressed,
    )
savemat(HERE / "single.mat", {"F": X.astype("f4"), "fs": np.int16(8)})
savemat(HERE / "int16.mat", {"F": (4 * X).astype("i2"), "fs": RATE})
savemat(HERE / "version4.mat", {"F": X}, format="4")
# Of two trials, [trial, time, neuron].
savemat(HERE / "trials.mat", {"F": X.reshape(2, 6, 3), "dt": 1 / RATE})


def swapped(name, variable, values):
    """A big-endian file, which only old machines write: one matrix of doubles."""
    matrix = b"".join(
        kind.to_bytes(4, "big") + len(part).to_bytes(4, "big") + part + bytes(-len(part) % 8)
        for kind, part in [
            (6, (6).to_bytes(4, "big") + bytes(4)),
            (5, np.array(values.shape, ">i4").tobytes()),
            (1, variable.encode()),
            (9, values.astype(">f8").tobytes(order="F")),
        ]
    )
    header = b"MATLAB 5.0 MAT-file, Platform: SOL2".ljust(124) + b"\x01\x00MI"
    tag = (14).to_bytes(4, "big") + len(matrix).to_bytes(4, "big")
    (HERE / name).write_bytes(header + tag + matrix)


swapped("big_endian.mat", "dff", X)

# CNMF-E and EXTRACT in MATLAB v7, and CNMF-E in v7.3.
cnmfe = {"A": np.ones((20, 3)), "C_raw": X.T, "C": X.T + 1, "S": X.T * 0, "Fs": RATE}
savemat(HERE / "cnmfe.mat", {"neuron": cnmfe})
savemat(
    HERE / "extract.mat",
    {"output": {"spatial_weights": np.ones((4, 5, 3)), "temporal_weights": X}},
)
with h5py.File(HERE / "cnmfe73.mat", "w", userblock_size=512) as f:
    for name, values in cnmfe.items():
        f[f"neuron/{name}"] = np.atleast_2d(values).T
        f[f"neuron/{name}"].attrs["MATLAB_class"] = np.bytes_("double")
    f["neuron"].attrs["MATLAB_class"] = np.bytes_("struct")
with open(HERE / "cnmfe73.mat", "r+b") as f:
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 ."
    f.write(text.ljust(116) + bytes(8) + b"\x00\x02IM")

# CaImAn: [roi, time], region 1 rejected; the second file has no dF/F.
for name, with_ratio in [("caiman.hdf5", True), ("caiman_no_dff.hdf5", False)]:
    with h5py.File(HERE / name, "w") as f:
        f["estimates/C"] = X.T - 0.5
        f["estimates/YrA"] = np.full((3, 12), 0.5)
        f["estimates/S"] = np.zeros((3, 12))
        f["estimates/F_dff"] = X.T / 2 if with_ratio else "NoneType"
        f["estimates/idx_components"] = np.array([0, 2])
        for part, values in [("data", [1.0]), ("indices", [0]), ("indptr", [0, 1])]:
            f[f"estimates/A/{part}"] = np.array(values)
        f["params/data/fr"] = RATE
        f["params/data/decay_time"] = 0.4

# AllenSDK: [roi, time] with names; nothing says the rate.
with h5py.File(HERE / "allen_dff.h5", "w") as f:
    f["data"] = X.T
    f["roi_names"] = np.array([b"517", b"518", b"521"])
    f["sigma_dff"] = np.ones(3)
with h5py.File(HERE / "allen_events.h5", "w") as f:
    f["events"] = np.abs(X.T)
    f["filtered_events"] = np.abs(X.T) / 2
    f["roi_names"] = np.array([517, 518, 521])

# HDF5: deep, with times beside it or a rate on it; compressions; links; a virtual dataset.
with h5py.File(HERE / "deep.h5", "w") as f:
    f["a/b/c/d/dff"] = X
    f["a/b/c/d/timestamps"] = 2 + np.arange(12) / RATE
    f["a/b/labels"] = np.array([["x", "y"], ["z", "w"]], dtype=object)
with h5py.File(HERE / "rate_on_it.h5", "w") as f:
    f["mouse/day1/dff"] = X
    f["mouse/day1/dff"].attrs["sampling_rate"] = RATE
with h5py.File(HERE / "lzf.h5", "w") as f:
    # Long enough that it does not stay as it is.
    f.create_dataset("dff", data=np.repeat(X, 40, axis=0), compression="lzf", shuffle=True)
    f.attrs["fs"] = RATE
for name, compression in [("blosc", hdf5plugin.Blosc()), ("zstd", hdf5plugin.Zstd())]:
    with h5py.File(HERE / f"{name}.h5", "w") as f:
        f.create_dataset("dff", data=X, **compression)
        f.attrs["fs"] = RATE
with h5py.File(HERE / "linked.h5", "w") as f:
    f["dff"] = h5py.ExternalLink("deep.h5", "/a/b/c/d/dff")
    f["lost"] = h5py.ExternalLink("elsewhere.h5", "/dff")
    f.attrs["fs"] = RATE
layout = h5py.VirtualLayout((12, 3), "f8")
layout[:] = h5py.VirtualSource("deep.h5", "a/b/c/d/dff", (12, 3))
with h5py.File(HERE / "virtual.h5", "w") as f:
    f.create_virtual_dataset("movie", layout)
    f["dff"] = X
    f.attrs["fs"] = RATE
with h5py.File(HERE / "only_virtual.h5", "w") as f:
    f.create_virtual_dataset("dff", layout)


# suite2p: Fall.mat; a session of two planes; one plane and suite2p's own joining of all; settings with
# NumPy's scalars, as version 1 has them in settings.npy.
Fneu = np.full((3, 12), 2.0)
iscell = np.array([[1, 0.9], [0, 0.2], [1, 0.7]])
savemat(
    HERE / "Fall.mat",
    {
        "F": X.T + 0.5 * Fneu,
        "Fneu": Fneu,
        "spks": X.T * 0,
        "iscell": iscell,
        "ops": {"fs": RATE, "neucoeff": 0.5, "meanImg": np.ones((4, 4))},
        "stat": np.array([{"ypix": np.arange(4), "lam": np.ones(4)}], object),
    },
)


def plane(folder, n_frames=12, settings="ops.npy"):
    folder = HERE / folder
    folder.mkdir(parents=True)
    np.save(folder / "F.npy", (X.T + 0.5 * Fneu)[:, :n_frames].astype("f4"))
    np.save(folder / "Fneu.npy", Fneu[:, :n_frames].astype("f4"))
    np.save(folder / "iscell.npy", iscell)
    if settings == "ops.npy":
        np.save(folder / settings, {"fs": np.float64(RATE), "neucoeff": np.float32(0.5)})
    else:
        extraction = {"neuropil_coefficient": 0.5}
        np.save(folder / settings, {"fs": RATE, "extraction": extraction})


plane("session/suite2p/plane0")
plane("session/suite2p/plane1", n_frames=11)
plane("joined/plane0", settings="settings.npy")
plane("joined/plane1", settings="settings.npy")
plane("joined/combined", settings="settings.npy")

# International Brain Laboratory: [time, roi], with the identifiers of downloaded files.
field = HERE / "ibl" / "alf" / "FOV_00"
field.mkdir(parents=True)
uuid = "f9860a11-24d3-452e-ab95-39e199f20a93"
np.save(field / f"mpci.ROIActivityF.{uuid}.npy", (X + 1.4).astype("f4"))
np.save(field / "mpci.ROINeuropilActivityF.npy", np.full((12, 3), 2.0, "f4"))
np.save(field / "mpci.times.npy", 2 + np.arange(12) / RATE)
np.save(field / "mpci.badFrames.npy", np.arange(12) == 5)
np.save(field / "mpciROIs.mpciROITypes.npy", np.array([1, 0, 1], "i2"))

# minian's Zarr, as far as it is looked at.
(HERE / "minian").mkdir()
(HERE / "minian" / ".zgroup").write_text('{"zarr_format": 2}')

# NWB 1.0 as the Allen Brain Observatory has it: [roi, time], types by name and ancestry.
with h5py.File(HERE / "version1.nwb", "w") as f:
    f["nwb_version"] = "NWB-1.0.5"
    module = f.create_group("processing/brain_observatory_pipeline")
    for container in ["DfOverF", "Fluorescence"]:
        series = module.create_group(f"{container}/imaging_plane_1")
        module[container].attrs["neurodata_type"] = "Interface"
        series.attrs["neurodata_type"] = "TimeSeries"
        series.attrs["ancestry"] = ["TimeSeries", "RoiResponseSeries"]
        series["data"] = X.T + (0 if container == "DfOverF" else 100)
        series["timestamps"] = 2 + np.arange(12) / RATE
    module["ImageSegmentation/cell_specimen_ids"] = np.array([517, 518, 521])


def series(file, path, kind, values):
    group = file.create_group(path)
    group.attrs["neurodata_type"] = kind
    group["data"] = values
    group["starting_time"] = 2.0
    group["starting_time"].attrs["rate"] = RATE


# NWB: traces of regions elsewhere than in processing, and a series of another kind; trials before, at the
# start of, in and after the imaging.
with h5py.File(HERE / "elsewhere.nwb", "w") as f:
    f.attrs["nwb_version"] = "2.7.0"
    series(f, "analysis/mine/traces", "RoiResponseSeries", X)
    series(f, "acquisition/photometry", "TimeSeries", X[:, :2])
    f["intervals/trials/start_time"] = [0.0, 1.5, 2.5, 9.0]
    f["intervals/trials/stop_time"] = [1.0, 2.5, 3.0, 10.0]

# Tables.
ids = ["C0", "C1", "C2"]
rows = [[i / RATE, *map(float, row)] for i, row in enumerate(X)]


def lines(separator, rows, end="\n"):
    return "".join(separator.join(str(cell) for cell in row) + end for row in rows)


def text(name, text, encoding="utf-8"):
    (HERE / name).write_bytes(text.encode(encoding))


text(
    "inscopix.csv",
    " , C0, C1, C2\nTime(s)/Cell Status, accepted, rejected, accepted\n" + lines(",", rows),
)
text(
    "fiji.csv",
    " ,Area1,Mean1,Min1,Area2,Mean2,Min2,Area3,Mean3,Min3\n"
    + lines(",", [[i + 1, *sum(([50, v, 0] for v in row), [])] for i, row in enumerate(X)]),
)
text("r.csv", '"a","b","c"\n' + lines(",", [[f'"{i + 1}"', *row] for i, row in enumerate(X)]))
long = [[unit, frame, X[frame, k]] for k, unit in enumerate(ids) for frame in range(12)]
text("long.csv", "unit_id,frame,value\n" + lines(",", long))
long = [[frame / RATE, unit, X[frame, k]] for frame in range(12) for k, unit in enumerate(ids)]
text("long_times.csv", "Time (s),Cell Name,dF/F\n" + lines(",", long))
spikes = [[0.05, "C0"], [0.06, "C0"], [0.2, "C1"], [0.7, "C0"], [0.99, "C1"]]
text("spikes.csv", "time,unit\n" + lines(",", spikes))
comma = lines(";", rows).replace(".", ",")
text("decimal_comma.csv", "time;C0;C1;C2\n" + comma)
text("excel.csv", "sep=;\r\ntime;C0;C1;C2\r\n" + comma.replace("\n", "\r\n"))
text("utf16.txt", "time\tC0\tC1\tC2\n" + lines("\t", rows), "utf-16")
text("latin1.csv", "time,C0 µ,C1 é,C2\n" + lines(",", rows), "latin-1")
text("bom.csv", "\ufefftime,C0,C1,C2\n" + lines(",", rows))
text("wrong_cell.csv", "a,b\r\n1,2\r\n3,x\r\n")
text(
    "behaviour.csv",
    "time,speed,cell_0,cell_1,cell_2,licks\n"
    + lines(",", [[row[0], 7 * row[0] % 1, *row[1:], 0] for row in rows]),
)
text("cells.json", str(X.tolist()))

# pandas: dates as index, a workbook, and PyTables' two ways; a table of records by hand.
frame = pd.DataFrame(X.astype("f4"), columns=ids)
dated = frame.set_index(pd.Timestamp("2024-05-01 23:59:59.5") + pd.to_timedelta(t[:, 0] / RATE, "s"))
dated.to_csv(HERE / "dates.csv")
text("times_of_day.csv", dated.set_index(dated.index.strftime("%H:%M:%S.%f")).to_csv())
frame.to_excel(HERE / "workbook.xlsx")
for kind in ["fixed", "table"]:
    frame.to_hdf(HERE / f"pandas_{kind}.h5", key="traces", format=kind)
records = np.zeros(12, [("time", "f8"), ("speed", "f4")] + [(f"cell_{k}", "f4") for k in range(3)])
records["time"] = t[:, 0] / RATE
for k in range(3):
    records[f"cell_{k}"] = X[:, k]
with h5py.File(HERE / "records.h5", "w") as f:
    f["table"] = records
    f["complex"] = np.zeros((12, 3), complex)

# MATLAB: trials of 4, 3 and 5 frames in cells, [neuron, time], of both formats.
trials = [X[:4].T, X[4:7].T, X[7:].T]
cells = np.empty((1, 3), object)
cells[0, :] = trials
savemat(HERE / "cells.mat", {"trials": cells, "fs": RATE})
with h5py.File(HERE / "cells73.mat", "w", userblock_size=512) as f:
    references = f.create_dataset("trials", (3, 1), h5py.ref_dtype)
    references.attrs["MATLAB_class"] = np.bytes_("cell")
    for k, trial in enumerate(trials):
        f[f"#refs#/{'bca'[k]}"] = trial.T
        f[f"#refs#/{'bca'[k]}"].attrs["MATLAB_class"] = np.bytes_("double")
        references[k, 0] = f[f"#refs#/{'bca'[k]}"].ref
    f["fs"] = np.array([[RATE]])
with open(HERE / "cells73.mat", "r+b") as f:
    f.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")

# NWB: two planes imaged in turn, regions 0 and 1 in one and 2 in the other; and two that are not.
for name, later_s in [("planes.nwb", 0.0625), ("sessions.nwb", 600.0)]:
    with h5py.File(HERE / name, "w") as f:
        f.attrs["nwb_version"] = "2.7.0"
        f.create_group("processing/ophys/Fluorescence").attrs["neurodata_type"] = "Fluorescence"
        for k, columns in enumerate([[0, 1], [2]]):
            path = f"processing/ophys/Fluorescence/plane{k}"
            series(f, path, "RoiResponseSeries", X[:, columns])
            f[f"{path}/starting_time"][()] = 2 + k * later_s
            f[f"{path}/rois"] = np.arange(len(columns))

# xarray: netCDF 4 with numbers packed into integers, as its encoding does; a number is missing.
gap = X.copy()
gap[5, 1] = np.nan
packing = {"dtype": "int16", "scale_factor": 0.25, "add_offset": 1.0, "_FillValue": -32768}
xr.Dataset({"dff": (("frame", "unit_id"), gap)}).to_netcdf(
    HERE / "packed.nc", engine="h5netcdf", encoding={"dff": packing}
)
