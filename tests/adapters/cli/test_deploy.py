"""`spotfsm deploy`: what it shows is what it runs, its commands are ones that exist, and a failure is one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from adapters.azure.deploy import troubles
from adapters.azure.deploy.commands import Variable, Word, shell_word
from adapters.azure.deploy.steps import BUILD, BY_BASTION, Step
from adapters.azure.deploy.troubles import explain
from adapters.cli import deploy, deploy_run
from adapters.cli.commands import COMMANDS
from adapters.cli.main import build
from tests.adapters.azure.deploy import fake_program
from tests.adapters.azure.deploy.bicep_file import parse
from tests.adapters.cli.conftest import Command
from tests.second_tier import unavailable

OPERATOR = "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a"
VARIANTS: Mapping[str, Sequence[str]] = {
    "a VM": (),
    "a scale set": ("--shape", "scale-set", "--instances", "4", "--regular-base", "2", "--regular-percent", "50"),
    "other names": (
        *(
            "--subscription",
            "Pay As You Go",
            "--name",
            "night-shift",
            "--queue-name",
            "pages",
            "--resource-group",
            "rg_(1)",
        ),
        *("--message", 'it\'s $HOME `x` "{n}" \\ !', "--max-price", "0.01234", "--eviction-policy", "Delete"),
    ),
    "an Arm processor": ("--size", "D2ps_v6"),
    "no extras": ("--operator", "none", "--no-bastion"),
    "a package that is there": (
        "--operator",
        OPERATOR,
        "--package",
        "put here/made-before.tar.gz",
        "--package-version",
        "1.2.3",
    ),
}


TRIES = 5
"""Of what is denied, until no role is waited for any more."""


class Stage:
    """Programs on the PATH that play their part, and what was asked of them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def calls(self) -> list[list[str]]:
        """Each call, the program first."""
        log = self._directory / "calls"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def forget(self) -> None:
        """As if nothing had been called."""
        (self._directory / "calls").unlink(missing_ok=True)

    def blobs(self) -> dict[str, str]:
        """What was uploaded, by name."""
        return {blob.name: blob.read_text() for blob in (self._directory / "blobs").glob("*")}

    def lose_blobs(self) -> None:
        """As if nothing had been uploaded."""
        shutil.rmtree(self._directory / "blobs", ignore_errors=True)

    def fail(self, begins: str, text: str, *, times: int = 10**6) -> None:
        """Let calls that begin like this fail, the first so many times."""
        (self._directory / "fail-0").write_text(json.dumps([begins, times, text]))


@pytest.fixture
def stage(directory: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A PATH with nothing of the Azure CLI's but its arguments, and a home without keys."""
    place = tmp_path_factory.mktemp("stage")
    source = Path(fake_program.__file__)
    programs = place / "bin"
    programs.mkdir()
    for name in ("az", "spotfsm", "ssh-keygen", "scp"):
        program = programs / name
        program.write_text(f"#!{sys.executable} -IS\n{source.read_text()}")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_STAGE", str(place))
    monkeypatch.setenv("FAKE_COMMANDS", str(source.with_name("az_commands.json")))
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.setattr(deploy, "own_command", lambda: ("spotfsm",))
    monkeypatch.setattr(deploy_run, "RETRY_EVERY_S", 0.25)
    monkeypatch.setattr(deploy_run, "ARRIVING_S", 1.0)
    return Stage(place)


# -- what is shown is what runs --------------------------------------------------------------------------------------


def test_nothing_is_done_unless_it_is_asked_for(inside: Command, stage: Stage) -> None:
    """Without --run, and with --dry-run, the commands are printed and none is called."""
    assert inside("deploy").out == inside("deploy", "--dry-run").out
    assert stage.calls == []


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("steps", [BUILD, tuple(step for step in Step if step not in BUILD)], ids=["build", "others"])
def test_the_script_does_what_run_does(
    inside: Command, stage: Stage, directory: Path, variant: str, steps: Sequence[Step]
) -> None:
    """Bash runs the very commands that --run does, word for word, and leaves the same files."""
    arguments = ("deploy", *possible(steps, variant), *VARIANTS[variant])
    script = inside(*arguments).out
    ended = inside(*arguments, "--run", "--yes")
    assert ended.code == 0, ended.err
    by_run, settings = stage.calls, written(directory)
    stage.forget()
    stage.lose_blobs()
    for left in ("worker.toml", ".ssh/spotfsm"):
        (directory / left).unlink(missing_ok=True)
    subprocess.run(["/bin/bash"], input=script, text=True, check=True, cwd=directory, capture_output=True)
    assert stage.calls == by_run
    assert len(by_run) >= 8
    assert written(directory) == settings
    assert bool(settings) == ("settings" in steps and "--package" not in arguments)


def possible(steps: Iterable[Step], variant: str) -> list[Step]:
    """Those steps that this variant can take: without a Bastion nothing goes through one."""
    return [step for step in steps if step not in BY_BASTION or "--no-bastion" not in VARIANTS[variant]]


def written(directory: Path) -> str:
    """The settings that were written for the package."""
    file = directory / "worker.toml"
    return file.read_text() if file.exists() else ""


@given(
    parts=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=4)
)
def test_a_shell_reads_each_word_as_it_was(parts: list[str]) -> None:
    """Whatever is in a word, quotes, dollars and newlines, a shell takes it as one, variables in their place."""
    word: Word = (*parts, Variable("VALUE"), "", *parts)
    script = f"VALUE=\"a $HOME 'b'\"; printf '%s\\0' {shell_word(word)} {shell_word(parts[0])}"
    said = subprocess.run(["/bin/bash", "-c", script], capture_output=True, check=True, env={"HOME": "/h"}).stdout
    whole = "".join(parts)
    assert said.decode().split("\0")[:-1] == [f"{whole}a /h 'b'{whole}", parts[0]]


