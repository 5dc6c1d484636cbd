"""What touches the world: Azure, SQLite, the host, the IMDS twin, the command line."""
