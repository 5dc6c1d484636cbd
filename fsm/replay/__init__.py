"""Is a journal a legal path? Promise by promise, from the lines alone, with the tables that ran in production."""

from fsm.replay.checks import CHECKS, Fault, Replay, replay
from fsm.replay.timeline import Moment, PostMortem, post_mortems

__all__ = ["CHECKS", "Fault", "Moment", "PostMortem", "Replay", "post_mortems", "replay"]
