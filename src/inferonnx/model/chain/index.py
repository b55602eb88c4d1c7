"""`index.json`: the order of a chain's files and the values between them.

It is written last, so a folder that has it is whole. `Chain` is what it says; reading it
checks that the folder still holds exactly that.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from inferonnx.errors import ModelError, UsageError
from inferonnx.model.chain.original import beside, file_sha256
from inferonnx.runtime.files import read_file

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = "inferonnx.partitions/1"
INDEX = "index.json"

# An index of the largest models has a few hundred kB.
_INDEX_LIMIT_BYTES = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One file of a chain.

    Attributes:
        file: Its name in the folder.
        start: First operator of the original graph that it holds.
        stop: Operator behind the last one.
        inputs: Values that it must be given.
        outputs: Values that it gives.
        sha256: Of the file, in hex.
        data: The file of its weights and that one's SHA-256; None where they are inside.
    """

    file: str
    start: int
    stop: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sha256: str
    data: tuple[str, str] | None = None

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 by file name."""
        return {self.file: self.sha256} | dict([self.data] if self.data else [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A model as plain ONNX files that are run one after another.

    Attributes:
        folder: Where the files lie.
        model: File name of the model that was cut.
        model_sha256: Of that file, in hex.
        model_data: SHA-256 of its files of external data, by location.
        model_bytes: Size of all these.
        strategy: How the cuts were found: "paper", "optimal", "whole", "operators", ...
        limit_bytes: What the cuts were found for; None where nothing was.
        inputs: What the caller gives, in order.
        outputs: What the caller gets, in order.
        links: In the order of running.
        options: What else the cuts depend on, for who asks whether they are up to date.
    """

    folder: str
    model: str
    model_sha256: str
    model_data: Mapping[str, str]
    model_bytes: int
    strategy: str
    limit_bytes: int | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    links: tuple[Link, ...]
    options: Mapping[str, Any]

    @property
    def cuts(self) -> tuple[int, ...]:
        """First operator of each link but the first."""
        return tuple(link.start for link in self.links[1:])

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of every file, by name."""
        return {name: sha for link in self.links for name, sha in link.files.items()}

    def path(self, link: Link) -> str:
        """Return where a link's file is."""
        return os.path.join(self.folder, link.file)


def encode_index(chain: Chain) -> bytes:
    """Return the content of `index.json`."""
    partitions = []
    for link in chain.links:
        entry: dict[str, Any] = {
            "file": link.file,
            "operators": [link.start, link.stop],
            "inputs": link.inputs,
            "outputs": link.outputs,
            "sha256": link.sha256,
        }
        if link.data:
            entry["data"] = {"file": link.data[0], "sha256": link.data[1]}
        partitions.append(entry)
    facts = asdict(chain)
    del facts["folder"], facts["links"]
    return json.dumps({"schema": SCHEMA, **facts, "partitions": partitions}, indent=1).encode()


def read_index(folder: str) -> Chain | None:
    """Return what the folder's index says, unchecked against its files; None without one.

    Raises:
        ModelError: There is one, and it is none of ours.
    """
    path = os.path.join(folder, INDEX)
    if not os.path.lexists(path):
        return None
    try:
        facts = json.loads(read_file(path, limit_bytes=_INDEX_LIMIT_BYTES))
        if facts.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        links = tuple(_link(entry) for entry in facts.pop("partitions"))
        chain = Chain(
            folder=folder,
            links=links,
            inputs=tuple(map(str, facts.pop("inputs"))),
            outputs=tuple(map(str, facts.pop("outputs"))),
            **facts,
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(
            f"{path!r} is no index of partitions, or is damaged",
            where=path,
            hint="Make the partitions again in another folder; nothing was changed.",
        ) from error
    _check_names(path, chain)
    return chain


def load_chain(
    folder: str | os.PathLike[str], *, model_path: str | os.PathLike[str] | None = None
) -> Chain:
    """Return the chain in a folder, every file checked.

    Args:
        folder: With an `index.json`.
        model_path: The model that it must be of.

    Raises:
        UsageError: There is no such folder, it holds no partitions, or another model's.
        ModelError: A file is missing or damaged.
    """
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        raise UsageError(f"there is no folder {folder!r}", hint="`inferonnx partition` makes it.")
    chain = read_index(folder)
    if chain is None:
        has = "is empty" if not os.listdir(folder) else f"has no {INDEX}, so it is not whole"
        raise UsageError(f"{folder!r} {has}", hint="`inferonnx partition` fills it, or goes on.")
    if model_path is not None:
        check_model(chain, os.fspath(model_path))
    for name, sha256 in chain.files.items():
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            raise ModelError(
                f"{path!r} is missing", where=path, hint=f"Remove {folder}/{INDEX} and cut again."
            )
        if file_sha256(path) != sha256:
            raise ModelError(
                f"{path!r} is damaged: it is not the file that {INDEX} lists",
                where=path,
                hint="Move it away and cut again.",
            )
    return chain


def check_model(chain: Chain, model_path: str) -> None:
    """Refuse a model that the chain is not of.

    Raises:
        UsageError: It is another one, or can't be read.
    """
    same = file_sha256(model_path) == chain.model_sha256 and all(
        file_sha256(beside(model_path, place)) == sha256
        for place, sha256 in chain.model_data.items()
    )
    if not same:
        raise UsageError(
            f"the partitions in {chain.folder!r} are of another model than {model_path!r}",
            where=chain.folder,
            hint=f"They were cut from a {chain.model!r} whose SHA-256 begins "
            f"{chain.model_sha256[:12]}; cut this one into another folder.",
        )


def _link(entry: Any) -> Link:
    start, stop = entry["operators"]
    data = entry.get("data")
    return Link(
        file=entry["file"],
        start=int(start),
        stop=int(stop),
        inputs=tuple(map(str, entry["inputs"])),
        outputs=tuple(map(str, entry["outputs"])),
        sha256=entry["sha256"],
        data=(data["file"], data["sha256"]) if data else None,
    )


def _check_names(path: str, chain: Chain) -> None:
    """Refuse names that would lead out of the folder, and values that nothing gives."""
    for name in chain.files:
        if not isinstance(name, str) or os.path.basename(name) != name or name in ("", ".", ".."):
            raise ModelError(f"{path!r} names {name!r}, which is no file in its folder", where=path)
    known = set(chain.inputs)
    for link in chain.links:
        missing = [name for name in link.inputs if name not in known]
        if missing:
            raise ModelError(
                f"{path!r}: {link.file!r} reads {missing[0]!r}, which nothing before it gives",
                where=path,
            )
        known.update(link.outputs)
    missing = [name for name in chain.outputs if name not in known]
    if missing:
        raise ModelError(f"{path!r}: nothing gives the output {missing[0]!r}", where=path)
