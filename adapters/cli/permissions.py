"""What each command needs of Azure: the least privilege, command by command.

Azure checks a permission for each call; a role is a set of them. Here stands which ones a command's calls take, so that
`doctor` can name what is missing, the README can list it, and a test can hold the commands to it.
[https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory, read 2026-11]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

_PARENTS = {
    "queues": "queueServices",
    "messages": "queueServices/queues",
    "containers": "blobServices",
    "blobs": "blobServices/containers",
}


class Permission(StrEnum):
    """A permission, by the end of its name in a role definition."""

    COUNT_MESSAGES = "queues/read"
    CREATE_QUEUES = "queues/write"
    LOOK_AT_MESSAGES = "messages/read"
    PUT_MESSAGES = "messages/add/action"
    PROCESS_MESSAGES = "messages/process/action"
    WRITE_MESSAGES = "messages/write"
    CREATE_CONTAINERS = "containers/write"
    READ_BLOBS = "blobs/read"
    WRITE_BLOBS = "blobs/write"
    DELETE_BLOBS = "blobs/delete"

    @property
    def full_name(self) -> str:
        """As a role definition has it."""
        return f"Microsoft.Storage/storageAccounts/{_PARENTS[self.split('/')[0]]}/{self}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The permissions of one command, by what they are granted on."""

    queue: Sequence[Permission] = ()
    poison_queue: Sequence[Permission] = ()
    container: Sequence[Permission] = ()


NEEDS: Mapping[str, Needs] = {
    "worker": Needs(
        queue=(Permission.COUNT_MESSAGES, Permission.PROCESS_MESSAGES, Permission.WRITE_MESSAGES),
        poison_queue=(Permission.COUNT_MESSAGES, Permission.PUT_MESSAGES),
        container=(Permission.READ_BLOBS, Permission.WRITE_BLOBS),
    ),
    "enqueue": Needs(queue=(Permission.PUT_MESSAGES,)),
    "enqueue --create": Needs(
        queue=(Permission.CREATE_QUEUES, Permission.PUT_MESSAGES),
        poison_queue=(Permission.CREATE_QUEUES,),
        container=(Permission.CREATE_CONTAINERS,),
    ),
    "status": Needs(
        queue=(Permission.COUNT_MESSAGES, Permission.LOOK_AT_MESSAGES),
        poison_queue=(Permission.COUNT_MESSAGES,),
        container=(Permission.READ_BLOBS,),
    ),
    "doctor": Needs(
        queue=(
            Permission.COUNT_MESSAGES,
            Permission.LOOK_AT_MESSAGES,
            Permission.PROCESS_MESSAGES,
            Permission.WRITE_MESSAGES,
        ),
        poison_queue=(Permission.COUNT_MESSAGES, Permission.WRITE_MESSAGES),
        container=(Permission.READ_BLOBS, Permission.WRITE_BLOBS),
    ),
    "prune": Needs(container=(Permission.READ_BLOBS, Permission.DELETE_BLOBS)),
}
"""By command; where a command has variants, by what is typed."""

ROLES: Mapping[Permission, str] = {
    Permission.COUNT_MESSAGES: "Storage Queue Data Contributor or Reader; Message Processor does not have it",
    Permission.CREATE_QUEUES: "Storage Queue Data Contributor",
    Permission.LOOK_AT_MESSAGES: "Storage Queue Data Contributor, Reader or Message Processor",
    Permission.PUT_MESSAGES: "Storage Queue Data Message Sender; messages/write has it, too",
    Permission.PROCESS_MESSAGES: "Storage Queue Data Contributor or Message Processor",
    Permission.WRITE_MESSAGES: "Storage Queue Data Contributor; Message Processor does not have it",
    Permission.CREATE_CONTAINERS: "Storage Blob Data Contributor",
    Permission.READ_BLOBS: "Storage Blob Data Contributor or Reader",
    Permission.WRITE_BLOBS: "Storage Blob Data Contributor",
    Permission.DELETE_BLOBS: "Storage Blob Data Contributor",
}
"""The built-in roles that have each.
[https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/storage, read 2026-11]"""
