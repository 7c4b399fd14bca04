"""Reads every step of an SST stream: the other end of ``peers.py``."""

import sys

import adios2
import numpy as np

reading = adios2.Adios().declare_io("reader")
reading.set_engine("SST")
engine = reading.open(sys.argv[1], adios2.bindings.Mode.Read)
while engine.begin_step(adios2.bindings.StepMode.Read, 60.0) == adios2.bindings.StepStatus.OK:
    variable = reading.inquire_variable("pattern")
    pattern = np.empty(variable.shape(), np.float32)
    engine.get(variable, pattern, adios2.bindings.Mode.Sync)
    engine.end_step()
engine.close()
