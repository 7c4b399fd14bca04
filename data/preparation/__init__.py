"""From raw frames to a pattern fit for phasing: background, hot pixels, aliens, centring, cropping, binning, grids."""
