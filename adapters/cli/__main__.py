"""`python -m adapters.cli`: the command line by the interpreter's own path, for processes that start others."""

from adapters.cli.main import main

if __name__ == "__main__":
    main()
