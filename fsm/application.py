"""The application machine: what a worker process is doing about its VM.

The reference's cycle of start, shutdown, recover and resume, with the two ends it lacks: a drained worker waits for the
VM to go (`Drained`), and a notice that is withdrawn sends it back to work instead of leaving it dead.
"""

from __future__ import annotations

from enum import StrEnum

from fsm.sources import BOOT_ID, EVICTION_TIMES, INSTANCE_METADATA, REFERENCE, SCHEDULED_EVENTS, SPOT_GUIDE
from fsm.table import Row, Table, Verdict


class AppState(StrEnum):
    """Where a worker stands."""

    OFFLINE = "Offline"
    RECOVERING = "Recovering"
    WARMING_UP = "WarmingUp"
    PROCESSING = "Processing"
    EVICTED = "Evicted"
    DRAINED = "Drained"


class AppTrigger(StrEnum):
    """What can happen to a worker."""

    RECOVER = "recover"
    RESUME = "resume"
    START = "start"
    SHUTDOWN = "shutdown"
    DRAINED = "drained"
    WITHDRAWN = "withdrawn"
    EXIT = "exit"
    VM_GONE = "vm_gone"


class AppFact(StrEnum):
    """What the rows look at."""

    VM_RUNNING = "VM running"
    NOTICE_PENDING = "notice pending"
    """A reclaiming notice names this VM and has not vanished."""
    STOP_REQUESTED = "stop requested"
    """SIGTERM, SIGINT, or nothing left to do under --until-empty."""
    STORE_ANSWERED = "store answered"
    """The presence record was read and written, or there is no store."""
    HEALTHY = "healthy"
    """The queue answers."""
    SEEN_BEFORE = "seen before"
    """A presence record of this VM's name and instance exists."""
    SAME_VM = "same VM"
    """That record has this vmId."""
    SAME_BOOT = "same boot"
    """That record has this boot id."""
    SAME_PROCESS = "same process"
    """That record was written by this very process."""


class Origin(StrEnum):
    """Where a recovering worker comes from, found from vmId and boot id."""

    FRESH = "fresh"
    RECREATED = "recreated"
    REDEPLOYED = "redeployed"
    RESTARTED = "restarted"
    RESUMED = "resumed"


S, T, F = AppState, AppTrigger, AppFact
AppRow = Row[AppState, AppTrigger, AppFact]

LIVE = (S.RECOVERING, S.WARMING_UP, S.PROCESSING, S.EVICTED, S.DRAINED)
"""Every state with a process in it."""
WORKING = (S.RECOVERING, S.WARMING_UP, S.PROCESSING)
"""The states a shutdown leaves."""

_REFERENCE = REFERENCE.says("the application states")
_NOTICES = SCHEDULED_EVENTS.says("an event that is cancelled disappears")

ORIGIN_OF_ROW = {
    "A3": Origin.FRESH,
    "A4": Origin.RECREATED,
    "A5": Origin.REDEPLOYED,
    "A6": Origin.RESTARTED,
    "A7": Origin.RESUMED,
}
"""The origin that each way of resuming establishes, by row id."""