def test_a_program_reads_the_steps(inside: Command, stage: Stage) -> None:
    """--json has the same commands, step by step."""
    told = json.loads(inside("deploy", "--json").out)["steps"]
    assert [step["name"] for step in told] == [step.value for step in BUILD]
    script = inside("deploy").out
    for step in told:
        assert step["about"] in script
        assert step["commands"]
    assert stage.calls == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_script_is_a_clean_one(inside: Command, stage: Stage, variant: str) -> None:
    """ShellCheck has nothing to say of it."""
    found = shutil.which("shellcheck")
    if found is None:
        unavailable("it needs shellcheck")
    script = inside("deploy", *possible(Step, variant), *VARIANTS[variant]).out
    checked = subprocess.run([found, "-"], input=script, text=True, capture_output=True, check=False)
    assert checked.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["drop-roles", "clean-up"], "the resource group "),
        (["evict", "--eviction-policy", "Delete"], "the VM and its disks"),
    ],
)
def test_nothing_is_deleted_unless_somebody_agrees(
    inside: Command, stage: Stage, arguments: list[str], what: str
) -> None:
    """Where there is nobody to ask, not even the steps before are taken; with --yes they all are."""
    ended = inside("deploy", *arguments, "--run")
    assert ended.code == 2
    assert ended.error_line.startswith("--yes: ")
    assert what in ended.error_line
    assert stage.calls == []
    assert inside("deploy", *arguments, "--run", "--yes").code == 0
    assert stage.calls != []


# -- every command is one that exists --------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_deployment_gives_what_its_template_takes(inside: Command, stage: Stage, variant: str) -> None:
    """Each parameter is declared, each that is required is given, and each value is one of those allowed."""
    assert inside("deploy", "--run", *VARIANTS[variant]).code == 0
    deployments = [call for call in stage.calls if call[1:4] == ["deployment", "group", "create"]]
    assert len(deployments) == 3
    for call in deployments:
        template = parse(Path(call[call.index("--template-file") + 1]).read_text(encoding="utf-8"))
        words = call[call.index("--parameters") + 1 : call.index("--resource-group")]
        values = dict(word.split("=", 1) for word in words)
        assert values.keys() <= template.parameters.keys()
        assert {name for name, one in template.parameters.items() if one.required} <= values.keys()
        for name, value in values.items():
            parameter = template.parameters[name]
            assert not parameter.allowed or value in parameter.allowed
            assert parameter.kind != "int" or value.lstrip("-").isdigit()
            assert parameter.kind != "bool" or value in {"true", "false"}


