"""What an owner asks of a server, with key files and sealed files; step by step."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from inferonnx.app.relying.owned import OwnedFile
from inferonnx.client import manage
from inferonnx.client.push import Push
from inferonnx.client.push import push as pushed
from inferonnx.control import NEXT_VERSION
from inferonnx.errors import OwnerRefusedError
from inferonnx.oip import PermissionDeniedError, UnauthenticatedError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from inferonnx.app.host.keys import Key
    from inferonnx.client.manage import ServedModel
    from inferonnx.client.messages import Steps
    from inferonnx.client.push import UploadBook


def push(
    sealed: str | os.PathLike[str],
    *,
    key: Key,
    name: str | None,
    version: int | None,
    url: str,
    book: UploadBook | None = None,
    checking: Callable[[int, int], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Steps[tuple[str, int]]:
    """Send a sealed file; return its name and version there, 0 where that is not told.

    Args:
        sealed: The file.
        key: Its owner's.
        name: To be served by; default: the file's, without its ending.
        version: Which one; default: its release, else the next.
        url: Of the server, for the book.
        book: Keeps the upload for the next process.
        checking: Is told how much of the file was checked before it is sent.
        progress: Is told how much of it the server has.
    """
    with OwnedFile(sealed, key) as owned:
        name = owned.served_name(name)
        what = Push(
            source=owned.source,
            sha256=owned.checked_sha256(checking),
            model_id=owned.model_id,
            name=name,
            version=owned.served_version(version) or NEXT_VERSION,
            key=key.owner,
            url=url,
            book=book,
            progress=progress,
        )
        return name, (yield from pushed(what))


def unlock(
    name: str, sealed: str | os.PathLike[str], *, key: Key, version: int | None
) -> Steps[ServedModel]:
    """Hand the data key of one model over, unwrapped here; return what the server says then.

    Args:
        name: What the server calls it.
        sealed: The owner's copy of the file. Not the server's: a server that chose the
            file could ask for the key of another model of this owner.
        key: The owner's; nothing of it leaves.
        version: Which one; default: its release, else the newest that is this model.
    """
    with OwnedFile(sealed, key) as owned:
        owned.served_name(name)
        number = owned.served_version(version)
        if number is None:
            hint = "With --version an owner needs no token."
            number = (yield from _found(name, model_id=owned.model_id, way_out=hint)).version
        return (
            yield from manage.unlock(
                name, number, model_id=owned.model_id, data_key=owned.data_key, key=key.owner
            )
        )


def delete(
    name: str, version: int, *, key: Key, sealed: str | os.PathLike[str] | None
) -> Steps[None]:
    """Delete a version.

    Args:
        name: What the server calls it.
        version: Which one.
        key: The owner's.
        sealed: The owner's copy of the file; without it the server says which model it
            has, which takes the right to list them.
    """
    with ExitStack() as stack:
        if sealed is not None:
            model_id = stack.enter_context(OwnedFile(sealed, key)).model_id
        else:
            hint = "With --model an owner needs no token."
            found = yield from _found(name, version, way_out=hint)
            model_id = _id_of(found, key)
        yield from manage.delete(name, version, model_id=model_id, key=key.owner)


def _found(
    name: str, version: int | None = None, *, model_id: bytes | None = None, way_out: str
) -> Steps[ServedModel]:
    """Look a model up as `manage.find_model` does; who may not is told the way out."""
    try:
        return (yield from manage.find_model(name, version, model_id=model_id))
    except (UnauthenticatedError, PermissionDeniedError) as error:
        error.hint = way_out
        raise


def _id_of(found: ServedModel, key: Key) -> bytes:
    if found.owner != key.public_key:
        raise OwnerRefusedError(
            f"{found.name!r:.200} version {found.version} belongs to another owner",
            hint="Is it the right key?",
        )
    try:
        return bytes.fromhex(found.model_id)
    except ValueError as error:
        raise OwnerRefusedError("the server does not say which model it has") from error
