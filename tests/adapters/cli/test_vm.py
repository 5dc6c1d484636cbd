"""`spotfsm vm`: put to the table first, sent then, and told apart when Azure refuses; through the SDK and HTTP."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.azure import vm_control
from adapters.azure.planning import documents
from adapters.cli import vm_orders
from tests.adapters.azure.compute import GROUP, NAME, Compute
from tests.adapters.azure.planning.cloud import SUBSCRIPTION, Cloud, Refusal, serve_cloud
from tests.adapters.azure.planning.price_rows import rows
from tests.adapters.cli.conftest import Command, Ended
from tests.adapters.cli.planning import Ask, asking

CAPACITY = ("SkuNotAvailable", "The requested VM size is currently not available in location 'eastus2'.")
PRICE = ("SpotPriceGreaterThanProvidedMaxPrice", "the provided max price '0.05 USD' is lower than '0.06 USD'.")
QUOTA = (
    "OperationNotAllowed",
    "Operation could not be completed as it results in exceeding approved LowPriorityCores quota.",
)
ACTION = "Microsoft.Compute/virtualMachines/start/action"
FORBIDDEN = ("AuthorizationFailed", f"The client 'c' may not perform action '{ACTION}' over scope '/subscriptions/s'.")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure's pauses are Azure's; here nobody waits for them."""
    monkeypatch.setattr(vm_control, "POLL_S", 0.01)
    monkeypatch.setattr(vm_control, "LOOK_PAUSE_S", 0.01)
    monkeypatch.setattr(vm_control, "RETRY_PAUSE_S_MAX", 0.01)
    monkeypatch.setattr(vm_orders, "WATCH_S", 0.01)
    monkeypatch.setattr(documents, "FIRST_PAUSE_S", 0.0)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """A price list in which the VM's size costs 0.0173 USD an hour."""
    with serve_cloud() as cloud:
        cloud.items = [*rows("Standard_D2s_v5", "eastus2", spot_price=0.0173, price=0.096)]
        yield cloud


@pytest.fixture
def compute(cloud: Cloud) -> Compute:
    """The VM, deallocated, with a max price of 0.05 USD an hour."""
    compute = Compute(url=cloud.url)
    cloud.more = [compute]
    return compute


@pytest.fixture
def vm(inside: Command, cloud: Cloud, compute: Compute, twin: str, directory: Path) -> Ask:
    """Runs `spotfsm vm` against it."""
    ask = asking(inside, cloud, twin, directory, "vm")

    def command(what: str, *arguments: object, group: str = GROUP, name: str = NAME) -> Ended:
        return ask(what, name, "--resource-group", group, *arguments)

    return command


# -- what is done ------------------------------------------------------------------------------------------------------


def test_a_deallocated_vm_is_started(vm: Ask, compute: Compute) -> None:
    """The operation is followed to its end, and the row that was taken is told."""
    ended = vm("start")
    assert ended.code == 0, ended.err
    assert ended.out == "vm-spot is running (S1 restarted)\n"
    assert compute.power == "running"


def test_a_running_vm_is_deallocated(vm: Ask, compute: Compute) -> None:
    """A program gets the VM as it then is."""
    compute.power = "running"
    found = json.loads(vm("deallocate", "--json").out)
    assert (found["state"], found["power"], found["row"]) == ("Stopped", "deallocated", "O1")


@pytest.mark.parametrize("price", ["0.06", "0.00001", "12.34567", "-1"])
def test_a_max_price_is_changed_to_its_digit(vm: Ask, compute: Compute, price: str) -> None:
    """Nothing but the max price is sent, and it arrives as it was written."""
    found = json.loads(vm("reprice", "--max-price", price, "--json").out)
    assert found["row"] == "O7"
    assert found["max_price_usd_per_h"] == price
    assert compute.bodies == [{"properties": {"billingProfile": {"maxPrice": float(price)}}}]


