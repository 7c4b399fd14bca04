"""Arrays that live on a GPU: what they are, which way they take to a slot, and why.  Free of torch and MPI.

``arrays.device_array`` answers None for what is the host's; ``probe.open_path`` tries and chooses once.

The rule for the simulation: **once publish has returned, the array may be overwritten or freed by work on the stream it
was published on, or ordered after it.**  Each path copies in that stream's order into memory of its own.  Where no
stream is known (none in ``__cuda_array_interface__``; DLPack) publish waits for that copy, and any work may follow.
"""
