"""Writes foreign_v0.h5 and foreign_v3.h5: files as others make them.

    pip install h5py==3.16.0 numpy==2.4.6 && python make_foreign.py
"""

from pathlib import Path

import h5py
import numpy as np

HERE = Path(__file__).parent
SHAPE = (3, 4, 2)
INDEX = np.arange(24).reshape(SHAPE)


def common(f):
    f["train_spikes"] = (INDEX % 5).astype(">i2")
    f.create_dataset(
        "train_fluor", data=(INDEX / 8 - 1).astype(">f8"), chunks=(2, 3, 2), compression="gzip", shuffle=True
    )
    f["train_rates"] = (INDEX / 4).astype("<f2")
    f["train_calcium"] = INDEX.astype(">u4")
    f["valid_spikes"] = INDEX[:2] % 3 == 0
    f["valid_fluor"] = (INDEX[:2] / 8).astype(">f4")
    f["loadings"] = np.array([[1.5, -1.25]])
    f["unrelated/strings"] = ["a", "b"]


with h5py.File(HERE / "foreign_v0.h5", "w", libver="earliest") as f:
    common(f)
    f["dt"] = np.array(0.25, ">f4")
    f.attrs["tau"] = np.array([2], ">i4")

with h5py.File(HERE / "foreign_v3.h5", "w", libver="latest", userblock_size=512) as f:
    common(f)
    f.attrs["dt"] = 0.25
    f["tau"] = np.array([2], "i1")
    f.attrs["discretisation"] = "exact"
    f.attrs["recipe"] = np.bytes_("hand made")
    f.attrs["seed"] = 7
