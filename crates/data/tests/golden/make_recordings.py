"""Makes recordings/: the same tiny recording in every format, by the formats' own tools.

python -m venv venv && venv/bin/pip install numpy h5py pynwb && venv/bin/python make_recordings.py

Frame t of neuron n holds t / 4 - n (exact in every type used), 12 frames of 3 neurons, 8 Hz.
"""

import shutil
from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np
from hdmf.common import DynamicTableRegion
from pynwb import NWBHDF5IO, NWBFile
from pynwb.device import Device
from pynwb.ophys import (
    DfOverF,
    Fluorescence,
    ImageSegmentation,
    RoiResponseSeries,
)

HERE = Path(__file__).parent / "recordings"
shutil.rmtree(HERE, ignore_errors=True)
HERE.mkdir()
t, n = np.meshgrid(np.arange(12), np.arange(3), indexing="ij")
X = t / 4.0 - n
RATE = 8.0

# npy: types, byte orders, axis orders, header versions.
np.save(HERE / "f4.npy", X.astype("<f4"))
np.save(HERE / "f8_big_fortran.npy", np.asfortranarray(X.astype(">f8")))
np.save(HERE / "f2.npy", X.astype("<f2"))
np.save(HERE / "i2_big.npy", (4 * X).astype(">i2"))
np.save(HERE / "u1.npy", (4 * X + 8).astype("u1"))
np.save(HERE / "i8_fortran.npy", np.asfortranarray((4 * X).astype("<i8")))
np.save(HERE / "bool.npy", X > 0)
for version in [(2, 0), (3, 0)]:
    with open(HERE / f"version{version[0]}.npy", "wb") as f:
        np.lib.format.write_array(f, X.astype("<f4"), version=version)
np.save(HERE / "complex.npy", X.astype(complex))
np.savez(HERE / "stored.npz", dff=X.astype("<f4"), fs=RATE, note=np.array("mouse 7"))
stamps = 10 + np.delete(np.arange(12), [4, 5]) / RATE
np.savez_compressed(
    HERE / "dropped.npz", dff=np.delete(X, [4, 5], axis=0), timestamps=stamps
)
np.savez(HERE / "two.npz", f=X, dff=X, fs=RATE)

# CSV, as pandas and as numpy write it.
with open(HERE / "header.csv", "w") as f:
    f.write("time,a,b,c\n")
    for i, row in enumerate(X):
        cells = ["" if (i, j) == (2, 1) else repr(float(v)) for j, v in enumerate(row)]
        f.write(",".join([repr(i / RATE), *cells]) + "\n")
np.savetxt(HERE / "savetxt.csv", X)

# suite2p: F, Fneu [roi, time], iscell [roi, (accepted, probability)], ops a pickled dict.
plane = HERE / "suite2p" / "plane0"
plane.mkdir(parents=True)
Fneu = np.full((3, 12), 2.0, "<f4")
np.save(plane / "Fneu.npy", Fneu)
np.save(plane / "F.npy", (X.T + 0.5 * Fneu).astype("<f4"))
np.save(plane / "iscell.npy", np.array([[1, 0.9], [0, 0.2], [1, 0.7]]))
ops = {
    "suite2p_version": "0.14.4",
    "look_one_level_down": False,
    "tau": 1.0,
    "fs": RATE,
    "nplanes": 1,
    "meanImg": np.zeros((4, 4), "f4"),
    "yrange": [0, 512],
    "save_path": "/data/fs/plane0",
}
np.save(plane / "ops.npy", ops)


def nwb(name, transposed=False, times=False, more=False):
    file = NWBFile(
        session_description="golden",
        identifier=name,
        session_start_time=datetime(2026, 1, 1, tzinfo=timezone.utc),
    )
    device = file.add_device(Device(name="microscope"))
    channel = __import__("pynwb").ophys.OpticalChannel(
        name="green", description="", emission_lambda=510.0
    )
    imaging = file.create_imaging_plane(
        name="plane",
        optical_channel=channel,
        description="",
        device=device,
        excitation_lambda=920.0,
        indicator="GCaMP6f",
        location="V1",
        imaging_rate=RATE,
    )
    segmentation = ImageSegmentation()
    plane = segmentation.create_plane_segmentation(
        name="rois", description="", imaging_plane=imaging
    )
    for i in range(4):
        mask = np.zeros((2, 2))
        mask[i // 2, i % 2] = 1
        plane.add_roi(image_mask=mask)
    ophys = file.create_processing_module("ophys", "")
    ophys.add(segmentation)

    def series(name, values):
        region = plane.create_roi_table_region(region=[0, 2, 3], description="")
        clock = (
            {"timestamps": 2 + np.delete(np.arange(12), [4, 5]) / RATE}
            if times
            else {"rate": RATE, "starting_time": 2.0}
        )
        values = np.delete(values, [4, 5], axis=0) if times else values
        return RoiResponseSeries(
            name=name,
            data=values.T if transposed else values,
            rois=region,
            unit="a.u.",
            **clock,
        )

    ophys.add(
        Fluorescence(name="Fluorescence", roi_response_series=series("raw", X + 100))
    )
    if more:
        ophys.add(
            Fluorescence(name="Neuropil", roi_response_series=series("neuropil", X * 0))
        )
        ophys.add(DfOverF(name="DfOverF", roi_response_series=series("dff", X)))
    file.add_trial(start_time=2.0, stop_time=2.5)
    file.add_trial(start_time=2.625, stop_time=3.25)
    with NWBHDF5IO(HERE / f"{name}.nwb", "w") as io:
        io.write(file, cache_spec=False)


nwb("rate", more=True)
nwb("times", times=True)
nwb("transposed", transposed=True)
with h5py.File(HERE / "rate.nwb", "a") as f:
    # Other tools point to one array from several places.
    f.move("processing/ophys/DfOverF/dff/data", "scratch_data")
    f["processing/ophys/DfOverF/dff/data"] = h5py.SoftLink("/scratch_data")

# MATLAB v7.3: a 512-byte block, then HDF5 with reversed axes.
with h5py.File(HERE / "session.mat", "w", userblock_size=512) as f:
    f["dff"] = X.T
    f["dff"].attrs["MATLAB_class"] = np.bytes_("double")
    f["fs"] = [[RATE]]
    f["fs"].attrs["MATLAB_class"] = np.bytes_("double")
    f["mouse"] = np.array([[77], [55]], "u2")
    f["mouse"].attrs["MATLAB_class"] = np.bytes_("char")
    f["trials"] = np.array([[1.0, 2.0], [3.0, 4.0]])
    f["trials"].attrs["MATLAB_class"] = np.bytes_("double")
with open(HERE / "session.mat", "r+b") as f:
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 ."
    f.write(text.ljust(116) + bytes(8) + b"\x00\x02IM")
(HERE / "old.mat").write_bytes(
    b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x01IM"
)

# LFADS: trials, the second shorter (NaN), held-out ones shorter still.
trials = np.stack([X[:5], X[5:10], X[2:7]])
trials[1, 3:] = np.nan
with h5py.File(HERE / "lfads.h5", "w") as f:
    f["train_data"] = trials
    f["valid_data"] = np.stack([X[8:12]])
    f["dt"] = 1 / RATE
with h5py.File(HERE / "plain.h5", "w") as f:
    f["session/dff"] = X.astype("f4")
    f.attrs["fs"] = RATE