APPLICATION = Table(
    name="application",
    states=AppState,
    triggers=AppTrigger,
    facts=AppFact,
    initial=S.OFFLINE,
    rows=(
        # -- recover -------------------------------------------------------------------------------------------------
        AppRow(
            id="A1", source=(S.OFFLINE,), trigger=T.RECOVER, when=(F.VM_RUNNING,), dest=S.RECOVERING,
            outcome="up: what was before is looked up in the store",
            why="the unit starts the worker whenever the VM comes up", rests_on=_REFERENCE,
        ),
        AppRow(
            id="A2", source=(S.OFFLINE,), trigger=T.RECOVER, unless=(F.VM_RUNNING,), verdict=Verdict.REFUSED,
            outcome="no VM to run on", why="a worker recovers on a running VM only",
        ),
        AppRow(
            id="A9", source=LIVE, trigger=T.RECOVER, verdict=Verdict.IGNORED, outcome="already up",
            why="one process is one worker; a doubled start changes nothing",
        ),
        # -- resume --------------------------------------------------------------------------------------------------
        AppRow(
            id="A3", source=(S.RECOVERING,), trigger=T.RESUME, when=(F.STORE_ANSWERED,), unless=(F.SEEN_BEFORE,),
            dest=S.WARMING_UP, outcome="fresh: no presence record of this VM's name",
            why="nothing can be left open by this VM", rests_on=_REFERENCE,
        ),
        AppRow(
            id="A4", source=(S.RECOVERING,), trigger=T.RESUME, when=(F.STORE_ANSWERED, F.SEEN_BEFORE),
            unless=(F.SAME_VM,), dest=S.WARMING_UP, outcome="recreated: the name is known, the vmId is new",
            why="eviction policy Delete: the VM and its disks were destroyed",
            rests_on=INSTANCE_METADATA.says("vmId is a VM's own"),
        ),
        AppRow(
            id="A5", source=(S.RECOVERING,), trigger=T.RESUME, when=(F.STORE_ANSWERED, F.SEEN_BEFORE, F.SAME_VM),
            unless=(F.SAME_BOOT,), dest=S.WARMING_UP, outcome="redeployed: same vmId, new boot id",
            why="eviction policy Deallocate, a reboot or a redeploy: the VM came back",
            rests_on=BOOT_ID.says("boot_id is new at every boot"),
        ),
        AppRow(
            id="A6", source=(S.RECOVERING,), trigger=T.RESUME,
            when=(F.STORE_ANSWERED, F.SEEN_BEFORE, F.SAME_VM, F.SAME_BOOT), unless=(F.SAME_PROCESS,), dest=S.WARMING_UP,
            outcome="restarted: same boot, another process", why="the process died or was stopped, the VM was not",
            rests_on=BOOT_ID.says("boot_id stays until the next boot"),
        ),
        AppRow(
            id="A7", source=(S.RECOVERING,), trigger=T.RESUME,
            when=(F.STORE_ANSWERED, F.SEEN_BEFORE, F.SAME_VM, F.SAME_BOOT, F.SAME_PROCESS), dest=S.WARMING_UP,
            outcome="resumed: the very same process", why="a notice was withdrawn, so nobody else was here",
            rests_on=_NOTICES,
        ),
        AppRow(
            id="A8", source=(S.RECOVERING,), trigger=T.RESUME, unless=(F.STORE_ANSWERED,),
            verdict=Verdict.REFUSED, outcome="the store does not answer: tried again after a pause",
            why="while the store is out of reach nothing is received", rests_on="delivery protocol, rule 5",
        ),
        AppRow(
            id="A10", source=(S.OFFLINE,), trigger=T.RESUME, verdict=Verdict.REFUSED, outcome="not up",
            why="recover comes first",
        ),
        AppRow(
            id="A11", source=(S.WARMING_UP, S.PROCESSING), trigger=T.RESUME, verdict=Verdict.IGNORED,
            outcome="already resumed", why="a late answer of the store changes nothing",
        ),
        AppRow(
            id="A12", source=(S.EVICTED, S.DRAINED), trigger=T.RESUME, verdict=Verdict.IGNORED,
            outcome="being reclaimed", why="a late answer of the store must not undo a shutdown",
            rests_on="promise no_work_after_notice",
        ),
        # -- start ---------------------------------------------------------------------------------------------------
        AppRow(
            id="A13", source=(S.WARMING_UP,), trigger=T.START, when=(F.HEALTHY,),
            unless=(F.NOTICE_PENDING, F.STOP_REQUESTED), dest=S.PROCESSING, outcome="work begins",
            why="warm-up has shown that the queue answers", rests_on=_REFERENCE,
        ),
        AppRow(
            id="A14", source=(S.WARMING_UP,), trigger=T.START, unless=(F.HEALTHY, F.NOTICE_PENDING, F.STOP_REQUESTED),
            verdict=Verdict.REFUSED, outcome="the queue does not answer: tried again after a pause",
            why="receiving from a sick queue helps nobody",
        ),
        AppRow(
            id="A15", source=(S.WARMING_UP,), trigger=T.START, when=(F.NOTICE_PENDING,), unless=(F.STOP_REQUESTED,),
            verdict=Verdict.REFUSED, outcome="a notice names this VM",
            why="a VM can be designated for eviction as soon as it is created", rests_on=str(SPOT_GUIDE),
        ),
        AppRow(
            id="A16", source=(S.WARMING_UP,), trigger=T.START, when=(F.STOP_REQUESTED,), verdict=Verdict.REFUSED,
            outcome="a stop was requested", why="a worker told to stop does not begin",
        ),
        AppRow(
            id="A17", source=(S.OFFLINE, S.RECOVERING), trigger=T.START, verdict=Verdict.REFUSED,
            outcome="not warmed up", why="recover and resume come first",
        ),
        AppRow(
            id="A18", source=(S.PROCESSING,), trigger=T.START, verdict=Verdict.IGNORED, outcome="already working",
            why="a doubled start changes nothing",
        ),
        AppRow(
            id="A19", source=(S.EVICTED, S.DRAINED), trigger=T.START, verdict=Verdict.REFUSED,
            outcome="being reclaimed", why="a warm-up that ends late must not undo a shutdown",
            rests_on="promise no_work_after_notice",
        ),
        # -- shutdown ------------------------------------------------------------------------------------------------
        AppRow(
            id="A20", source=WORKING, trigger=T.SHUTDOWN, when=(F.NOTICE_PENDING,), dest=S.EVICTED,
            outcome="evicted: draining until the deadline", why="a reclaiming notice names this VM",
            rests_on=SCHEDULED_EVENTS.says("Preempt, Terminate, Reboot and Redeploy"),
        ),
        AppRow(
            id="A21", source=WORKING, trigger=T.SHUTDOWN, when=(F.STOP_REQUESTED,), unless=(F.NOTICE_PENDING,),
            dest=S.EVICTED, outcome="stopping: draining until the stop grace ends",
            why="a stop by the operator settles its jobs just as an eviction does", rests_on="SIGTERM, SIGINT",
        ),
        AppRow(
            id="A22", source=WORKING, trigger=T.SHUTDOWN, unless=(F.NOTICE_PENDING, F.STOP_REQUESTED),
            verdict=Verdict.REFUSED, outcome="no cause", why="a shutdown has a cause, or is a mistake",
        ),
        AppRow(
            id="A23", source=(S.EVICTED,), trigger=T.SHUTDOWN, outcome="already draining: the earlier deadline holds",
            why="a second cause can only shorten the time", rests_on="promise drained_in_time",
        ),
        AppRow(
            id="A24", source=(S.DRAINED,), trigger=T.SHUTDOWN, verdict=Verdict.IGNORED, outcome="already drained",
            why="nothing is left to settle",
        ),
        AppRow(
            id="A25", source=(S.OFFLINE,), trigger=T.SHUTDOWN, verdict=Verdict.IGNORED, outcome="not up",
            why="there is nothing to shut down",
        ),
        # -- drained -------------------------------------------------------------------------------------------------
        AppRow(
            id="A26", source=(S.EVICTED,), trigger=T.DRAINED, when=(F.NOTICE_PENDING,), dest=S.DRAINED,
            outcome="every job is settled; the VM may go", why="the event can now be acknowledged without harm",
            rests_on=SCHEDULED_EVENTS.says("an acknowledged event starts at once"),
        ),
        AppRow(
            id="A27", source=(S.EVICTED,), trigger=T.DRAINED, when=(F.STOP_REQUESTED,), unless=(F.NOTICE_PENDING,),
            dest=S.DRAINED, outcome="every job is settled; the process may end", why="a stop waits for the drain",
            rests_on="promise drained_in_time",
        ),
        AppRow(
            id="A28", source=(S.EVICTED,), trigger=T.DRAINED, unless=(F.NOTICE_PENDING, F.STOP_REQUESTED),
            dest=S.RECOVERING, outcome="the notice vanished during the drain: back to work",
            why="a worker left dead by a withdrawn notice would need a human", rests_on=_NOTICES,
        ),
        AppRow(
            id="A29", source=(S.DRAINED,), trigger=T.DRAINED, verdict=Verdict.IGNORED, outcome="already drained",
            why="a job that settles late changes nothing",
        ),
        AppRow(
            id="A30", source=(S.OFFLINE, *WORKING), trigger=T.DRAINED, verdict=Verdict.IGNORED,
            outcome="not draining", why="having no jobs is not a reason to stop",
        ),
        # -- withdrawn -----------------------------------------------------------------------------------------------
        AppRow(
            id="A31", source=(S.DRAINED,), trigger=T.WITHDRAWN, unless=(F.STOP_REQUESTED, F.NOTICE_PENDING),
            dest=S.RECOVERING, outcome="the notice vanished: back to work",
            why="a Scheduled event may vanish without ever starting", rests_on=_NOTICES,
        ),
        AppRow(
            id="A32", source=(S.DRAINED,), trigger=T.WITHDRAWN, when=(F.STOP_REQUESTED,), verdict=Verdict.IGNORED,
            outcome="stopping all the same", why="the operator's stop stands",
        ),
        AppRow(
            id="A33", source=(S.DRAINED,), trigger=T.WITHDRAWN, when=(F.NOTICE_PENDING,), unless=(F.STOP_REQUESTED,),
            verdict=Verdict.IGNORED, outcome="another notice still names this VM",
            why="one of several events vanished, the others hold", rests_on=_NOTICES,
        ),
        AppRow(
            id="A34", source=(S.EVICTED,), trigger=T.WITHDRAWN, outcome="the drain is finished first",
            why="handlers are already letting go; when all is settled, row A28 leads back to work",
            rests_on="promise always_comes_back",
        ),
        AppRow(
            id="A35", source=(S.OFFLINE, *WORKING), trigger=T.WITHDRAWN, verdict=Verdict.IGNORED,
            outcome="nothing was pending here", why="an event that never stopped this worker may vanish freely",
        ),
        # -- exit and vm_gone ----------------------------------------------------------------------------------------
        AppRow(
            id="A36", source=(S.DRAINED,), trigger=T.EXIT, dest=S.OFFLINE, outcome="the process ends",
            why="everything is settled", rests_on="promise drained_in_time",
        ),
        AppRow(
            id="A37", source=(*WORKING, S.EVICTED), trigger=T.EXIT, verdict=Verdict.REFUSED,
            outcome="jobs are not settled", why="an orderly end drains first; anything else is a kill",
        ),
        AppRow(
            id="A38", source=(S.OFFLINE,), trigger=T.EXIT, verdict=Verdict.IGNORED, outcome="not up",
            why="there is nothing to end",
        ),
        AppRow(
            id="A39", source=LIVE, trigger=T.VM_GONE, dest=S.OFFLINE, outcome="killed with the VM",
            why="an eviction before its announced time, or without any, is only a kill",
            rests_on=EVICTION_TIMES.says("notices are best effort, up to 30 s, and often under 10 s"),
        ),
        AppRow(
            id="A40", source=(S.OFFLINE,), trigger=T.VM_GONE, verdict=Verdict.IGNORED, outcome="not up",
            why="there is nothing to kill",
        ),
    ),
)  # fmt: skip
