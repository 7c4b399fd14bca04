"""Who simulates, who infers, and how frames come from one to the other."""
