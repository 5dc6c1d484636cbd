"""The delivery protocol with one thing wrong, made mechanically: every row, and everything that a row looks at.

An alteration stands between the explorer and `fsm.delivery.advance`, in one phase and for one kind of event. It changes
what the protocol answers (a row removed, led elsewhere, robbed of its call or of its job rows, its write or its release
falsified), or one thing that the protocol looks at before it answers: a bit of the delivery, of the worker, of the
event. Nothing of the protocol is copied; it is run, and told or quoted wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from fsm.checker.protocol_table import ProtocolRow, Question, row_of
from fsm.checker.scenario import FAILURE_PAUSE_S, STRANGER
from fsm.checker.scene import CURRENT, NOW, STALE
from fsm.checker.stepper import honest
from fsm.delivery import (
    Call,
    Checkpointed,
    Delivery,
    Done,
    Event,
    Failed,
    Found,
    Goal,
    Interrupted,
    LeaseGone,
    NoReply,
    Phase,
    PresenceFound,
    ReadPresence,
    Received,
    Refused,
    Release,
    RenewalRefused,
    RenewalUnanswered,
    Renewed,
    Returned,
    Step,
    TimeUp,
    WriteRecord,
    Written,
    call_of,
)
from fsm.job import JobState, JobTrigger
from fsm.record import DEATHS_MAX, FAILURES_MAX, Counts, End, Presence, Record, Status

Answering = Callable[[Question], Step]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alteration:
    """One thing wrong.

    Attributes:
        place, what: which row or place it is about, and what is done there.
        phase, event: where: everywhere else the protocol is as it is.
        answer: what it answers there.
    """

    place: str
    what: str
    phase: Phase
    event: str
    answer: Answering

    @property
    def name(self) -> str:
        return f"{self.place}: {self.what}"

    def __call__(self, delivery: Delivery, event: Event, draining: bool) -> Step:  # noqa: FBT001 -- a seam
        if delivery.phase is self.phase and type(event).__name__ == self.event:
            return self.answer(Question(delivery, event, draining))
        return honest(delivery, event, draining)


def alterations(rows: Iterable[ProtocolRow]) -> Iterator[Alteration]:
    """Every one there is for these rows; some change nothing."""
    rows = tuple(rows)
    for row in rows:
        for name, change in _changes(row):
            answer = _changing(row, change)
            yield Alteration(place=str(row), what=name, phase=row.phase, event=row.event, answer=answer)
    for phase, event in dict.fromkeys((row.phase, row.event) for row in rows):
        for name, telling in _tellings(phase, event):
            place = f"{phase}, {event}"
            yield Alteration(place=place, what=name, phase=phase, event=event, answer=_told(telling))


# -- what a row answers -------------------------------------------------------------------------------------------

Change = Callable[[Delivery, Step], Step]


def _changing(row: ProtocolRow, change: Change) -> Answering:
    def answer(question: Question) -> Step:
        step = honest(*question)
        return change(question.delivery, step) if row_of(question, step) == row else step

    return answer


def _changes(row: ProtocolRow) -> Iterator[tuple[str, Change]]:
    """Every row but the one there is, in the place of this one."""
    yield "is removed", lambda before, _: Step(delivery=before)
    for phase in Phase:
        if phase not in (Phase.NEW, row.then):
            yield f"leads to {phase}", _leading_to(phase)
    if call_of_phase(row.phase):
        yield "makes the last call again", lambda before, _: Step(delivery=before, call=call_of(before))
    if row.call:
        yield "makes no call", lambda _, step: replace(step, call=None)
    if row.rows:
        yield (
            "takes no row",
            lambda before, step: replace(step, taken=(), delivery=replace(step.delivery, state=before.state)),
        )
    if row.call == "WriteRecord":
        yield from _written_otherwise()
    if row.call == "Release":
        yield "releases with another pause", lambda _, step: replace(step, call=_paused(step.call))
    if row.call == "ReadPresence":
        yield "reads its own presence", lambda _, step: replace(step, call=ReadPresence(owner=step.delivery.owner))


def call_of_phase(phase: Phase) -> bool:
    """Whether a delivery waits for a reply in this phase."""
    return phase not in (Phase.NEW, Phase.RUNNING, Phase.ENDED)


def _leading_to(phase: Phase) -> Change:
    def change(before: Delivery, step: Step) -> Step:
        after = replace(step.delivery, phase=phase)
        if phase is Phase.READING_PRESENCE and after.record is None:
            after = replace(after, record=before.own)
        if phase in (Phase.WRITING, Phase.READING_BACK, Phase.PUTTING, Phase.DELETING, Phase.RELEASING):
            goal = after.goal or before.goal or Goal(trigger=JobTrigger.INTERRUPT, facts=frozenset())
            if goal.draft is None and phase in (Phase.WRITING, Phase.READING_BACK):
                goal = replace(goal, draft=after.own)
            after = replace(after, goal=goal)
        return replace(step, delivery=after, call=call_of(after))

    return change


def _paused(call: Call | None) -> Call | None:
    return Release(pause_s=0.0 if call.pause_s else FAILURE_PAUSE_S) if isinstance(call, Release) else call


Rewriting = Callable[[Delivery, WriteRecord], WriteRecord]
OfRecord = Callable[[Delivery, Record], Record]


def _with_status(status: Status, *, only: Status | None = None) -> OfRecord:
    return lambda _, record: replace(record, status=status) if only in (None, record.status) else record


def _with_one_more(end: End) -> OfRecord:
    return lambda _, record: replace(record, counts=record.counts.plus(end))


def _written_otherwise() -> Iterator[tuple[str, Change]]:
    """The same write with one thing in it that is wrong."""

    def of_record(rewriting: OfRecord) -> Rewriting:
        return lambda d, write: replace(write, record=rewriting(d, write.record))

    def earlier(d: Delivery) -> Record:
        return d.record or Record(epoch=d.epoch, owner=d.owner)

    rewritings: dict[str, Rewriting] = {
        "an absent record expected": lambda _, write: replace(write, expected=None),
        "the newest version expected": lambda _, write: replace(write, expected=CURRENT),
        "an older epoch": of_record(lambda _, record: replace(record, epoch=record.epoch - 1)),
        "a newer epoch": of_record(lambda _, record: replace(record, epoch=record.epoch + 1)),
        "another owner": of_record(lambda _, record: replace(record, owner=STRANGER)),
        "no progress": of_record(lambda _, record: replace(record, progress=None)),
        "the progress before": of_record(lambda d, record: replace(record, progress=earlier(d).progress)),
        "no result": of_record(lambda _, record: replace(record, result=None)),
        "no counts": of_record(lambda _, record: replace(record, counts=Counts())),
        "the counts before": of_record(lambda d, record: replace(record, counts=earlier(d).counts)),
        "no counted epoch": of_record(lambda _, record: replace(record, counted_epoch=0)),
        "the counted epoch before": of_record(
            lambda d, record: replace(record, counted_epoch=earlier(d).counted_epoch)
        ),
    }
    for status in Status:
        rewritings[f"status {status}"] = of_record(_with_status(status))
    for end in End:
        rewritings[f"one {end} more"] = of_record(_with_one_more(end))
    for name, rewriting in rewritings.items():
        yield f"writes {name}", _rewriting(rewriting)


def _rewriting(rewriting: Rewriting) -> Change:
    def change(before: Delivery, step: Step) -> Step:
        goal = step.delivery.goal
        assert isinstance(step.call, WriteRecord)
        assert goal is not None
        write = rewriting(before, step.call)
        return replace(step, call=write, delivery=replace(step.delivery, goal=replace(goal, draft=write.record)))

    return change


# -- what a row looks at ------------------------------------------------------------------------------------------

Telling = Callable[[Question], Question]


def _with_event(event: Event) -> Telling:
    return lambda question: question._replace(event=event)


def _with_draining(draining: bool) -> Telling:  # noqa: FBT001 -- a value like the others
    return lambda question: question._replace(draining=draining)


def _with_state(state: JobState) -> Telling:
    return lambda question: question._replace(delivery=replace(question.delivery, state=state))


def _with_version(version: str | None) -> Telling:
    return lambda question: question._replace(delivery=replace(question.delivery, version=version))


def _with_trigger(trigger: JobTrigger) -> Callable[[Goal], Goal]:
    return lambda goal: replace(goal, trigger=trigger)


def _told(telling: Telling) -> Answering:
    """The protocol, told something else; what it leaves as it was told is as it was before."""

    def answer(question: Question) -> Step:
        told = telling(question)
        step = honest(*told)
        true = {
            name: getattr(question.delivery, name)
            for name in ("epoch", "stored", "state", "version", "renewing", "record", "goal")
            if getattr(step.delivery, name) == getattr(told.delivery, name)
        }
        return replace(step, delivery=replace(step.delivery, **true))

    return answer


def _tellings(phase: Phase, event: str) -> Iterator[tuple[str, Telling]]:
    yield from _of_the_worker_and_the_delivery()
    yield from _of_the_goal()
    yield from _of_the_event(event)
    for other in _mistakable(phase, event):
        name = f"{type(other).__name__} by {other.end}" if isinstance(other, Interrupted) else type(other).__name__
        yield f"taken for {name}", _with_event(other)


def _of_the_worker_and_the_delivery() -> Iterator[tuple[str, Telling]]:
    for draining in (False, True):
        name = "the worker drains" if draining else "no worker drains"
        yield name, _with_draining(draining)

    def of_delivery(telling: Callable[[Delivery], Delivery]) -> Telling:
        return lambda question: question._replace(delivery=telling(question.delivery))

    yield "the first delivery", of_delivery(lambda d: replace(d, epoch=1))
    yield "a later delivery", of_delivery(lambda d: replace(d, epoch=d.epoch + 1))
    yield "there is a job store, or not", of_delivery(lambda d: replace(d, stored=not d.stored))
    yield "a renewal is in flight, or not", of_delivery(lambda d: replace(d, renewing=not d.renewing))
    for state in (JobState.RECEIVED, JobState.RUNNING, JobState.COMPLETED):
        yield f"the job is {state}", _with_state(state)
    for version in (None, CURRENT, STALE):
        named = "no version" if version is None else f"the {version} version"
        yield f"{named} is known", _with_version(version)
    yield "no record is known", of_delivery(lambda d: replace(d, record=None))
    yield (
        "the record known is its own",
        of_delivery(lambda d: d if d.record is None else replace(d, record=replace(d.record, owner=d.owner))),
    )


def _of_the_goal() -> Iterator[tuple[str, Telling]]:
    def of_goal(telling: Callable[[Goal], Goal]) -> Telling:
        def told(question: Question) -> Question:
            d = question.delivery
            return question if d.goal is None else question._replace(delivery=replace(d, goal=telling(d.goal)))

        return told

    for trigger in JobTrigger:
        yield f"its goal is to {trigger}", of_goal(_with_trigger(trigger))
    yield "its goal knows no fact", of_goal(lambda goal: replace(goal, facts=frozenset()))


def _of_the_event(event: str) -> Iterator[tuple[str, Telling]]:
    def of_event(telling: Callable[[Delivery, Event], Event]) -> Telling:
        return lambda question: question._replace(event=telling(question.delivery, question.event))

    match event:
        case "Found":
            for name, told in _found_otherwise():
                yield name, of_event(told)
        case "PresenceFound":
            for name, told in _present_otherwise():
                yield name, of_event(told)
        case "Received":
            yield "no job", _with_event(Received(rejected="undecodable"))
            yield "a job", _with_event(Received(rejected=None))
        case "Interrupted":
            for end in End:
                yield f"because of a {end}", _with_event(Interrupted(end=end))
        case "Checkpointed":
            yield "no progress", _with_event(Checkpointed(progress="0"))
        case "Written":
            yield "at a version that is not the newest", _with_event(Written(version=STALE))
        case _:
            return


def _found_otherwise() -> Iterator[tuple[str, Callable[[Delivery, Event], Event]]]:
    def found(telling: Callable[[Delivery, Found], Found]) -> Callable[[Delivery, Event], Event]:
        return lambda d, event: telling(d, event) if isinstance(event, Found) else event

    def record(telling: Callable[[Delivery, Record], Record]) -> Callable[[Delivery, Event], Event]:
        return found(lambda d, one: one if one.record is None else replace(one, record=telling(d, one.record)))

    yield "no record", found(lambda _, __: Found(record=None, version=None))
    yield "a record after all", found(lambda d, one: one if one.record else replace(one, record=d.own, version=CURRENT))
    for status in Status:
        yield f"status {status}", record(_with_status(status))
    for was in Status:
        for status in Status:
            if was is not status:
                yield (
                    f"{status} where it is {was}",
                    record(_with_status(status, only=was)),
                )
    yield "an older epoch", record(lambda d, one: replace(one, epoch=d.epoch - 1))
    yield "this epoch", record(lambda d, one: replace(one, epoch=d.epoch))
    yield "a newer epoch", record(lambda d, one: replace(one, epoch=d.epoch + 1))
    yield "its own owner", record(lambda d, one: replace(one, owner=d.owner))
    yield "another owner", record(lambda _, one: replace(one, owner=STRANGER))
    yield "nothing counted", record(lambda _, one: replace(one, counts=Counts()))
    spent = Counts(failures=FAILURES_MAX, deaths=DEATHS_MAX, fruitless_deaths=DEATHS_MAX)
    yield "a budget that is spent", record(lambda _, one: replace(one, counts=spent))
    yield "its end not counted", record(lambda _, one: replace(one, counted_epoch=0))
    yield "its end counted", record(lambda _, one: replace(one, counted_epoch=one.epoch))
    yield "no progress", record(lambda _, one: replace(one, progress=None))
    yield "the version known before", found(lambda d, one: replace(one, version=d.version))
    yield "another version", found(lambda d, one: replace(one, version=STALE if d.version == CURRENT else CURRENT))
    yield (
        "the very document it sent",
        found(
            lambda d, one: (
                one if d.goal is None or d.goal.draft is None else Found(record=d.goal.draft, version=CURRENT)
            )
        ),
    )


def _present_otherwise() -> Iterator[tuple[str, Callable[[Delivery, Event], Event]]]:
    def present(boot_id: str | None, process: str | None) -> Callable[[Delivery, Event], Event]:
        def told(d: Delivery, event: Event) -> Event:
            if d.record is None:
                return event
            owner = d.record.owner
            return PresenceFound(
                presence=Presence(
                    vm_id=owner.vm_id, vm_name="", instance=owner.instance,
                    boot_id=owner.boot_id if boot_id is None else boot_id,
                    process=owner.process if process is None else process,
                )
            )  # fmt: skip

        return told

    yield "nobody", lambda _, __: PresenceFound(presence=None)
    yield "the same process", present(None, None)
    yield "another process", present(None, "another process")
    yield "another boot", present("another boot", "another process")
    yield "this boot and process", present(NOW, NOW)


def _mistakable(phase: Phase, event: str) -> Iterator[Event]:
    """What else could have happened there."""
    alike: tuple[Event, ...]
    if event in ("Renewed", "RenewalRefused", "RenewalUnanswered", "LeaseGone"):
        alike = (Renewed(), RenewalRefused(), RenewalUnanswered(), LeaseGone())
    elif phase is Phase.WRITING:
        alike = (Written(version=CURRENT), Refused(), NoReply(), TimeUp())
    elif phase is Phase.RUNNING:
        alike = (
            Checkpointed(progress="1"), Returned(result="1"), Failed(error="broken", pause_s=FAILURE_PAUSE_S),
            Interrupted(end=End.EVICTION), Interrupted(end=End.STOP),
        )  # fmt: skip
    elif phase in (Phase.PUTTING, Phase.DELETING, Phase.RELEASING):
        alike = (Done(), Refused(), NoReply())
    elif phase is Phase.READING_BACK:
        alike = (Found(record=None, version=None), NoReply(), TimeUp())
    elif phase is Phase.READING_RECORD:
        alike = (Found(record=None, version=None), NoReply())
    elif phase is Phase.READING_PRESENCE:
        alike = (PresenceFound(presence=None), NoReply())
    else:
        alike = ()
    yield from (other for other in alike if type(other).__name__ != event)
