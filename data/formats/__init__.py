"""Files of the field, each format in one place: what beamlines, simulations and viewers write and read."""
