"""Which commands there are. Each is a module of this package with a function `register(app)`."""

COMMANDS = (
    "worker",
    "enqueue",
    "status",
    "demo",
    "twin",
    "dev",
    "simulate",
    "explore",
    "draw",
    "sizes",
    "prices",
    "vm",
    "deploy",
    "doctor",
    "package",
    "prune",
    "traces",
    "replay",
    "verify",
)
