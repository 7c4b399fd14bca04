"""From detector pixels and diffractometer angles to scattering vectors, and back. Free of torch."""
