"""The worker: a thin loop that performs what the tables and the delivery protocol decide.

The only part of `fsm` that knows asyncio. Time comes from the `Clock` port, randomness from the `Randomness` port, and
every effect goes through a port, so that the simulator runs this very code under virtual time.
"""

from fsm.runner.settings import Ports, WorkerSettings
from fsm.runner.tally import Tally
from fsm.runner.worker import Worker

__all__ = ["Ports", "Tally", "Worker", "WorkerSettings"]