@pytest.mark.parametrize(
    ("size", "image", "processor"),
    [("Standard_D2s_v5", "server", []), ("Standard_D2pls_v5", "server-arm64", ["--architecture", "aarch64"])],
)
def test_image_and_wheels_are_for_the_processor_of_the_size(
    inside: Command, stage: Stage, size: str, image: str, processor: list[str]
) -> None:
    """The cheapest sizes are often Arm ones: neither the usual image nor the usual wheels would run there."""
    assert inside("deploy", "package", "compute", "--size", size, "--run").code == 0
    (packaged,) = (call for call in stage.calls if call[:2] == ["spotfsm", "package"])
    assert packaged[packaged.index("telemetry") + 1 :] == processor
    assert f"imageSku={image}" in stage.calls[-1]


def test_every_command_of_our_own_is_one(inside: Command, stage: Stage) -> None:
    """Its options are read by the command that they are for."""
    assert inside("deploy", *Step, "--run", "--yes").code == 0
    calls = [call[1:] for call in stage.calls if call[0] == "spotfsm"]
    assert {call[0] for call in calls} == {"enqueue", "package", "sizes", "status"}
    for command, *arguments in calls:
        if command in COMMANDS:
            group = typer.main.get_command(build([command]))
            assert group.commands[command].make_context(command, arguments)  # type: ignore[attr-defined] # a group


def test_a_misspelt_flag_would_be_found(stage: Stage, directory: Path) -> None:
    """The stand-in refuses what the Azure CLI refuses: otherwise its consent would prove nothing."""
    for words in (["vm", "starts"], ["vm", "start", "--names", "x"], ["group", "create", "--name", "x"]):
        assert subprocess.run(["az", *words], capture_output=True, check=False).returncode == 2


# -- again, and from where it stopped --------------------------------------------------------------------------------


def test_what_is_there_stays(inside: Command, stage: Stage, directory: Path) -> None:
    """A second run makes neither a key nor settings anew."""
    assert inside("deploy", "--run").code == 0
    (directory / "worker.toml").write_text("mine = true")
    stage.forget()
    assert inside("deploy", "--run").code == 0
    assert not any(call[0] == "ssh-keygen" for call in stage.calls)
    assert (directory / "worker.toml").read_text() == "mine = true"


