"""Where things lie in a store's container.

::

    records/QUEUE/MESSAGE_ID.json                     one record
    deleted/QUEUE/HASH.json                           the ids of one `confirm_deleted`
    presence/vm-id/VM_ID.INSTANCE.json                who stands for an instance of a VM
    presence/vm-name/VM_NAME.INSTANCE.json            the same, by the name that a recreated VM takes over

Names that come from elsewhere are spelled with letters, digits, `-` and `_`, and everything else as `~` and two
hexadecimal digits a byte: no name leaves its folder, and no two names share a blob.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Sequence

from fsm.errors import MisuseError

_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PLAIN = frozenset(string.ascii_letters + string.digits + "-_")


def records_prefix(queue: str) -> str:
    """What the paths of all records of a queue begin with, and no others."""
    return f"records/{_spelled(queue)}/"


def record_path(queue: str, message_id: str) -> str:
    """The blob of one message's record.

    Raises:
        MisuseError: the id is not a UUID.
    """
    return f"{records_prefix(queue)}{checked_id(message_id)}.json"


def confirmations_prefix(queue: str) -> str:
    """What the paths of all confirmations of a queue begin with, and no others."""
    return f"deleted/{_spelled(queue)}/"


def confirmation_path(queue: str, content: bytes) -> str:
    """The blob of one confirmation: the same content has the same path."""
    return f"{confirmations_prefix(queue)}{hashlib.sha256(content).hexdigest()}.json"


def presence_path(vm_id: str, instance: str) -> str:
    """The blob of the presence of an instance of a VM."""
    return f"presence/vm-id/{_spelled(vm_id)}.{_spelled(instance)}.json"


def presence_named_path(vm_name: str, instance: str) -> str:
    """The blob of the newest presence under a VM's name."""
    return f"presence/vm-name/{_spelled(vm_name)}.{_spelled(instance)}.json"


def checked_id(message_id: str) -> str:
    """The message id in its one spelling.

    Raises:
        MisuseError: it is not a UUID, and would not make a safe name.
    """
    if not is_id(message_id):
        raise MisuseError(f"a message id is a UUID, not {message_id!r:.100}")
    return message_id.lower()


def is_id(message_id: str) -> bool:
    """Whether it is a UUID: nothing else ever becomes part of a path."""
    return _ID.fullmatch(message_id.lower()) is not None


def checked_ids(message_ids: Sequence[str]) -> list[str]:
    """Each id once, in order.

    Raises:
        MisuseError: one of them is not a UUID.
    """
    return sorted({checked_id(message_id) for message_id in message_ids})


def _spelled(name: str) -> str:
    return "".join(letter if letter in _PLAIN else _escaped(letter) for letter in name)


def _escaped(letter: str) -> str:
    return "".join(f"~{byte:02x}" for byte in letter.encode(errors="surrogatepass"))
