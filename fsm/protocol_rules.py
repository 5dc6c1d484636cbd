"""The numbered rules of the delivery protocol: what "delivery protocol, rule N" refers to.

Each rule closes a way in which a message was lost, run for ever, or recorded twice without it. `fsm.delivery` decides
by them, `fsm.runner` performs them, `fsm.record` holds what they count. Here they are in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

RULES: Mapping[int, str] = MappingProxyType(
    {
        1: (
            "Order. A delivery is received, claimed, run, checkpointed as often as it likes, recorded as done, and "
            "only then deleted. A release first saves, then counts how the delivery ended, then shows the message. A "
            "poison message is first marked in the record, then put, then deleted. Nothing is deleted before the "
            "write that makes its deletion safe has succeeded."
        ),
        2: (
            "Record. Each message has one small document under its queue's name and its id: epoch, owner, progress, "
            "status (open, released, done or poisoned), result and counts. Every queue gives its messages ids that "
            "are UUIDs. A message moved back from the poison queue is a new job."
        ),
        3: (
            "Fence. The epoch is the delivery's dequeue count. A claim succeeds over a smaller epoch only. A first "
            "delivery may claim with its first write, which then must create the record, so that a short job costs "
            "one store write: its done mark, written whether there is a result or not. Every later write is "
            "conditional on the version that the claim left. A claim refused by version is read again and tried again "
            "while the epoch found is still smaller; anything else means that the lease is lost."
        ),
        4: (
            "Owner. An owner is the VM's id, its boot, the instance, and a random token of this very delivery. A "
            "write whose reply was lost is read back. The same epoch, token and content: it was applied. Ours, but "
            "older: the same document is sent again, its counts as they were. Anything else, a missing record "
            "included: the lease is lost. One write of a delivery is in flight at a time. A process that receives an "
            "id it is already running abandons the older delivery."
        ),
        5: (
            "How a delivery ended. A claim stays open until its delivery ends. Each process writes at its start who "
            "now stands for its VM and instance: boot and process. A claimant that finds an open claim compares. "
            "Another boot: it was an eviction. The same boot and another process: a death. The same process, or "
            "nobody: a lapsed lease. Each end is counted once, under its epoch. Five failures poison a job, ten "
            "deaths without progress do too, evictions and lapses never. A worker that is told to stop closes its "
            "claims. With a store the dequeue count feeds no budget; without one it is all there is. While the store "
            "is out of reach, nothing is received."
        ),
        6: (
            "Serial queue calls. A renewal's reply is awaited before a release or a delete is sent, because it brings "
            "the only pop receipt that still works. A refused delete ends as completed if the result is recorded, and "
            "as abandoned if not; a refused release ends as released."
        ),
        7: (
            "A notice during a receive. No receive is sent after a notice; one that is in flight is awaited, and what "
            "it brings is released unbegun."
        ),
        8: (
            "Time to live. Our own puts never expire. A foreign message that does is renewed no further than its "
            "expiry, runs on under the fence, and is reported."
        ),
        9: (
            "Records are not deleted by workers. Pruning removes a record that is done or poisoned once the delete of "
            "its message was confirmed and seven days have passed."
        ),
        10: (
            "Poisoned is final, and excludes done. A poison put whose reply was lost is put again: a duplicate on the "
            "poison queue is allowed, a loss is not. A delivery that finds its record poisoned puts and deletes. When "
            "body and error together are over 64 KiB, the error is cut, and then the body goes alone."
        ),
        11: "Putting a job reports a lost reply and does not repeat the put: two messages are two jobs.",
    }
)
"""The rules by number."""
