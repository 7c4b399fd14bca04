"""Frames to a stream engine elsewhere: a durable log, the same analyses behind it, tables and views of the answers."""
