"""Phase retrieval: from patterns alone to complex densities, and the phase vortices in them."""
