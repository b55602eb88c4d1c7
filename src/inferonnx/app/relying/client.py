"""`inferonnx.Client` and `inferonnx.AsyncClient`: arrays in and out, key files for owners."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from inferonnx.app.relying import operations
from inferonnx.client import async_client, client

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from inferonnx.app.host.keys import Key
    from inferonnx.client.manage import ServedModel
    from inferonnx.client.push import UploadBook
    from inferonnx.tensors import Tensor

    Path = str | os.PathLike[str]
    Progress = Callable[[int, int], None]

UNTIL_DONE = math.inf
"""A push ends when it is done, or makes no progress; its size decides how long that is."""


def present(tensor: Tensor) -> Any:
    """Return a tensor as a numpy array where numpy is installed."""
    if find_spec("numpy") is None:
        return tensor
    from inferonnx.app.host.arrays import to_numpy

    return to_numpy(tensor)


class Client(client.Client):
    """Asks one server; for any number of threads. Use it in `with`, or close it.

        with inferonnx.Client("https://models:8443", ca="server.pem", token=token) as client:
            outputs = client.infer("resnet", {"data": x})

    Every connection is TLS; its certificate and name are always checked, then the
    policy, and only then is anything sent. The default policy refuses: no attestation can
    be verified yet. Connections are kept and used again.
    """

    def _present(self, tensor: Tensor) -> Any:
        return present(tensor)

    def push(
        self,
        sealed: Path,
        *,
        key: Key,
        name: str | None = None,
        version: int | None = None,
        progress: Progress | None = None,
        checking: Progress | None = None,
        book: UploadBook | None = None,
    ) -> tuple[str, int]:
        """Send a sealed file, whole or in the parts that the server has not; then it is locked.

        Args:
            sealed: The file.
            key: Its owner's; signs the request, and nothing of it leaves.
            name: To be served by; default: the file's, without `.sealed`. It must be the
                name that the file was sealed with.
            version: Which one; default: its release, else the next.
            progress: Is told how many bytes the server has, of how many.
            checking: Is told the same of the check of the file before.
            book: Keeps the upload for the next process, should this one end.

        Returns:
            Name and version there; version 0 where the server does not say.

        Raises:
            InferonnxError: The file is not this owner's, or damaged; or what the server
                has against it.
            UnavailableError: The server can't be reached, for a minute.
        """
        steps = operations.push(
            sealed,
            key=key,
            name=name,
            version=version,
            url=str(self.address),
            book=book,
            checking=checking,
            progress=progress,
        )
        return self.perform(steps, UNTIL_DONE)

    def unlock(
        self, name: str, sealed: Path, *, key: Key, version: int | None = None
    ) -> ServedModel:
        """Hand the data key of one model over, unwrapped here; the model is ready then.

        Args:
            name: What the server calls it.
            sealed: The owner's own copy of the file.
            key: The owner's; nothing of it leaves.
            version: Which one; default: its release, else the newest that is this model.
        """
        return self.perform(operations.unlock(name, sealed, key=key, version=version))

    def delete(self, name: str, version: int, *, key: Key, sealed: Path | None = None) -> None:
        """Delete a version of a model.

        Args:
            name: What the server calls it.
            version: Which one.
            key: The owner's; signs the request.
            sealed: The owner's copy of the file, for owners who may not list models.
        """
        self.perform(operations.delete(name, version, key=key, sealed=sealed))


class AsyncClient(async_client.AsyncClient):
    """As `Client`, for asyncio; for one event loop. Use it in `async with`, or close it.

    A task that is cancelled ends the connection it was using.
    """

    def _present(self, tensor: Tensor) -> Any:
        return present(tensor)

    async def push(
        self,
        sealed: Path,
        *,
        key: Key,
        name: str | None = None,
        version: int | None = None,
        progress: Progress | None = None,
        checking: Progress | None = None,
        book: UploadBook | None = None,
    ) -> tuple[str, int]:
        """As `Client.push`; files are read, and progress is told, in other threads."""
        steps = operations.push(
            sealed,
            key=key,
            name=name,
            version=version,
            url=str(self.address),
            book=book,
            checking=checking,
            progress=progress,
        )
        return await self.perform(steps, UNTIL_DONE, is_slow=True)

    async def unlock(
        self, name: str, sealed: Path, *, key: Key, version: int | None = None
    ) -> ServedModel:
        """As `Client.unlock`."""
        steps = operations.unlock(name, sealed, key=key, version=version)
        return await self.perform(steps, is_slow=True)

    async def delete(
        self, name: str, version: int, *, key: Key, sealed: Path | None = None
    ) -> None:
        """As `Client.delete`."""
        steps = operations.delete(name, version, key=key, sealed=sealed)
        await self.perform(steps, is_slow=True)
