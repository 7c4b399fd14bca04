"""What this machine can do for a coupled run, each answer from a trial in a child process."""