def test_an_eviction_is_ordered_and_watched(vm: Ask, compute: Compute) -> None:
    """Accepted at once; with --wait the command stays until the VM is taken."""
    compute.power = "running"
    ended = vm("simulate-eviction")
    assert ended.out == "vm-spot is running (E2 evicted for capacity: deallocated)\n"
    assert "goes within half an hour" in ended.err
    compute.power = "running"
    assert vm("simulate-eviction", "--wait").out == "vm-spot is deallocated (E2 evicted for capacity: deallocated)\n"


def test_what_the_policy_would_delete_is_deleted_only_when_that_is_meant(vm: Ask, compute: Compute) -> None:
    """Without --yes and nobody to ask, nothing is sent; with it the VM is gone."""
    compute.power, compute.policy = "running", "Delete"
    refused = vm("simulate-eviction")
    assert refused.code == 2
    assert refused.error_line.startswith(
        "--yes: the eviction policy of vm-spot is Delete: the VM and its disks will be"
    )
    assert "POST /simulateEviction" not in compute.asked
    assert (
        vm("simulate-eviction", "--yes", "--wait").out
        == "vm-spot is gone (E3 evicted for capacity: deleted with its disks)\n"
    )


@pytest.mark.parametrize(("answer", "code"), [("n", 130), ("", 130), ("y", 0)])
def test_whoever_sits_at_a_terminal_is_asked(
    vm: Ask, compute: Compute, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    """Anything but a yes sends nothing."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    compute.power, compute.policy = "running", "Delete"
    ended = vm("simulate-eviction")
    assert ended.code == code
    assert "delete the VM and its disks?" in ended.err
    assert ("POST /simulateEviction" in compute.asked) is (code == 0)


def test_what_is_so_already_is_left_alone(vm: Ask, compute: Compute) -> None:
    """A doubled order is no error, and sends nothing."""
    assert vm("deallocate").out == "vm-spot is deallocated (O2 already deallocated)\n"
    assert vm("simulate-eviction").out == "vm-spot is deallocated (E6 nothing to evict)\n"
    compute.power = "running"
    assert vm("start").out == "vm-spot is running (S5 already running)\n"
    assert all(asked.startswith("GET") for asked in compute.asked)


def test_a_vm_that_was_shut_down_inside_can_be_started(vm: Ask, compute: Compute) -> None:
    """Stopped but allocated counts as running, and is billed; a start is sent all the same."""
    compute.power = "stopped"
    assert vm("start").out == "vm-spot is running (S5 already running)\n"
    assert "POST /start" in compute.asked


# -- what the table refuses --------------------------------------------------------------------------------------------


def test_a_running_vm_keeps_its_max_price(vm: Ask, compute: Compute) -> None:
    """Refused with the row and its reason; nothing is sent."""
    compute.power = "running"
    ended = vm("reprice", "--max-price", "0.06")
    assert ended.code == 1
    assert ended.error_line == (
        "vm-spot is running: row O6 of the Spot VM table: refused: deallocate first, because the max price of an "
        "allocated VM cannot change"
    )
    assert compute.bodies == []


@pytest.mark.parametrize(
    ("policy", "row"),
    [("Deallocate", "row S3"), ("Delete", "row S4")],
)
def test_a_start_that_the_price_forbids_is_not_sent(vm: Ask, compute: Compute, policy: str, row: str) -> None:
    """The current price is asked for, and told beside the max price; a disputed row says that it is."""
    compute.max_price, compute.policy = 0.01, policy
    ended = vm("start")
    assert ended.code == 1
    assert row in ended.error_line
    assert "(the max price is 0.0100 and the current one 0.0173 USD an hour)" in ended.error_line
    assert ("Azure refuses the start" in ended.error_line) is (policy == "Delete")
    assert "POST /start" not in compute.asked


def test_an_unknown_price_forbids_nothing(vm: Ask, cloud: Cloud, compute: Compute) -> None:
    """Where the price cannot be told Azure decides, and an old price is none."""
    vm("start")
    compute.power, compute.max_price, cloud.down = "deallocated", 0.01, True
    ended = vm("start")
    assert ended.code == 0
    assert "note: the current Spot price is not known: the price list does not answer" in ended.err


def test_a_vm_without_a_limit_needs_no_price(vm: Ask, cloud: Cloud, compute: Compute) -> None:
    """A max price of -1 is always affordable, and so it is where Azure leaves it out."""
    for price in (-1.0, None):
        compute.power, compute.max_price = "deallocated", price
        assert vm("start").code == 0
    assert cloud.pages() == 0


@pytest.mark.parametrize("order", ["show", "start", "deallocate", "simulate-eviction"])
def test_a_vm_that_is_not_there_is_named(vm: Ask, order: str) -> None:
    """Exit code 2: the name, the group or the subscription is wrong."""
    ended = vm(order, name="vm-other")
    assert ended.code == 2
    assert ended.error_line.startswith("name: there is no VM 'vm-other' in rg-spot. Check the name")


@pytest.mark.parametrize("priority", [None, "Regular", "SpotPlus"])
def test_what_is_no_spot_vm_is_shown_and_not_operated(vm: Ask, compute: Compute, priority: str | None) -> None:
    """The table is of Spot VMs; a priority we do not know is not taken for one that we do."""
    compute.priority = priority
    assert json.loads(vm("show", "--json").out)["orders"] == {}
    ended = vm("start")
    assert ended.code == 2
    assert ended.error_line.startswith(f"name: vm-spot has priority {priority or 'Regular'}")


@pytest.mark.parametrize("power", ["deallocating", "deleting"])
def test_a_vm_on_its_way_out_is_left_alone(vm: Ask, compute: Compute, power: str) -> None:
    """It is asked for nothing until it is there."""
    compute.power = power
    ended = vm("deallocate")
    assert ended.code == 1
    assert ended.error_line == f"vm-spot is {power}. Try again when that is done."


# -- what Azure refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (CAPACITY, "refused for capacity: start: SkuNotAvailable: The requested VM size"),
        (
            ("ZonalAllocationFailed", "x."),
            "refused for capacity: start: ZonalAllocationFailed: x. Try again in a minute",
        ),
        (("OverconstrainedAllocationRequest", "x"), "refused for capacity: "),
        (PRICE, "refused for price: start: SpotPriceGreaterThanProvidedMaxPrice: the provided max price"),
        (("OperationNotAllowed", "since the provided max price '1' is lower"), "refused for price: "),
        (QUOTA, "refused for quota: start: OperationNotAllowed: Operation could not be completed"),
        (("QuotaExceeded", "x"), "refused for quota: start: QuotaExceeded: x. Ask for more Spot cores"),
        (
            ("OperationNotAllowed", "the VM is being captured"),
            "start: OperationNotAllowed: the VM is being captured. See",
        ),
        (("InternalExecutionError", "x"), "Azure refuses: InternalExecutionError"),
    ],
)
def test_a_refusal_is_told_by_its_kind(
    vm: Ask, compute: Compute, later: bool, failure: tuple[str, str], said: str
) -> None:
    """At once or after the operation has begun, the innermost code decides; exit code 1 and what to do."""
    if later:
        compute.refused_later["start"] = failure
    else:
        compute.refused_at_once["start"] = (409, failure)
    ended = vm("start")
    assert ended.code == 1
    assert ended.error_line.startswith(said), ended.error_line


@pytest.mark.parametrize(
    ("status", "failure", "said"),
    [
        (403, FORBIDDEN, f"--credential: the identity lacks {ACTION} on /subscriptions/s. Give it a role"),
        (401, ("ExpiredAuthenticationToken", "x"), "--credential: the login has expired (ExpiredAuthenticationToken)"),
        (404, ("SubscriptionNotFound", "x"), "--subscription: Azure knows no such subscription"),
        (400, ("MaxPriceValueInvalid", "x"), "--max-price: Azure does not take it"),
    ],
)
def test_what_the_user_can_put_right_is_named(
    vm: Ask, compute: Compute, status: int, failure: tuple[str, str], said: str
) -> None:
    """The setting, the problem and the remedy; exit code 2."""
    compute.refused_at_once["start"] = (status, failure)
    ended = vm("start")
    assert ended.code == 2
    assert ended.error_line.startswith(said)


def test_a_group_and_a_subscription_that_are_none_are_named(vm: Ask) -> None:
    """Each is a setting of its own."""
    ended = vm("show", group="rg-other")
    assert ended.code == 2
    assert ended.error_line.startswith("--resource-group: there is none of this name (ResourceGroupNotFound)")
    ended = vm("show", "--subscription", "other")
    assert ended.code == 2
    assert ended.error_line.startswith("--subscription: Azure knows no such subscription (SubscriptionNotFound)")


def test_being_refused_for_now_is_waited_for(vm: Ask, cloud: Cloud, compute: Compute) -> None:
    """429 and 503 are asked again a few times; one that stays is a line."""
    for status in (429, 503):
        compute.power = "deallocated"
        cloud.refusals = [Refusal(status=status, path="/virtualMachines/", headers={"Retry-After": "0"}, times=2)]
        assert vm("start").code == 0
    cloud.refuse(429, "TooManyRequests", "slow down", path="/virtualMachines/")
    ended = vm("show")
    assert ended.code == 1
    assert ended.error_line == "Azure refuses: TooManyRequests (429): slow down. Try again in some minutes."


def test_an_operation_that_does_not_end_is_not_known_to_be_done(vm: Ask, compute: Compute) -> None:
    """The wait is bounded, and the line does not say that nothing happened."""
    compute.looks = 1_000_000
    ended = vm("start", "--timeout", "1s")
    assert ended.code == 1
    assert ended.err.splitlines()[-1] == "error: start: vm-spot is not known to be done within 1 s. Try again later."


def test_an_eviction_that_does_not_come_is_told(vm: Ask, compute: Compute) -> None:
    """Half an hour is Azure's word; whoever waits less is told that the VM still runs."""
    compute.power, compute.evicts_after = "running", 1_000_000
    ended = vm("simulate-eviction", "--wait", "--timeout", "1s")
    assert ended.code == 1
    assert ended.err.splitlines()[-1] == "error: vm-spot still runs after 1s. Try again later."


# -- moments of confusion ----------------------------------------------------------------------------------------------


def test_a_vm_that_was_just_created_is_looked_for_again(vm: Ask, compute: Compute) -> None:
    """Not found for a moment, and then without a power state: neither is taken for what it is not."""
    compute.not_found, compute.powerless = 2, 2
    assert vm("start").out == "vm-spot is running (S1 restarted)\n"


def test_a_power_state_that_is_never_told_is_an_error(vm: Ask, compute: Compute) -> None:
    """Nothing is asked of a VM whose state is not known."""
    compute.powerless = 1_000_000
    ended = vm("start")
    assert ended.code == 1
    assert ended.error_line.startswith("Azure does not tell the power state of vm-spot")
    assert "POST /start" not in compute.asked


def test_a_token_goes_nowhere_else(vm: Ask, compute: Compute) -> None:
    """An operation that is said to be on another host is not followed there."""
    compute.elsewhere = "http://127.0.0.1:9"
    ended = vm("start")
    assert ended.code == 1
    assert ended.error_line.startswith("Azure Resource Manager sends us elsewhere")


def test_terms_that_cannot_be_are_no_terms(vm: Ask, compute: Compute) -> None:
    """A policy or a max price of another kind is an error, not a guess."""
    for policy, price in (("Hibernate", 0.05), ("Delete", 0.0)):
        compute.policy, compute.max_price = policy, price
        ended = vm("show")
        assert ended.code == 1
        assert ended.error_line.startswith("Azure tells terms that cannot be")


@pytest.mark.parametrize("path", ["/virtualMachines/vm-spot", "/operations/"])
@pytest.mark.parametrize(
    "body", ["", "{", "[]", "3", "{}", '{"properties": 3}', '{"status": 3}', '{"status": "Failed"}']
)
def test_a_reply_of_another_shape_is_no_answer(vm: Ask, cloud: Cloud, path: str, body: str) -> None:
    """Whatever is torn or wrong, of the VM or of an operation, is one line, and never taken for success."""
    cloud.refusals = [Refusal(status=200, body=body, path=path)]
    ended = vm("start", "--timeout", "2s")
    assert ended.code in (1, 2), ended
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert ended.out == ""


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_a_vm_is_shown_with_its_price_and_its_orders(vm: Ask, compute: Compute) -> None:
    """What a program reads."""
    compute.provisioning = "failed/SkuNotAvailable"
    assert json.loads(vm("show", "--json").out) == {
        "name": "vm-spot",
        "state": "Stopped",
        "power": "deallocated",
        "provisioning": "failed/SkuNotAvailable",
        "priority": "Spot",
        "size": "Standard_D2s_v5",
        "region": "eastus2",
        "zone": "1",
        "os": "linux",
        "eviction_policy": "Deallocate",
        "max_price_usd_per_h": "0.05",
        "spot_usd_per_h": "0.0173",
        "orders": {"start": ["S1", "S2"], "deallocate": ["O2"], "reprice": ["O7"], "simulate-eviction": ["E6"]},
    }


def test_a_person_reads_the_outcomes(vm: Ask) -> None:
    """What may become of each order, with its row."""
    ended = vm("show")
    assert "start                restarted (S1); or refused: no capacity (S2)\n" in ended.out
    assert "max_price_usd_per_h  0.05\n" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("reprice", NAME, "--resource-group", GROUP), "--max-price: "),
        (("reprice", NAME, "--resource-group", GROUP, "--max-price", "0"), "--max-price: a max price is -1 or above 0"),
        (
            ("reprice", NAME, "--resource-group", GROUP, "--max-price", "0.123456"),
            "--max-price: a max price has at most 5",
        ),
        (("reprice", NAME, "--resource-group", GROUP, "--max-price", "dear"), "--max-price: 'dear' is not a number"),
        (("start", NAME), "--resource-group: it is missing"),
        (("start", NAME, "--resource-group", GROUP, "--credential", "none"), "--credential: nothing of this can be"),
        (("start", NAME, "--resource-group", GROUP, "--arm-url", "http://example.com"), "--arm-url: "),
    ],
)
def test_wrong_use_is_one_line(inside: Command, arguments: tuple[str, ...], said: str) -> None:
    """Nothing is asked of Azure, and the line begins with what to change."""
    ended = inside("vm", *arguments)
    assert ended.code == 2
    assert ended.error_line.startswith(said), ended.error_line


