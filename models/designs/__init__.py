"""How a pattern becomes real-space features: one module a design, all of one shape.

A design takes input features ``(n, 4, x, y, z)`` and ``geometry`` ``(n, 10)`` of n patterns and gives ``width``
channels on the central half of the real-space voxels, ``(n, width, x/2, y/2, z/2)``.
"""
