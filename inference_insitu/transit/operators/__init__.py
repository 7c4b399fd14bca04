"""What an engine does with the frames of one partition, whatever the engine: answers, marks of a migration, states."""
