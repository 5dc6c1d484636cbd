"""This machine and this process: clock, randomness, signals, journal file, and handlers that run in the loop."""
