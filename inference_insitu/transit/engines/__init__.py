"""Stream engines behind one interface: Flink and Spark, each a program of its own in an environment of its own."""