def test_a_key_is_private(inside: Command, stage: Stage, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real ssh-keygen makes one that nobody else can read, and its public half beside it."""
    found = shutil.which("ssh-keygen", path="/usr/bin:/bin")
    if found is None:
        unavailable("it needs ssh-keygen")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert inside("deploy", "key", "--run").code == 0
    key = directory / ".ssh" / "spotfsm"
    assert key.stat().st_mode & 0o077 == 0
    assert key.with_suffix(".pub").read_text().startswith("ssh-rsa ")


def test_a_run_goes_on_where_it_stopped(inside: Command, stage: Stage) -> None:
    """The first failure ends it and names the step; --from takes up there, with what that step must know."""
    stage.fail("az storage blob upload", "ERROR: (TooManyRequests) slow down", times=1)
    ended = inside("deploy", "--run")
    assert ended.code == 1
    *shown, line = ended.err.splitlines()
    problem, remedy = "Azure throttles the requests", "Wait some minutes."
    assert line == f"error: upload: {problem}. {remedy} Then go on: the same options and --from upload."
    assert shown[-1].startswith("+ az storage blob upload --account-name")
    assert stage.calls[-1][1:4] == ["storage", "blob", "upload"]
    stage.forget()
    assert inside("deploy", "--run", "--from", "upload").code == 0
    assert [call[1:4] for call in stage.calls[:2]] == [["deployment", "group", "show"], ["storage", "blob", "upload"]]


def test_a_role_that_has_not_arrived_is_waited_for(inside: Command, stage: Stage) -> None:
    """Denied right after the role was assigned, a command is tried again for ten minutes, and no longer."""
    denied = "You do not have the required permissions needed to perform this operation."
    stage.fail("az storage blob upload", denied, times=3)
    assert inside("deploy", "upload", "--run").code == 0
    assert [call[1] for call in stage.calls].count("storage") == 4
    stage.forget()
    stage.fail("az storage blob upload", denied)
    ended = inside("deploy", "upload", "--run")
    assert ended.code == 2
    assert ended.err.splitlines()[-1].startswith("error: --operator: the login may not use the storage account's data.")
    assert [call[1] for call in stage.calls].count("storage") == TRIES


def test_what_was_never_made_is_missed(inside: Command, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An output that no deployment has is no name to go on with."""
    monkeypatch.setenv("FAKE_ANSWER", "")
    ended = inside("deploy", "upload", "--run")
    assert ended.code == 1
    assert "something that an earlier step makes is not there" in ended.err.splitlines()[-1]
    assert not any("upload" in call for call in stage.calls)


def test_a_version_that_is_uploaded_is_uploaded_again_only_if_it_is_another(
    inside: Command, stage: Stage, directory: Path
) -> None:
    """The same bytes are no news; others are refused, with the next version's number, unless somebody insists."""
    assert inside("deploy", "package", "upload", "--run").code == 0
    again = inside("deploy", "--run")
    assert again.code == 0, again.err
    assert "upload: it is there already, byte for byte the same" in again.err.splitlines()
    assert stage.blobs() == {"spotfsm-0.1.0.tar.gz": "the jobs"}
    assert not list(directory.glob("*.uploaded"))

    stage.forget()
    ended = inside("deploy", "--run", env={"FAKE_JOBS": "others"})
    assert ended.code == 2
    assert ended.err.splitlines()[-1] == (
        "error: --package-version: 0.1.0 is uploaded already, and what is packaged now is not the same. A published "
        "version never changes: take 0.1.1, or add --overwrite if it was never published. What is there lies in "
        "spotfsm-0.1.0.tar.gz.uploaded. Then go on: the same options and --from package."
    )
    assert stage.blobs() == {"spotfsm-0.1.0.tar.gz": "the jobs"}
    assert (directory / "spotfsm-0.1.0.tar.gz.uploaded").read_text() == "the jobs"
    assert not any("version.bicep" in word for call in stage.calls for word in call)

    insisted = ("--from", "package", "--package-version", "0.1.0", "--overwrite")
    assert inside("deploy", *insisted, "--run", env={"FAKE_JOBS": "others"}).code == 0
    assert inside("deploy", "--from", "package", "--package-version", "0.1.1", "--run").code == 0
    assert stage.blobs() == {"spotfsm-0.1.0.tar.gz": "others", "spotfsm-0.1.1.tar.gz": "the jobs"}


@pytest.mark.parametrize("jobs", ["the jobs", "others"])
@pytest.mark.parametrize("package", [(), ("--package", "mine.tar.gz")], ids=["made", "given"])
def test_the_script_uploads_no_other_package_either(
    inside: Command, stage: Stage, directory: Path, jobs: str, package: Sequence[str]
) -> None:
    """It calls what --run calls, and ends with the same line and code."""
    name = "mine.tar.gz" if package else "spotfsm-0.1.0.tar.gz"
    (directory / name).write_text("the jobs")
    assert inside("deploy", "upload", *package, "--run").code == 0
    (directory / name).write_text(jobs)
    stage.forget()
    ran = inside("deploy", "upload", *package, "--run")
    calls = stage.calls
    stage.forget()
    script = inside("deploy", "upload", *package).out
    ended = subprocess.run(["/bin/bash"], input=script, text=True, check=False, cwd=directory, capture_output=True)
    assert stage.calls == calls
    assert (ran.code == 0) == (jobs == "the jobs")
    assert ended.returncode == ran.code
    if ran.code:
        assert ran.err.splitlines()[-1].startswith(ended.stderr.splitlines()[-1])
    assert stage.blobs() == {name: "the jobs"}


def test_a_size_that_is_none_is_found_before_anything_is_made(inside: Command, stage: Stage) -> None:
    """Right after the login: our own command's one line is the run's, close names included, and nothing was made."""
    said = "--size: there is no Standard_D2s_v55 in eastus2. Did you mean Standard_D2s_v5?"
    stage.fail("spotfsm sizes", f"note: something else\nerror: {said}")
    ended = inside("deploy", "--size", "D2s_v55", "--run")
    assert ended.code == 2
    assert ended.err.splitlines()[-1] == f"error: {said} Then go on: the same options and --from size."
    assert [call[1:3] for call in stage.calls] == [["account", "show"], ["account", "show"], ["sizes", "--region"]]
    asked = stage.calls[-1]
    assert asked[asked.index("--size") + 1] == "Standard_D2s_v55"
    assert asked[asked.index("--subscription") + 1] == "the id"


# -- what goes wrong -------------------------------------------------------------------------------------------------

DETAILS = '"details": [{"code": "%s", "message": "%s"}]}}'
SAMPLES: Sequence[tuple[str, str, str]] = (
    ("Please run 'az login' to setup account.", "login", "there is no login"),
    ("AADSTS70043: The refresh token has expired or is invalid due to sign-in frequency checks", "login", "expired"),
    ("The subscription of 'nobody' doesn't exist in cloud 'AzureCloud'.", "--subscription", "no such subscription"),
    ("(ReadOnlyDisabledSubscription) The subscription is disabled", "--subscription", "it is disabled"),
    (
        "(MissingSubscriptionRegistration) The subscription is not registered to use namespace 'Microsoft.Compute'.",
        "--subscription",
        "not registered for Microsoft.Compute",
    ),
    (
        "(InvalidResourceGroupLocation) The Resource group already exists in location 'eastus'",
        "--region",
        "exists in another region",
    ),
    (
        "(LocationNotAvailableForResourceGroup) The provided location 'nowhere' is not available for resource group.",
        "--region",
        "Azure knows no such region",
    ),
    (
        DETAILS
        % ("SpotPriceGreaterThanProvidedMaxPrice", "the provided max price '0.01 USD' is lower than '0.02 USD'"),
        "--max-price",
        "below the current Spot price",
    ),
    ("(MaxPriceChangeNotAllowedForAllocatedVMs) no", "--max-price", "cannot change while the VM is allocated"),
    ("(MaxPriceValueInvalid) no", "--max-price", "Azure refuses it"),
    (
        DETAILS
        % (
            "OperationNotAllowed",
            "The operation results in exceeding approved LowPriorityCores quota. Current Limit: 3",
        ),
        "compute",
        "the subscription's quota of LowPriority cores is spent",
    ),
    (
        "(InvalidParameter) The value Standard_X1 provided for the VM size is not valid.",
        "--size",
        "there is no such size",
    ),
    (
        DETAILS % ("SkuNotAvailable", "The requested VM size is currently not available in location 'eastus2'"),
        "compute",
        "there is no Spot capacity",
    ),
    ("(AllocationFailed) Allocation failed.", "compute", "there is no Spot capacity"),
    ("The request may be blocked: AuthorizationPermissionMismatch", "--operator", "may not use the storage account"),
    (
        "(AuthorizationFailed) It may not perform action 'Microsoft.Authorization/roleDefinitions/write' over scope",
        "login",
        "it lacks the permission Microsoft.Authorization/roleDefinitions/write",
    ),
    ("(Forbidden) no", "login", "it lacks a permission"),
    ("/me request is only valid with delegated authentication flow.", "--operator", "does not say who is signed in"),
    ("(PrincipalNotFound) Principal 1 does not exist in the directory", "--operator", "does not know this principal"),
    ("(UnmatchedPrincipalType) The PrincipalId is a Group", "--operator-kind", "stands for something else"),
    ("(RoleDefinitionDoesNotExist) The role is not there", "compute", "does not know the role"),
    (
        "(PropertyChangeNotAllowed) Changing property 'osProfile.customData' is not allowed.",
        "compute",
        "a VM that exists cannot change osProfile.customData",
    ),
    ("(TooManyRequests) Try again after '5' seconds.", "compute", "Azure throttles the requests"),
    (
        "(SubscriptionRequestsThrottled) Number of requests exceeded the limit",
        "compute",
        "Azure throttles the requests",
    ),
    (
        DETAILS
        % (
            "BadRequest",
            "only supports a CPU Architecture of 'Arm64', but an image or disk with CPU Architecture 'x64' was given",
        ),
        "--size",
        "does not run an image for x64",
    ),
    (
        "(BadRequest) The selected VM size 'Standard_D2_v2' cannot boot Hypervisor Generation '2'.",
        "--size",
        "cannot boot an image of generation 2",
    ),
    (
        "(VMExtensionProvisioningError) VM has reported a failure when processing extension 'VMAppExtension'",
        "package",
        "its installation failed on the VM",
    ),
    (
        "HTTPSConnectionPool(host='management.azure.com', port=443): Max retries exceeded with url: /subscriptions",
        "compute",
        "Azure does not answer",
    ),
    ("The specified blob already exists. ErrorCode:BlobAlreadyExists", "--package-version", "is uploaded already"),
    ("(StorageAccountAlreadyTaken) The storage account named x is already taken.", "--name", "is taken"),
    ("(InvalidParameter) linuxConfiguration.ssh.publicKeys.keyData is invalid", "--ssh-key", "refuses the public key"),
    ("The command requires the extension bastion. It will be installed first.", "az", "its extension bastion"),
    ("Error while attempting to retrieve the latest Bicep version", "az", "cannot get its Bicep compiler"),
    ("(ResourceGroupNotFound) Resource group 'rg' could not be found.", "steps", "is not there"),
)


@pytest.mark.parametrize(("text", "setting", "says"), SAMPLES)
def test_each_failure_is_one_clear_line(inside: Command, stage: Stage, text: str, setting: str, says: str) -> None:
    """Wrong region, size, subscription, no permission, quota or capacity, expired login, throttling: what to change."""
    stage.fail("az deployment group create", f"ERROR: {text}")
    ended = inside("deploy", "--from", "compute", "--run", "--operator", OPERATOR)
    assert ended.code == (1 if setting == "compute" else 2)
    line = ended.err.splitlines()[-1]
    assert line.startswith(f"error: {setting}: ")
    assert says in line
    assert line.endswith("Then go on: the same options and --from compute.")


def test_every_row_of_the_table_is_reached() -> None:
    """No row stands behind another that takes all it would."""
    problems = {explain(text).problem for text, _, _ in SAMPLES}
    for row in troubles.TABLE:
        before, _, behind = row.problem.partition("{0}")
        assert any(one.startswith(before.strip()) and one.endswith(behind) for one in problems), row.problem


def test_a_failure_that_nobody_knows_keeps_its_words(inside: Command, stage: Stage) -> None:
    """The CLI's own last error stands in the line, and the command that anyone may try."""
    stage.fail("az group create", "WARNING: one\nERROR: (Unheard) The stars are wrong.\nCode: Unheard")
    ended = inside("deploy", "group", "--run")
    assert ended.code == 1
    shown, line = ended.err.splitlines()[-2:]
    assert shown == "+ az group create --name rg-spotfsm --location eastus2 --output none"
    assert line == (
        "error: group: (Unheard) The stars are wrong. Run the command by itself for more. "
        "Then go on: the same options and --from group."
    )


def test_what_somebody_talked_to_has_said_it_all(inside: Command, stage: Stage) -> None:
    """A shell that ends badly is not explained a second time."""
    stage.fail("az network bastion ssh", "Connection closed")
    line = inside("deploy", "ssh", "--run").err.splitlines()[-1]
    said = "it ended with exit code 1. What it said stands above."
    assert line == f"error: ssh: {said} Then take the step again."


def test_without_the_azure_cli_there_is_a_word_on_it(
    inside: Command, stage: Stage, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who lacks it is told where it is to be had."""
    monkeypatch.setenv("PATH", str(directory))
    assert inside("deploy", "login", "--run").err.splitlines()[-1].startswith("error: az: it cannot be started")


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        (("--size", "Standard_B2s"), "--size"),
        (("--size", "Standard_D2_v2_Promo"), "--size"),
        (("--max-price", "0"), "--max-price"),
        (("--max-price", "0.123456"), "--max-price"),
        (("--max-price", "nan"), "--max-price"),
        (("--name", "Night Shift"), "--name"),
        (("--queue-name", "a--b"), "--queue-name"),
        (("--operator", "me"), "--operator"),
        (("--package-version", "1.0"), "--package-version"),
        (("--shape", "scale-set", "--regular-base", "4"), "--regular-base"),
        (("--package", "made before.tar.gz"), "--package"),
        (("--json",), "--json"),
        (("--from", "evict"), "--from"),
        (("login", "--from", "group"), "--from"),
        *(((step, "--no-bastion"), "--no-bastion") for step in sorted(BY_BASTION)),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    inside: Command, stage: Stage, arguments: Sequence[str], setting: str
) -> None:
    """One line that names the setting, and no command called."""
    ended = inside("deploy", *arguments, "--run")
    assert ended.code == 2
    assert ended.error_line.startswith(f"{setting}: ")
    assert stage.calls == []


def test_settings_may_stand_in_the_file(inside: Command, stage: Stage, directory: Path) -> None:
    """What is deployed is written down once, and the resumed run needs no options."""
    (directory / "spotfsm.toml").write_text(
        'region = "westeurope"\n[deploy]\nsize = "D4s_v5"\nmax_price = 0.05\nbastion = false\n'
    )
    script = inside("deploy").out
    assert "deployBastion=true" in inside("deploy", "--bastion").out
    for word in ("deployBastion=false", "--location westeurope", "vmSize=Standard_D4s_v5", "maxPrice=0.05"):
        assert word in script
