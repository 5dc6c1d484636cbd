"""A machine with a real systemd and no network, in a container: `systemd-nspawn` over a root that `.ci/container` made.

Commands run inside by `nsenter`: neither D-Bus nor a systemd on this machine is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.second_tier import require_root, unavailable

COMMANDS = ("debootstrap", "systemd-nspawn", "nsenter")
TOOLS = Path(__file__).resolve().parents[1] / ".tools"
PATIENCE_S = 90.0
"""How long anything may take that takes seconds on an idle machine."""
_LOOK_S = 0.1
_PROPAGATED = Path("/run/systemd/nspawn/propagate")
_REBOOT = 133
"""How nspawn ends where the machine wants to be booted anew."""


def container_root() -> Path:
    """The root that containers are copied from."""
    require_root(commands=COMMANDS)
    made = sorted(TOOLS.glob("container-*/.made"))
    if not made:
        unavailable("it needs a container root (`.ci/container` makes one)")
    root = made[-1].parent
    asked = [*("chroot", str(root), "python3", "-c"), "import sys; print('%d.%d' % sys.version_info[:2])"]
    python = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    if python != f"{sys.version_info.major}.{sys.version_info.minor}":
        unavailable(f"its wheels are made of what is installed here, and the container has Python {python}")
    return root


@contextmanager
def memory(directory: Path) -> Iterator[Path]:
    """The directory, in memory: machines come and go quickly there, and an overlay can lie on it wherever this runs."""
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "spotfsm", directory], check=True, capture_output=True)
    except subprocess.CalledProcessError as exc:
        unavailable(f"nothing can be mounted here ({exc.stderr!s:.200})")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


@dataclass(slots=True)
class Machine:
    """A machine: boot it, use it, stop it or cut its power, and boot it again.

    Attributes:
        below: the file systems that it began with, the last one first; none of them is written.
        directory: a new one, in memory, for what it changes.
    """

    below: tuple[Path, ...]
    directory: Path
    _nspawn: subprocess.Popen[str] | None = None
    _leader: int = 0

    @property
    def root(self) -> Path:
        """Its file system."""
        return self.directory / "root"

    @property
    def _name(self) -> str:
        return f"spotfsm-{os.getpid()}-{self.directory.name}"

    @property
    def _changes(self) -> Path:
        return self.directory / "changes"

    @property
    def _said(self) -> Path:
        return self.directory / "console"

    @property
    def _groups(self) -> list[Path]:
        """Control groups of its own, in each hierarchy in which a systemd keeps its units."""
        top = Path("/sys/fs/cgroup")
        tops = [top] if (top / "cgroup.controllers").exists() else [top / "systemd", top / "unified"]
        return [top / self._name for top in tops if top.exists()]

    def copy(self, name: str) -> Machine:
        """Another one like it; this one is off, and stays so."""
        assert self._nspawn is None
        return Machine((self._changes, *self.below), self.directory.with_name(name))

    def boot(self) -> None:
        """Switch it on, and wait until all that starts at boot was started."""
        work = self.directory / "work"
        for directory in (self.root, self._changes, work):
            directory.mkdir(parents=True, exist_ok=True)
        layers = f"lowerdir={':'.join(map(str, self.below))},upperdir={self._changes},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "spotfsm", "-o", layers, self.root], check=True)
        enter = (
            'while [ "$1" != -- ]; do mkdir "$1" && echo $$ > "$1/cgroup.procs" || exit; shift; done; shift; exec "$@"'
        )
        with self._said.open("a") as console:
            self._nspawn = subprocess.Popen(
                [
                    *("/bin/bash", "-c", enter, "enter", *map(str, self._groups), "--"),
                    *("systemd-nspawn", "--quiet", "--directory", str(self.root), "--boot", "--console=pipe"),
                    *("--machine", self._name, "--private-network", "--register=no", "--keep-unit"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
        deadline_s = time.monotonic() + PATIENCE_S
        while not self._is_up():
            if self._nspawn.poll() is not None or time.monotonic() > deadline_s:
                said = self._said.read_text()[-300:]
                self.destroy()
                unavailable(f"no systemd boots here ({said})")
            time.sleep(_LOOK_S)

    def _is_up(self) -> bool:
        """Whether all that starts at boot was started; `is-system-running --wait` may wait for ever."""
        assert self._nspawn is not None
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        found = children.read_text().split() if children.exists() else []
        if not found:
            return False
        self._leader = int(found[0])
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in {"running", "degraded"}

    def run(self, *arguments: str, check: bool = True, cwd: str = "/") -> subprocess.CompletedProcess[str]:
        """Run a command as its root; anything but success is a failure of the test, unless it is looked at."""
        script = 'cd "$0" && exec "$@"'
        ended = subprocess.run(
            [*("nsenter", "--target", str(self._leader), "--all", "/bin/bash", "-c", script, cwd), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
            check=False,
        )
        if check:
            assert ended.returncode == 0, f"{arguments}: {ended.stdout}{ended.stderr}"
        return ended

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).stdout.strip()

    def wait_until(self, what: Callable[[], bool], *, why: str) -> None:
        """Wait for something that comes by itself, and say what did not come."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < deadline_s, f"{why}\n{self.run('journalctl', '--no-pager', '-n', '60').stdout}"
            time.sleep(_LOOK_S)

    def spotfsm(self, *arguments: str) -> dict[str, object]:
        """What a command of the installed spotfsm prints as JSON, run as its worker is."""
        said = self.run("/opt/spotfsm/current/spotfsm", *arguments, "--json").stdout
        found: dict[str, object] = json.loads(said)
        return found

    def off(self) -> None:
        """Shut it down in order."""
        self.run("systemctl", "poweroff", check=False)
        self._ended()

    def reboot(self) -> None:
        """Shut it down in order, and boot it again."""
        self.run("systemctl", "reboot", check=False)
        assert self._ended() == _REBOOT
        self.boot()

    def cut_power(self) -> None:
        """Let it end between two instructions."""
        os.kill(self._leader, signal.SIGKILL)
        self._ended()

    def _ended(self) -> int:
        """Wait until it is off, and take away what held it."""
        assert self._nspawn is not None
        code = self._nspawn.wait(timeout=PATIENCE_S)
        self._nspawn, self._leader = None, 0
        subprocess.run(["umount", self.root], check=True)
        shutil.rmtree(_PROPAGATED / self._name, ignore_errors=True)  # nspawn dares not where /run is on a disk
        for group in self._groups:
            for directory, _, _ in os.walk(group, topdown=False):
                Path(directory).rmdir()
        return code

    def destroy(self) -> None:
        """Leave nothing of it."""
        if self._nspawn is not None:
            if self._leader and self._nspawn.poll() is None:
                os.kill(self._leader, signal.SIGKILL)
            elif not self._leader:
                self._nspawn.kill()
            self._ended()
        shutil.rmtree(self.directory, ignore_errors=True)
