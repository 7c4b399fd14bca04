"""From the ideal intensity to counted photons, each effect a function of its own."""
