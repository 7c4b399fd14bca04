"""Networks that read defects from diffraction patterns, and what surrounds them.

Preprocessing, checkpoints (weights plus a plain configuration), prediction and line tracing.
"""
