"""The account of every frame: what became of it, when, and why."""
