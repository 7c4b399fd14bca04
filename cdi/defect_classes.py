"""The names of what a crystal holds, one list for truth and prediction."""

CLASSES = ("none", "edge", "screw", "mixed")
"""The character shared by all lines of a crystal, ``mixed`` when they differ."""
