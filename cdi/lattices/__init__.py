"""Crystal structures, materials, slip systems and elastic constants, as data. Free of torch."""
