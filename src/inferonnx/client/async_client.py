"""`AsyncClient`: what `Client` does, for asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from inferonnx.client import manage, operations
from inferonnx.client.client import TIMEOUT_S, Base, make_target
from inferonnx.client.nonblocking import NonblockingTransport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from inferonnx.client.attestation import AttestationPolicy
    from inferonnx.client.client import Path
    from inferonnx.client.manage import ServedModel
    from inferonnx.client.messages import Steps

T = TypeVar("T")


class AsyncClient(Base):
    """As `Client`, for asyncio; for one event loop. Use it in `async with`, or close it.

    A task that is cancelled ends the connection it was using.
    """

    def __init__(
        self,
        url: str,
        *,
        ca: Path | None = None,
        token: str | None = None,
        policy: AttestationPolicy | None = None,
        insecure_no_attestation: bool = False,
        certificate: Path | None = None,
        key: Path | None = None,
        tls_min: str = "1.3",
        timeout: float | None = TIMEOUT_S,
    ) -> None:
        """Prepare; nothing is connected yet. Arguments and errors are those of `Client`."""
        target = make_target(
            url,
            ca=ca,
            token=token,
            policy=policy,
            insecure_no_attestation=insecure_no_attestation,
            certificate=certificate,
            key=key,
            tls_min=tls_min,
        )
        super().__init__(target, timeout)
        self._transport = NonblockingTransport(target)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections; those that are in use, after that."""
        self._transport.close()
        await asyncio.sleep(0)  # the loop closes them now, while it is still there

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | int = "",
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """As `Client.infer`. The inputs must not change before it is done."""
        steps = self._infer_steps(model, inputs, version, outputs, timeout)
        return await self.perform(steps, timeout)

    async def live(self) -> bool:
        """As `Client.live`."""
        return await self.perform(operations.is_live())

    async def ready(self, model: str = "", version: str | int = "") -> bool:
        """As `Client.ready`."""
        return await self.perform(operations.is_ready(model, version))

    async def metadata(self, model: str = "", version: str | int = "") -> dict[str, Any]:
        """As `Client.metadata`."""
        return await self.perform(operations.metadata(model, version))

    async def config(self, model: str, version: str | int = "") -> dict[str, Any]:
        """As `Client.config`."""
        return await self.perform(operations.model_config(model, version))

    async def statistics(self, model: str = "", version: str | int = "") -> list[dict[str, Any]]:
        """As `Client.statistics`."""
        return await self.perform(operations.model_statistics(model, version))

    async def index(self, *, ready: bool = False) -> list[dict[str, Any]]:
        """As `Client.index`."""
        return await self.perform(operations.index(ready=ready))

    async def models(self) -> list[ServedModel]:
        """As `Client.models`."""
        return await self.perform(manage.list_models())

    async def status(self) -> dict[str, Any]:
        """As `Client.status`."""
        return await self.perform(manage.status())

    async def load(self, model: str) -> None:
        """As `Client.load`."""
        await self.perform(operations.load(model))

    async def unload(self, model: str) -> None:
        """As `Client.unload`."""
        await self.perform(operations.unload(model))

    async def csr(self) -> bytes:
        """As `Client.csr`."""
        return await self.perform(manage.csr())

    async def install_certificate(self, chain_pem: bytes) -> None:
        """As `Client.install_certificate`."""
        await self.perform(manage.install_certificate(chain_pem))

    async def perform(
        self,
        steps: Steps[T],
        timeout: float | None = None,
        *,
        is_slow: bool = False,
    ) -> T:
        """As `Client.perform`.

        Args:
            steps: What is asked.
            timeout: Seconds for all of it, instead of the client's.
            is_slow: It reads files or computes between its steps.
        """
        return await self._transport.run(steps, timeout_s=self._limit_s(timeout), is_slow=is_slow)
