"""The pytest plugin: `spot_world`, `spot_queue` and `spot_eviction`, for tests of your own handlers.

pytest loads this module in every run of an environment in which spotfsm is installed. It imports nothing but pytest
before a test asks for a fixture, and does nothing for those that do not.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from simulator.testing import SpotQueue, SpotWorld

MARK = "spot"
_SEED = "--spotfsm-seed"
_LOOPTIME = "looptime_plugin"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the seed."""
    group = parser.getgroup("spotfsm")
    group.addoption(_SEED, default=0, type=int, metavar="N", help="the seed of every spot_world (default: 0)")


def pytest_configure(config: pytest.Config) -> None:
    """Add the mark."""
    config.addinivalue_line(
        "markers",
        "spot(handler=..., **options): the handler of the test's spot_world, and whatever else SpotWorld takes",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Leave looptime's plugin out where there is no pytest-asyncio: it then fails every fixture of every test.

    It is installed with spotfsm, for its event loop. [looptime 0.9, `_should_patch`, read 2026-11]
    """
    plugins = session.config.pluginmanager
    if plugins.hasplugin(_LOOPTIME) and not plugins.hasplugin("asyncio"):
        plugins.unregister(name=_LOOPTIME)


@pytest.fixture
def spot_world(request: pytest.FixtureRequest) -> Iterator[SpotWorld]:
    """A world of Spot VMs with the handler of `@pytest.mark.spot(handler=...)`; judged at the end of the test.

    Marks of module, class and test add up; the nearest wins.
    """
    from simulator.testing import SpotWorld

    options: dict[str, object] = {"seed": request.config.getoption(_SEED)}
    for mark in reversed(list(request.node.iter_markers(MARK))):
        options |= mark.kwargs
    handler = options.pop("handler", None)
    if not callable(handler):
        pytest.fail("spot_world needs a handler: @pytest.mark.spot(handler=handle)", pytrace=False)
    make: Callable[..., SpotWorld] = SpotWorld
    world = make(handler, **options)
    yield world
    world.close()


@pytest.fixture
def spot_queue(spot_world: SpotWorld) -> SpotQueue:
    """The queue of the test's world."""
    return spot_world.queue


@pytest.fixture
def spot_eviction(spot_world: SpotWorld) -> Callable[..., None]:
    """Takes a VM of the test's world: now, at a time, or at a step."""
    return spot_world.evict


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Judge the test's world when the test has passed, as part of the test; tell of it when it has not."""
    if "spot_world" not in pyfuncitem.funcargs:
        return (yield)
    from simulator.testing import SpotWorld

    world = pyfuncitem.funcargs["spot_world"]
    assert isinstance(world, SpotWorld)
    with world:
        return (yield)
