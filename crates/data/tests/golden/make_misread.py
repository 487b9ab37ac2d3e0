"""Makes misread/: files of which more or less was read than they hold, with the libraries that write them.

python -m venv venv && venv/bin/pip install scipy h5py pandas tables zarr && venv/bin/python make_misread.py

Frame t of neuron n holds (7 t (n + 3) mod 11) / 4 - n, 40 frames of 3 neurons, 8 Hz.
"""

import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import zarr
from scipy.io import savemat
from scipy.sparse import csc_matrix

HERE = Path(__file__).parent / "misread"
shutil.rmtree(HERE, ignore_errors=True)
HERE.mkdir()
t, n = np.meshgrid(np.arange(40), np.arange(3), indexing="ij")
X = (7 * t * (n + 3) % 11) / 4 - n
RATE = 8.0
times = t[:, 0] / RATE
names = ["a", "b", "c"]

# pandas: columns of several types lie apart; dates as index.
frame = pd.DataFrame(X, columns=names)
frame.insert(0, "time", times)
frame["trial"] = np.repeat([0, 1, 2, 3], 10)
frame.to_hdf(HERE / "pandas_fixed.h5", key="frame")
frame.to_hdf(HERE / "pandas_table.h5", key="frame", format="table", index=False)
dates = pd.Timestamp("2026-01-01") + pd.to_timedelta(times, "s")
pd.DataFrame(X, columns=names, index=dates).to_hdf(HERE / "pandas_dates.h5", key="frame")
pd.DataFrame(X, columns=[12, 7, 8], index=dates).to_csv(HERE / "pandas_dates.csv")

# NumPy's structured arrays.
records = np.zeros(40, [("time", "<f8"), ("mouse", "<U4"), ("a", "<f4"), ("b", "<f8"), ("c", "<f4")])
records["time"] = times
for k, name in enumerate(names):
    records[name] = X[:, k]
np.save(HERE / "records.npy", records)
# Seconds since 1970, of which 32 bits keep nothing.
np.save(HERE / "unix.npy", np.column_stack([1.7e9 + times, X]))

# MATLAB: arrays of structs and of cells, whose elements are trials or traces; objects and sparse matrices.
trials = np.zeros((1, 4), [("dff", "O"), ("fs", "O")])
rois = np.zeros((1, 3), [("trace", "O"), ("id", "O")])
cells = np.empty((1, 3), object)
for k in range(4):
    trials[0, k] = (X[10 * k : 10 * k + 10], RATE)
for k in range(3):
    rois[0, k] = (X[:, [k]].T, k)
    cells[0, k] = X[:, [k]].T
savemat(HERE / "struct_trials.mat", {"trial": trials})
savemat(HERE / "struct_rois.mat", {"roi": rois, "fs": RATE})
savemat(HERE / "cell_rois.mat", {"traces": cells, "t": times})
savemat(HERE / "sparse.mat", {"S": csc_matrix(X)})
for name, with_matrix in [("objects.mat", True), ("only_table.mat", False)]:
    with h5py.File(HERE / name, "w", userblock_size=512) as f:
        objects = {"tab": "table", "note": "string"}
        for variable, kind in objects.items() if with_matrix else [("tab", "table")]:
            f[variable] = np.array([[0xDD000000], [2], [1], [1], [1], [1]], "u4")
            f[variable].attrs["MATLAB_class"] = np.bytes_(kind)
            f[variable].attrs["MATLAB_object_decode"] = np.int32(3)
        if with_matrix:
            f["F"], f["fs"] = X.T, [[RATE]]
            for variable in ["F", "fs"]:
                f[variable].attrs["MATLAB_class"] = np.bytes_("double")
    with open(HERE / name, "r+b") as f:
        f.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")

# HDF5: one array under two names, beside an image; places of regions; rates that are the length of a frame;
# CaImAn that accepts no region.
with h5py.File(HERE / "links.h5", "w") as f:
    f["a/dff"] = X
    f["b"] = f["a/dff"]
    f["c"] = h5py.SoftLink("/a/dff")
    f["mean_image"] = np.ones((8, 8))
    f.attrs["fs"] = RATE
with h5py.File(HERE / "places.h5", "w") as f:
    f["roi_centroids"] = X[:, :2]
    f.attrs["fs"] = RATE
with h5py.File(HERE / "period.h5", "w") as f:
    f["dff"] = X
    f.attrs["fs"] = 1 / RATE
with h5py.File(HERE / "none_accepted.hdf5", "w") as f:
    f["estimates/C"], f["estimates/YrA"] = X.T, X.T
    f["estimates/idx_components"] = np.array([], int)
    f["params/data/fr"] = RATE

# minian: a folder of Zarr stores, of both versions; a store in an archive; the oldest pickle.
for version in [2, 3]:
    store = zarr.open_group(HERE / f"minian{version}" / "YrA.zarr", mode="w", zarr_format=version)
    store.create_array("YrA", data=X.T)
with zarr.storage.ZipStore(HERE / "store.zip", mode="w") as archive:
    zarr.open_group(archive, mode="w").create_array("YrA", data=X.T)
(HERE / "old.pkl").write_bytes(pickle.dumps(X, protocol=0))
