"""Recorded markets that come with the simulator; ORIGIN.md says where they are from."""
