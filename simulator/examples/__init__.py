"""Two handlers for `spotfsm explore`: one that a kill leads astray, and the same one done right."""
