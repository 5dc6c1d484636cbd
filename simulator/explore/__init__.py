"""Kills a user's handler at every step, resumes it, and compares what came out with an undisturbed run."""

from simulator.explore.driving import Handler
from simulator.explore.exploring import (
    RUN_S_MAX,
    EndlessError,
    Explored,
    Finding,
    Onlooker,
    Progress,
    UndisturbedError,
    explore,
)
from simulator.explore.running import Subject
from simulator.explore.steps import Step, StepKind, Way

__all__ = [
    "RUN_S_MAX",
    "EndlessError",
    "Explored",
    "Finding",
    "Handler",
    "Onlooker",
    "Progress",
    "Step",
    "StepKind",
    "Subject",
    "UndisturbedError",
    "Way",
    "explore",
]
