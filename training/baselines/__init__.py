"""What the network must beat, in the same table: a prior, a shortcut detector, published classifiers, and phasing.

All answer through ``training.methods.Method`` for the same crystals, read nothing but exposures and what the
experimenter knows, and tell in ``facts`` what they were given to learn from.
"""
