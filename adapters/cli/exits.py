"""What a command's exit code says; 0 is done."""

EXIT_FAILED = 1
"""A check failed, or a service did not do what was asked."""
EXIT_MISUSE = 2
"""Wrong use or configuration; stderr has one line, `error: --setting: problem. remedy`."""
EXIT_BUG = 70
"""A bug of ours (EX_SOFTWARE); `SPOTFSM_DEBUG=1` shows the traceback."""
EXIT_INTERRUPTED = 130
"""Ctrl-C, as shells have it."""
