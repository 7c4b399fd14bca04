"""Near-data reduction on the simulation rank, before a frame is published: crop, bin, sum, cast, |z|²."""
