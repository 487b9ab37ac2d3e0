"""Whether results in NWB and for pynapple are what those who read on expect.

pip install pynwb nwbinspector pynapple && python check_results.py results.nwb rates.tsd.npz

Prints what pynwb's validator and nwbinspector (only critical) find, and what pynapple opens.
"""

import sys
import warnings

warnings.filterwarnings("ignore")

import pynapple
from nwbinspector import Importance, inspect_nwbfile
from pynwb import NWBHDF5IO, validate

for path in sys.argv[1:]:
    print(path)
    if path.endswith(".nwb"):
        print("  validator:", validate(path=path))
        for message in inspect_nwbfile(
            nwbfile_path=path, importance_threshold=Importance.CRITICAL
        ):
            print("  critical:", message.check_function_name, message.location)
        with NWBHDF5IO(path, "r") as io:
            module = io.read().processing["ophys"]
            for name, series in module.data_interfaces.items():
                print(f"  {name}: {type(series).__name__}")
    print(pynapple.load_file(path))