@pytest.mark.parametrize("order", ["show", "start", "deallocate", "reprice", "simulate-eviction"])
def test_every_order_explains_itself_with_an_example(inside: Command, order: str) -> None:
    """`--help` shows what an order does, and a line to start from."""
    assert f"Example: spotfsm vm {order} vm-spot" in " ".join(inside("vm", order, "--help").out.split())


def test_settings_of_the_file_are_the_groups(vm: Ask, directory: Path, compute: Compute) -> None:
    """`[vm]` is for every order that knows the setting, and what is no setting is refused."""
    compute.looks = 1_000_000
    (directory / "spotfsm.toml").write_text(f'subscription = "{SUBSCRIPTION}"\n[vm]\ntimeout = "1s"\n')
    assert "within 1 s" in vm("start").err
    (directory / "spotfsm.toml").write_text('[vm]\ntimeuot = "1s"\n')
    assert vm("start").error_line.startswith("--config: 'timeuot' under [vm]")


def test_without_the_sdk_the_line_says_what_to_install(
    inside: Command, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compute SDK is an extra."""
    monkeypatch.setattr("adapters.wiring.find_spec", lambda _name: None)
    ended = inside("vm", "show", NAME, "--resource-group", GROUP, "--arm-url", cloud.url)
    assert ended.code == 2
    assert ended.error_line == "vm: the compute SDK is not installed. Install it: pip install 'spotfsm[azure-vm]'."
