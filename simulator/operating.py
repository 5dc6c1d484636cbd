"""The operator of a scenario's VMs: deploys each, and brings back whatever was taken, as the policy says."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

from fsm.spot_vm import VmState, VmTrigger
from simulator.machine import Machine
from simulator.scenario import Action, OperatorPlan

if TYPE_CHECKING:
    from simulator.platform import Platform


class Operator:
    """Asks a platform for VMs, again and again.

    Args:
        platform: what is asked; it may refuse.
        plan: the policy.
        random: draws how long each pause is.

    Attributes:
        refusals: how often there was no room, or the price was above the VM's limit.
    """

    def __init__(self, platform: Platform, plan: OperatorPlan, random: Random) -> None:
        self._platform = platform
        self._plan = plan
        self._random = random
        self.refusals = 0

    async def operate(self, machine: Machine) -> None:
        """Deploy, and bring back whatever is taken, with pauses that double."""
        plan, platform = self._plan, self._platform
        self._ask(machine, VmTrigger.DEPLOY)
        attempt = 0
        while True:
            machine.changed.clear()
            if machine.running:
                attempt = 0
                await machine.changed.wait()
                continue
            if plan.action is Action.NOTHING and machine.boots > 0:
                return
            attempt += 1
            pause_s = min(plan.pause_s_max, plan.first_pause_s * 2.0 ** min(attempt - 1, 30))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s * self._random.uniform(0.5, 1.0)):
                    while not (platform.is_calm or machine.running):
                        await machine.changed.wait()
                        machine.changed.clear()
            if platform.is_calm:
                await asyncio.sleep(1.0)
            if not machine.running:
                self._bring_back(machine)

    def _bring_back(self, machine: Machine) -> None:
        action = self._plan.action
        if machine.state is not VmState.STOPPED or action is Action.REDEPLOY:
            self._ask(machine, VmTrigger.DEPLOY)
        elif action is Action.RECREATE:
            self._platform.fire(machine, VmTrigger.DELETE)
            self._ask(machine, VmTrigger.DEPLOY)
        else:
            self._ask(machine, VmTrigger.RESTART)

    def _ask(self, machine: Machine, trigger: VmTrigger) -> None:
        if self._platform.fire(machine, trigger).dest is None:
            self.refusals += 1
