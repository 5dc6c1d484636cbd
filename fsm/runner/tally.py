"""What a worker has done so far, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from fsm.job import JobState


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts of this process alone; what a queue's jobs came to is in the store."""

    received: int = 0
    begun: int = 0
    completed: int = 0
    released: int = 0
    poisoned: int = 0
    abandoned: int = 0
    checkpoints: int = 0
    failures: int = 0
    notices: int = 0

    def ended(self, state: JobState) -> None:
        """Count one delivery's end."""
        match state:
            case JobState.COMPLETED:
                self.completed += 1
            case JobState.RELEASED:
                self.released += 1
            case JobState.POISONED:
                self.poisoned += 1
            case JobState.ABANDONED:
                self.abandoned += 1
            case JobState.RECEIVED | JobState.RUNNING:
                raise AssertionError(f"a delivery ended in state {state}")
