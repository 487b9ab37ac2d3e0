"""Makes readings/: tables and folders that are easily taken for what they are not.

python -m venv venv && venv/bin/pip install numpy pandas pynwb && venv/bin/python make_readings.py

Frame t of neuron n holds (7 t (n + 3) mod 11) / 4 - n, 40 frames of 3 neurons, 8 Hz.
"""

import shutil
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
from pynwb import NWBHDF5IO, NWBFile
from pynwb.ophys import Fluorescence, ImageSegmentation, OpticalChannel, RoiResponseSeries

HERE = Path(__file__).parent / "readings"
shutil.rmtree(HERE, ignore_errors=True)
HERE.mkdir()
t, n = np.meshgrid(np.arange(40), np.arange(3), indexing="ij")
X = (7 * t * (n + 3) % 11) / 4.0 - n
RATE = 8.0
seconds = np.arange(40) / RATE

# pandas: as it is, without its index, the other way round, with times as index or as header.
frame = pd.DataFrame(X)
frame.to_csv(HERE / "pandas.csv")
frame.to_csv(HERE / "pandas_no_index.csv", index=False)
frame.T.to_csv(HERE / "pandas_transposed.csv")
pd.DataFrame(X, index=seconds, columns=list("abc")).to_csv(HERE / "pandas_time_index.csv")
pd.DataFrame(X.T, columns=seconds).to_csv(HERE / "pandas_times_across.csv")
pd.DataFrame(X.T, index=["C0", "C1", "C2"]).to_csv(HERE / "pandas_named_rows.csv")
# Spikefinder's: neurons of unequal length under their numbers.
short = frame.copy()
short.iloc[35:, 2] = np.nan
short.to_csv(HERE / "spikefinder.csv", index=False)

# Times under other names and in other units, numbers of trials.
named = pd.DataFrame(X, columns=list("abc"))
milliseconds = named.copy()
milliseconds.insert(0, "Frame", np.arange(40))
milliseconds.insert(1, "time_ms", 1000 * seconds)
milliseconds.to_csv(HERE / "time_ms.csv", index=False)
brackets = named.copy()
brackets["Time [s]"] = seconds + 2.0
brackets.to_csv(HERE / "time_last.csv", index=False)
trials = named.copy()
trials.insert(0, "trial", np.arange(40) // 10)
trials.insert(1, "time", np.tile(seconds[:10], 4))
trials.to_csv(HERE / "trials.csv", index=False)
dropped = named.copy()
dropped.insert(0, "frame", np.arange(40))
dropped.drop(index=[20, 21]).to_csv(HERE / "dropped_frames.csv", index=False)

# Text without commas: MATLAB's save -ascii; a semicolon in a comma file's header.
np.savetxt(HERE / "ascii.txt", X, fmt="%16.7e", delimiter="")
(HERE / "semicolon.csv").write_text(
    "a; left,b,c\n" + "".join(",".join(map(repr, map(float, row))) + "\n" for row in X)
)
(HERE / "pipes.txt").write_text("".join("|".join(map(str, row)) + "|\n" for row in X))


def suite2p(name, ops, **others):
    plane = HERE / name / "plane0"
    plane.mkdir(parents=True)
    np.save(plane / "F.npy", (X.T + 1.0).astype("f4"))
    np.save(plane / "Fneu.npy", np.full((3, 40), 2.0, "f4"))
    np.save(plane / "iscell.npy", np.ones((3, 2)))
    for file, content in {"ops": ops, **others}.items():
        np.save(plane / f"{file}.npy", content)


# suite2p: frames that it flagged, its own coefficient, NumPy's scalars; version 1 keeps them elsewhere.
bad = np.zeros(40, bool)
bad[10:14] = True
suite2p("flagged", {"fs": np.float64(RATE), "neucoeff": np.float32(0.5), "badframes": bad})
suite2p(
    "version1",
    {"fs": RATE, "nframes": np.int64(40)},
    settings={"fs": RATE, "extraction": {"neuropil_extract": True, "neuropil_coefficient": 0.5}},
    reg_outputs={"yoff": np.arange(40), "badframes": bad},
)

# suite2p's NWB: every region, a column iscell, and the neuropil in a series of its own.
file = NWBFile(
    session_description="golden",
    identifier="suite2p",
    session_start_time=datetime(2026, 1, 1, tzinfo=timezone.utc),
)
imaging = file.create_imaging_plane(
    name="ImagingPlane",
    optical_channel=OpticalChannel(name="green", description="", emission_lambda=510.0),
    description="",
    device=file.create_device(name="Microscope"),
    excitation_lambda=920.0,
    indicator="GCaMP",
    location="V1",
    imaging_rate=RATE,
)
segmentation = ImageSegmentation()
plane = segmentation.create_plane_segmentation(
    name="PlaneSegmentation", description="", imaging_plane=imaging
)
for i in range(3):
    plane.add_roi(pixel_mask=[(i, i, 1.0)])
plane.add_column("iscell", "two columns - iscell & probcell", np.array([[1, 0.9], [0, 0.1], [1, 0.6]]))
ophys = file.create_processing_module("ophys", "")
ophys.add(segmentation)
rois = plane.create_roi_table_region(region=list(range(3)), description="")
for name, values in [("Fluorescence", X + 1.0), ("Neuropil", np.full_like(X, 2.0)), ("Deconvolved", X)]:
    series = RoiResponseSeries(name=name, data=values, rois=rois, unit="lumens", rate=RATE)
    ophys.add(Fluorescence(name=name, roi_response_series=series))
with NWBHDF5IO(HERE / "ophys.nwb", "w") as io:
    io.write(file, cache_spec=False)
