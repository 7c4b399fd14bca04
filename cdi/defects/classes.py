"""The names of what a crystal holds, one list for truth and prediction."""

CHARACTERS = ("none", "edge", "screw", "mixed")
"""Straight perfect dislocations by the character shared by all lines, ``mixed`` when they differ."""

CLASSES = (*CHARACTERS, "partial-or-fault", "loop-or-network")
"""All classes of a sample's truth; twins, vacancies and strain alone count as ``none``."""
