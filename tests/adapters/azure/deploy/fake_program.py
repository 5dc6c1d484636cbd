"""Stands in for `az`, `spotfsm`, `ssh-keygen` and `scp`: remembers its calls, and answers or fails as it is told.

What is uploaded is kept, as it was and as the real one does.

As `az` it refuses what the real one would: `az_commands.json` has the flags of each command, as the help of azure-cli
2.91.0 (November 2026) gives them, and those of its extensions from their source.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import pairwise
from pathlib import Path

ANSWERS = {
    "properties.outputs.queueUrl.value": "https://account.queue.core.windows.net/jobs",
    "properties.outputs.storeUrl.value": "https://account.blob.core.windows.net/records",
    "properties.outputs.packagesUrl.value": "https://account.blob.core.windows.net/packages",
    "[?priority=='Spot'] | [0].name": "spotfsm-set_1",
}


def main() -> int:
    program, words = Path(sys.argv[0]).name, sys.argv[1:]
    stage = Path(os.environ["FAKE_STAGE"])
    with (stage / "calls").open("a") as calls:
        calls.write(json.dumps([program, *words]) + "\n")
    if program == "az":
        complaint = refusal(words)
        if complaint is not None:
            sys.stderr.write(f"ERROR: {complaint}\n")
            return 2
    for failure in sorted(stage.glob("fail-*")):
        begins, times, text = json.loads(failure.read_text())
        if " ".join([program, *words]).startswith(begins) and times:
            failure.write_text(json.dumps([begins, times - 1, text]))
            sys.stderr.write(f"{text}\n")
            return 1
    if program == "spotfsm" and words[0] == "package":
        version = words[words.index("--version") + 1]
        Path(f"spotfsm-{version}.tar.gz").write_text(os.environ.get("FAKE_JOBS", "the jobs"))
    if program == "az" and words[:2] == ["storage", "blob"]:
        return transferred(stage / "blobs", words)
    if program == "ssh-keygen":
        Path(words[words.index("-f") + 1]).write_text("a key")
    if program == "az" and "tsv" in words:
        query = words[words.index("--query") + 1]
        sys.stdout.write(os.environ.get("FAKE_ANSWER", ANSWERS.get(query, f"the {query}")) + "\n")
    return 0


def transferred(blobs: Path, words: list[str]) -> int:
    """Keep a blob, unless one of its name is not to be overwritten, or give one back."""
    given = dict(pairwise(words))
    name = given["--name"] if "--name" in given else given["--blob-url"].rpartition("/")[2]
    blob, file = blobs / name, Path(given["--file"])
    blobs.mkdir(exist_ok=True)
    if words[2] == "download":
        file.write_bytes(blob.read_bytes())
    elif blob.exists() and given["--overwrite"] == "false":
        sys.stderr.write("ERROR: The specified blob already exists.\nErrorCode:BlobAlreadyExists\n")
        return 1
    else:
        blob.write_bytes(file.read_bytes() if file.exists() else b"")
    return 0


def refusal(words: list[str]) -> str | None:
    """What the real one would say to these words, or None."""
    known = json.loads(Path(os.environ["FAKE_COMMANDS"]).read_text())
    name = next((name for name in known if words[: len(name.split())] == name.split()), None)
    if name is None:
        return f"'{' '.join(words)}' is misspelled or not recognized by the system."
    given = [word for word in words if word.startswith("--")]
    accepted = {flag for argument in known[name] for flag in argument["flags"]}
    for flag in given:
        if flag not in accepted:
            return f"unrecognized arguments: {flag}"
    for argument in known[name]:
        if argument["required"] and not set(argument["flags"]) & set(given):
            return f"the following arguments are required: {'/'.join(argument['flags'])}"
    return None


if __name__ == "__main__":
    sys.exit(main())
