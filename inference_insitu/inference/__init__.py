"""The worker that answers frames: a process of its own, supervised, restarted, and no MPI rank."""
