"""Rings in shared memory: one writer, one reader, slots whose every state somebody owns."""
