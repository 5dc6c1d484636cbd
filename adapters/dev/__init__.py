"""A cloud on this machine, for trying things out: Azurite as a child process, with a certificate made for it."""
