"""`spotfsm draw`: the drawings are what the code says, or the check fails; and any of them on demand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adapters.cli.main import run
from adapters.drawing.files import picture_files
from adapters.host.journal import JsonLinesJournal
from fsm.drawing import Format, Machine, drawing_of, generated_files
from fsm.journal_kinds import Kind
from tests.adapters.cli.conftest import Command

ROOT = Path(__file__).resolve().parents[3]
README = "# Mine\n\n<!-- generated: job -->\nan older drawing\n<!-- end generated -->\n\nKept.\n"
PNG = b"\x89PNG\r\n"


pytestmark = pytest.mark.illegal_journal


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which everything was drawn."""
    directory = tmp_path_factory.mktemp("drawn")
    (directory / "README.md").write_text(README)
    assert run(["draw", "--root", str(directory)]) == 0
    return directory


@pytest.fixture
def drawn(directory: Path, once: Path) -> Path:
    """The working directory, with everything drawn."""
    shutil.copytree(once, directory, dirs_exist_ok=True)
    return directory


def everything(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*.*") if path.is_file()}


# -- what is kept up to date -------------------------------------------------------------------------------------------


def test_drawing_writes_every_file_and_the_blocks_of_the_readme(drawn: Path) -> None:
    """What stands outside of the markers is left alone."""
    for path, text in generated_files().items():
        assert (drawn / path).read_text() == text
    assert {path.relative_to(drawn).as_posix() for path in everything(drawn)} == {
        *generated_files(), *picture_files(), "README.md",
    }  # fmt: skip
    readme = (drawn / "README.md").read_text()
    assert readme.startswith("# Mine\n")
    assert readme.endswith("\nKept.\n")
    assert "```mermaid" in readme
    assert "an older drawing" not in readme


def test_drawing_twice_changes_nothing(drawn: Path, inside: Command) -> None:
    """A second run finds everything up to date."""
    before = everything(drawn)
    assert "up to date" in inside("draw").err
    assert everything(drawn) == before
    assert inside("draw", "--check").code == 0


@pytest.mark.parametrize("stale", ["README.md", *generated_files(), *picture_files()])
def test_the_check_names_what_is_stale_and_writes_nothing(drawn: Path, inside: Command, stale: str) -> None:
    """A drawing edited by hand fails the check with exit code 1, and the line says what to do."""
    data = (drawn / stale).read_bytes()
    at = data.rindex(b"Received") if stale == "README.md" else len(data) - 9
    (drawn / stale).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    before = everything(drawn)
    ended = inside("draw", "--check")
    assert ended.code == 1
    assert ended.err == f"{stale} is not what the code says: run `spotfsm draw`\n"
    assert everything(drawn) == before


def test_missing_and_left_over_drawings_are_found(drawn: Path, inside: Command) -> None:
    """A drawing that no code stands behind is as stale as one that is not there; other files are nobody's business."""
    (drawn / "diagrams" / "job.mmd").unlink()
    (drawn / "diagrams" / "joint.svg").unlink()
    (drawn / "diagrams" / "notes.txt").write_text("mine")
    for ending in ("mmd", "dot", "svg", "png", "xstate.json", "md"):
        (drawn / "diagrams" / f"gone.{ending}").write_text("old")
    ended = inside("draw", "--check")
    for name in ("job.mmd", "joint.svg", "gone.mmd", "gone.dot", "gone.svg", "gone.png", "gone.xstate.json", "gone.md"):
        assert f"diagrams/{name} is not" in ended.err
    assert inside("draw").code == 0
    assert inside("draw", "--check").code == 0
    assert [*(drawn / "diagrams").glob("gone.*")] == []
    assert (drawn / "diagrams" / "notes.txt").exists()


def test_a_marker_that_names_nothing_is_a_mistake(directory: Path, inside: Command) -> None:
    """A misspelt block would silently never be drawn."""
    (directory / "README.md").write_text("<!-- generated: jop -->\n<!-- end generated -->\n")
    ended = inside("draw")
    assert ended.code == 2
    assert "'jop'" in ended.error_line
    assert not (directory / "diagrams").exists()


@pytest.mark.parametrize(
    ("readme", "said"), [(None, "there is no README.md"), (b"\xff\xfe", "is not UTF-8 text")], ids=["none", "binary"]
)
def test_a_directory_without_a_readme_is_a_mistake(
    directory: Path, inside: Command, readme: bytes | None, said: str
) -> None:
    """Drawing somewhere else than in a checkout writes nothing."""
    if readme is not None:
        (directory / "README.md").write_bytes(readme)
    ended = inside("draw")
    assert ended.code == 2
    assert said in ended.error_line
    assert not (directory / "diagrams").exists()


def test_the_drawings_of_this_repository_are_fresh(inside: Command) -> None:
    """What a reader sees is what runs."""
    ended = inside("draw", "--check", "--root", ROOT)
    assert ended.code == 0, ended.err


# -- on demand ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [form for form in Format if form.is_text])
def test_one_drawing_goes_to_standard_output(inside: Command, form: Format) -> None:
    """The result is on stdout, to the byte, and nothing is on stderr."""
    ended = inside("draw", "job", "--format", form)
    assert (ended.code, ended.out, ended.err) == (0, drawing_of(Machine.JOB).text(form), "")


def test_mermaid_is_the_default(inside: Command) -> None:
    """Naming a machine is enough to see it."""
    assert inside("draw", "joint").out == drawing_of(Machine.JOINT).text(Format.MERMAID)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("spot_vm", "delivery", "--format", "xstate"), ["spot_vm.xstate.json", "delivery.xstate.json"]),
        (("job", "--format", "svg"), ["job.svg"]),
        (("job", "--format", "png"), ["job.png"]),
        (("job", "--format", "png", "--dark"), ["job-dark.png"]),
        (("--format", "dot"), [f"{machine}.dot" for machine in Machine]),
    ],
)
def test_drawings_go_to_a_directory(
    directory: Path, inside: Command, options: tuple[str, ...], names: list[str]
) -> None:
    """Each drawing becomes a file that is named after its machine, in a directory that is made if need be."""
    ended = inside("draw", *options, "--output", "out")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.splitlines() == [f"drew out/{name}" for name in names]
    assert sorted(path.name for path in (directory / "out").iterdir()) == sorted(names)


