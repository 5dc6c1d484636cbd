"""The command line: `spotfsm COMMAND`. One module a command; `main` is the console script."""

from adapters.cli.main import main

__all__ = ["main"]
