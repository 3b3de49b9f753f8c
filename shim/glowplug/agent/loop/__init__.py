"""The agent's loop: a table of containers, each in a state, each with its next try; events only make it look sooner."""
