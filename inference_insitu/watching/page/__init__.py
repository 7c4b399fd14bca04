"""The live view of a run in a browser: one page on this machine's loopback, behind a token."""
