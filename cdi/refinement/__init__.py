"""Fits of crystals to their patterns through the forward model, and what the patterns say against a hypothesis."""
