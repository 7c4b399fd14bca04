"""The rings of a node, shared by workers that come and go while the run goes on."""