def test_pictures_are_what_their_names_say(directory: Path, inside: Command) -> None:
    """An SVG is one, a PNG is one, and the dark PNG is another than the light one."""
    for options in (["--format", "svg"], ["--format", "png"], ["--format", "png", "--dark"]):
        assert inside("draw", "spot_vm", *options, "--output", ".").code == 0
    assert (directory / "spot_vm.svg").read_text().startswith("<svg ")
    light, dark = (directory / "spot_vm.png").read_bytes(), (directory / "spot_vm-dark.png").read_bytes()
    assert light.startswith(PNG)
    assert dark.startswith(PNG)
    assert light != dark


def test_a_picture_goes_to_standard_output_as_it_is(directory: Path, spotfsm: Command) -> None:
    """An SVG on stdout is the SVG in the file."""
    shown = spotfsm("draw", "joint", "--format", "svg")
    assert spotfsm("draw", "joint", "--format", "svg", "--output", ".").code == 0
    assert shown.out == (directory / "joint.svg").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("jop",), "machines: 'jop' is not one of"),
        (("job", "--format", "gif"), "--format: 'gif' is not one of"),
        (("job", "joint"), "--output: standard output takes one drawing"),
        (("--format", "dot"), "--output: standard output takes one drawing"),
        (("job", "--dark"), "--dark: mermaid has no ground of its own"),
        (("job", "--format", "svg", "--dark"), "--dark: svg has no ground of its own"),
        (("job", "--check"), "--check: it looks at diagrams/ as a whole"),
        (("job", "--output", "taken"), "--output: taken/job.mmd cannot be written"),
        (("--job", "a"), "--job: a job's path is in a journal"),
        (("--journal", "none.jsonl"), "JOURNAL: none.jsonl cannot be read"),
        (("--journal", "taken"), "JOURNAL: taken is not a journal"),
    ],
)
def test_a_mistake_is_one_line(directory: Path, inside: Command, options: tuple[str, ...], said: str) -> None:
    """Wrong use ends with exit code 2 and one line that names the setting; nothing is on stdout."""
    (directory / "taken").write_text("a file\n\x00")
    ended = inside("draw", *options)
    assert ended.code == 2
    assert ended.error_line.startswith(said)


# -- a journal's path --------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(directory: Path) -> Path:
    """Rows of a worker that came up and ran one job, which was delivered twice."""
    path = directory / "worker.jsonl"
    rows: list[dict[str, str | int]] = [
        {"machine": "application", "row": "A1", "from": "Offline", "to": "Recovering"},
        {"machine": "application", "row": "A3", "from": "Recovering", "to": "WarmingUp"},
        {"machine": "job", "job": "m1", "epoch": 1, "row": "J8", "from": "Received", "to": "Running"},
        {"machine": "job", "job": "m1", "epoch": 1, "row": "J28", "from": "Running", "to": "Released"},
        {"machine": "job", "job": "m1", "epoch": 2, "row": "J7", "from": "Received", "to": "Running"},
    ]
    written = JsonLinesJournal(path)
    for fields in rows:
        written.write(Kind.ROW, fields)
    written.close()
    return path


