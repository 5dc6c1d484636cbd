"""Kills a user's handler at every step, resumes it, and compares what came out with an undisturbed run."""

from simulator.explore.driving import Handler
from simulator.explore.exploring import Explored, Finding, OnProgress, Subject, UndisturbedError, explore
from simulator.explore.steps import Step, StepKind, Way

__all__ = [
    "Explored",
    "Finding",
    "Handler",
    "OnProgress",
    "Step",
    "StepKind",
    "Subject",
    "UndisturbedError",
    "Way",
    "explore",
]
