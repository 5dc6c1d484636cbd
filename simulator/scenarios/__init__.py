"""The scenarios that come with the simulator, as TOML."""