def test_a_journal_draws_the_applications_path(journal: Path, inside: Command) -> None:
    """By default it is the application that is drawn: counts on what was passed, and where it stands."""
    out = inside("draw", "--journal", journal).out
    assert "recover [VM running]<br/>/ A1 \N{MULTIPLICATION SIGN}1 up" in out
    assert 'state "WarmingUp<br/>\N{MULTIPLICATION SIGN}1, now here" as WarmingUp' in out
    assert "class WarmingUp present" in out


def test_a_journal_draws_one_jobs_path(journal: Path, inside: Command) -> None:
    """With a job's id it is that job that is drawn, present in its newest delivery."""
    out = inside("draw", "--journal", journal, "--job", "m1", "--format", "dot").out
    assert '"Running" [label="Running\\n\N{MULTIPLICATION SIGN}2, now here"' in out
    assert "J28 \N{MULTIPLICATION SIGN}1 interrupted" in out.replace("\\l", " ")


@pytest.mark.parametrize("form", Format)
def test_a_path_is_drawn_in_every_format_that_can_show_it(journal: Path, inside: Command, form: Format) -> None:
    """All but XState, whose configurations are of machines and not of their lives."""
    ended = inside("draw", "job", "--journal", journal, "--format", form, "--output", "out")
    if form is Format.XSTATE:
        assert ended.code == 2
        assert ended.error_line.startswith("--format: an XState configuration has no path")
    else:
        assert ended.code == 0, ended.err
        assert [path.name for path in (journal.parent / "out").iterdir()] == [f"job.{form.ending}"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--job", "m2"), "--job: 'm2' is not in the journal"),
        (("spot_vm",), "--journal: it has no line of the machine spot_vm"),
        (("delivery",), "--journal: it has no line of a delivery's steps"),
    ],
)
def test_a_path_that_is_not_there_is_a_mistake(
    journal: Path, inside: Command, options: tuple[str, ...], said: str
) -> None:
    """What the journal does not tell of is not drawn as if it had never moved."""
    ended = inside("draw", *options, "--journal", journal)
    assert ended.code == 2
    assert ended.error_line.startswith(said)


def test_a_row_of_another_version_is_a_mistake(journal: Path, inside: Command) -> None:
    """A row that no table of this version has is named."""
    lines = journal.read_text().splitlines()
    line = json.loads(lines[1]) | {"row": "A99"}
    journal.write_text("\n".join([lines[0], json.dumps(line)]) + "\n")
    ended = inside("draw", "--journal", journal)
    assert ended.code == 2
    assert "no row 'A99' is taken in state 'Offline'" in ended.error_line


@pytest.mark.parametrize(
    ("module", "form", "named"),
    [
        ("pygraphviz", "svg", "pygraphviz"),
        ("pygraphviz", "png", "pygraphviz"),
        ("resvg_py", "png", "resvg-py"),
        ("font_source_sans_pro", "svg", "font-source-sans-pro"),
    ],
)
def test_without_the_extra_pictures_say_what_to_install(
    directory: Path, spotfsm: Command, module: str, form: str, named: str
) -> None:
    """Where a library is missing, one line names it and the remedy."""
    hide(module, directory)
    ended = spotfsm("draw", "joint", "--format", form, env={"PYTHONPATH": f"{directory}:{ROOT}"})
    assert ended.code == 2
    assert ended.error_line == f"--format: SVG and PNG need {named}. Run pip install 'spotfsm[draw]'."


def hide(module: str, directory: Path) -> None:
    """Make a process that starts with this directory on its path believe that a module is not installed."""
    finder = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
"""
    (directory / "sitecustomize.py").write_text(finder)


def test_what_is_text_needs_no_extra(drawn: Path, spotfsm: Command) -> None:
    """Text formats and the check are there without any library, pictures included in the check."""
    hide("pygraphviz", drawn)
    path = {"PYTHONPATH": f"{drawn}:{ROOT}"}
    assert spotfsm("draw", "job", "--format", "dot", env=path).out == drawing_of(Machine.JOB).text(Format.DOT)
    assert spotfsm("draw", "--check", env=path).code == 0
