"""What the Azure CLI's error texts mean, and our own, in one line: which setting, what is wrong, what to do about it.

The CLI prints what Azure answered, sometimes as JSON inside of JSON: a code or a sentence anywhere in it decides. The
first row that matches wins, so that the cause stands before what it leads to.
[https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors and
https://learn.microsoft.com/azure/virtual-machines/error-codes-spot, read 2026-11]
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TEXT_MAX = 400
_OWN = re.compile(r"^error: (--[a-z-]+): (.+?)\. (.+)$", re.MULTILINE)
"""A wrong setting, as every command of ours tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a command failed.

    Attributes:
        setting: what the user changes; None where only time, or somebody else, can help.
        arriving: a role that was just assigned may not have arrived yet.
        made: what it makes is there already.
        since: the step from which to go on, where it is not the one that failed.
    """

    setting: str | None
    problem: str
    remedy: str
    arriving: bool = False
    made: bool = False
    since: str = ""

    @property
    def line(self) -> str:
        """As it is told."""
        return f"{'' if self.setting is None else f'{self.setting}: '}{self.problem}. {self.remedy}"


@dataclass(frozen=True, slots=True)
class _Row:
    """`{0}` in the texts is what the pattern's group found."""

    pattern: str
    setting: str | None
    problem: str
    remedy: str
    arriving: bool = False
    made: bool = False


