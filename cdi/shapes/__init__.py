"""Crystal shapes: what is inside, and how far a point is from the boundary."""
