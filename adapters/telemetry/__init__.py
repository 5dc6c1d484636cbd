"""What lets others watch a worker: health, metrics and traces, all of them derived from its journal's entries."""