_SIZES = "`spotfsm sizes` lists sizes that can be Spot."
_ROLES = "It takes Owner of the resource group, or Contributor with Role Based Access Control Administrator."
TABLE = (
    _Row(
        r"AADSTS\d+|az login|Interactive authentication is needed|(?:Expired|Invalid)AuthenticationToken\b",
        "login",
        "there is no login, or it has expired",
        "Run `az login`.",
    ),
    _Row(
        r"SubscriptionNotFound|InvalidSubscriptionId|subscription of '[^']*' doesn't exist|"
        r"subscription '?[^' ]*'? (?:could not be|was not) found",
        "--subscription",
        "the login has no such subscription",
        "`az account list` names those it has.",
    ),
    _Row(r"ReadOnlyDisabledSubscription", "--subscription", "it is disabled", "Enable it, or name another."),
    _Row(
        r"not registered to use namespace '([\w.]+)'",
        "--subscription",
        "it is not registered for {0}",
        "Run `az provider register --wait --namespace {0}`.",
    ),
    _Row(
        r"InvalidResourceGroupLocation",
        "--region",
        "the resource group exists in another region",
        "Name that region, or another --resource-group.",
    ),
    _Row(
        r"LocationNotAvailableFor\w+|InvalidLocation|NoRegisteredProviderFound|location '?[\w ]*'? is not available",
        "--region",
        "Azure knows no such region, or does not offer this there",
        "`az account list-locations --query '[].name'` names the regions.",
    ),
    _Row(
        r"SpotPriceGreaterThanProvidedMaxPrice",
        "--max-price",
        "it is below the current Spot price",
        "`spotfsm prices` shows it; -1 follows it up to the pay-as-you-go price.",
    ),
    _Row(
        r"MaxPriceChangeNotAllowed\w*",
        "--max-price",
        "it cannot change while the VM is allocated",
        "Use `spotfsm vm deallocate`, then `spotfsm vm reprice`.",
    ),
    _Row(r"MaxPriceValueInvalid", "--max-price", "Azure refuses it", "Give -1, or USD an hour with up to 5 decimals."),
    _Row(
        r"approved ([\w ]*?) ?(?:Cores )?quota|QuotaExceeded|quota limit",
        None,
        "the subscription's quota of {0} cores is spent",
        "Ask for more at https://aka.ms/ProdportalCRP, or take a smaller --size or another --region.",
    ),
    _Row(
        r"VM size is not valid|VMSizeIsNotPermitted|InvalidVmSize|"
        r"not (?:support|permit)\w*[^.]*\b(?:Spot|Low Priority)\b|"
        r"\b(?:Spot|Low Priority)\b[^.]*not (?:supported|permitted)",
        "--size",
        "there is no such size, or it cannot be Spot",
        _SIZES,
    ),
    _Row(
        r"CPU Architecture of '\w+', but an image or disk with CPU Architecture '(\w+)'",
        "--size",
        "its processor does not run an image for {0}",
        f"Take another. {_SIZES}",
    ),
    _Row(
        r"cannot boot Hypervisor Generation '(\d)'",
        "--size",
        "it cannot boot an image of generation {0}",
        "Take a newer one, or deploy vm.bicep by hand with imageSku=server-gen1.",
    ),
    _Row(
        r"SkuNotAvailable|(?:Zonal)?AllocationFailed|Overconstrained(?:Zonal)?AllocationRequest",
        None,
        "there is no Spot capacity for this size in this region now",
        f"Try again later, or another --size or --region. {_SIZES}",
    ),
    _Row(
        r"AuthorizationPermissionMismatch|do not have the required permissions needed to perform this operation",
        "--operator",
        "the login may not use the storage account's data",
        "It takes Storage Queue Data Contributor and Storage Blob Data Contributor; new roles take minutes to arrive.",
        arriving=True,
    ),
    _Row(
        r"perform action '([^']+)'",
        "login",
        "it lacks the permission {0}",
        _ROLES,
    ),
    _Row(
        r"AuthorizationFailed|Forbidden",
        "login",
        "it lacks a permission",
        _ROLES,
    ),
    _Row(
        r"/me request is only valid|Insufficient privileges to complete",
        "--operator",
        "the directory does not say who is signed in",
        "Give an object id, or none to grant nothing.",
    ),
    _Row(
        r"PrincipalNotFound",
        "--operator",
        "the directory does not know this principal, or not yet",
        "Give an object id, and try again in a minute.",
        arriving=True,
    ),
    _Row(
        r"UnmatchedPrincipalType",
        "--operator-kind",
        "the object id stands for something else",
        "Give User, Group or ServicePrincipal.",
    ),
    _Row(
        r"RoleDefinitionDoesNotExist",
        None,
        "Azure does not know the role that it was just given",
        "Wait a minute.",
        arriving=True,
    ),
    _Row(
        r"PropertyChangeNotAllowed[^']*'([\w.]+)'|PropertyChangeNotAllowed",
        None,
        "a VM that exists cannot change {0}",
        "Delete the VM first, or take another --name.",
    ),
    _Row(
        r"TooManyRequests|throttl(?:ed|ing)|Too Many Requests",
        None,
        "Azure throttles the requests",
        "Wait some minutes.",
    ),
    _Row(
        r"StorageAccountAlreadyTaken|StorageAccountAlreadyExists|AccountNameInvalid",
        "--name",
        "the name it gives the storage account is taken or cannot be one",
        "Take another --name.",
    ),
    _Row(
        r"BlobAlreadyExists|specified blob already exists",
        "--package-version",
        "a package of this version is uploaded already",
        "Take the next one.",
        made=True,
    ),
    _Row(
        r"publicKeys|ssh\.publicKey",
        "--ssh-key",
        "Azure refuses the public key",
        "Give an RSA key of 2048 bits or more, or let the step `key` make one.",
    ),
    _Row(
        r"requires the extension ([\w-]+)",
        "az",
        "its extension {0} is not installed",
        "Run `az extension add --name {0}`.",
    ),
    _Row(
        r"(?:retriev|download|install)\w*[^.\n]*\bBicep\b",
        "az",
        "it cannot get its Bicep compiler",
        "Run `az bicep install` where there is a network.",
    ),
    _Row(
        r"VMApplicationManagerLinux|VMAppExtension|VMApplication\w*Fail\w*",
        "package",
        "its installation failed on the VM",
        "`spotfsm deploy ssh --run`: stdout and stderr lie below "
        "/var/lib/waagent/Microsoft.CPlat.Core.VMApplicationManagerLinux/.",
    ),
    _Row(
        r"Failed to establish a new connection|Max retries exceeded|name resolution",
        None,
        "Azure does not answer",
        "Look at the network, and try again.",
    ),
    _Row(
        r"ResourceGroupNotFound|DeploymentNotFound|ResourceNotFound|was not found|ContainerNotFound",
        "steps",
        "something that an earlier step makes is not there",
        "Run the earlier steps: `spotfsm deploy` shows them.",
    ),
)
"""From cause to effect."""


def explain(text: str) -> Trouble:
    """What an error text means; where no row knows it, its own words."""
    for row in TABLE:
        found = re.search(row.pattern, text, re.IGNORECASE)
        if found is not None:
            about = next((group for group in found.groups() if group), "")
            return Trouble(
                setting=row.setting,
                problem=" ".join(row.problem.format(about).split()),
                remedy=row.remedy.format(about),
                arriving=row.arriving,
                made=row.made,
            )
    own = _OWN.search(text)
    if own is not None:  # a command of ours: it knows best
        return Trouble(setting=own[1], problem=own[2], remedy=own[3])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    words = re.sub(r"^error:\s*", "", (errors or lines or ["it says nothing"])[-1], flags=re.IGNORECASE)
    return Trouble(setting=None, problem=words[:_TEXT_MAX].rstrip("."), remedy="Run the command by itself for more.")
