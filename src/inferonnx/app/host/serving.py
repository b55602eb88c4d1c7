"""The server's models are sessions of the engine: what `server.ports` asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.app.host.keys import DataKey
from inferonnx.app.host.needs import parallel_bytes, sharing_bytes
from inferonnx.app.host.opening import open as open_session
from inferonnx.app.host.opening import open_file
from inferonnx.errors import ModelNotReadyError, TensorError
from inferonnx.runtime import process
from inferonnx.server.ports import ModelFacts, Residency
from inferonnx.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inferonnx.app.host.session import Session
    from inferonnx.crypto import Secret
    from inferonnx.sealed import Manifest, ValueInfo


class EngineOpener:
    """Opens sealed files for the server's pool."""

    def __init__(
        self,
        *,
        concurrency: int,
        threads: int | None = None,
        page_drop: bool = True,
        spin: bool | None = None,
    ) -> None:
        """Keep what all models are opened with; as the arguments of `inferonnx.open`."""
        self._concurrency = concurrency
        self._threads, self._page_drop, self._spin = threads, page_drop, spin
        self._counted_floor: dict[str, int] = {}  # by path: for systems that measure nothing

    def facts(self, path: str, data_key: Secret) -> ModelFacts:
        """Open the manifest and read what serving needs."""
        opened = open_file(path, key=DataKey(data_key))
        opened.source.close()
        manifest = opened.manifest
        _check_servable(manifest)
        memory = manifest.memory
        self._counted_floor[path] = max(0, memory.floor_bytes - memory.session_bytes)
        blocks = [partition.block_bytes for partition in manifest.partitions]
        sharing = sharing_bytes(manifest, self._concurrency)
        least = max(
            memory.least_bytes - memory.floor_bytes + sharing - sharing_bytes(manifest, 1),
            memory.session_bytes + sharing + max(blocks, default=0),
        )
        return ModelFacts(
            name=manifest.name,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            least_bytes=least,
            full_bytes=memory.session_bytes
            + max(sharing, parallel_bytes(manifest, self._concurrency))
            + sum(blocks),
            is_batchable=_is_batchable(manifest),
        )

    def open(
        self, path: str, data_key: Secret, *, share_bytes: int, concurrency: int
    ) -> ServedModel:
        """Open a model in what the process holds now and `share_bytes` more."""
        held = process.resident_bytes()
        if held is None:
            held = self._counted_floor.get(path, 0)
        return ServedModel(
            open_session(
                path,
                key=DataKey(data_key),
                memory=held + share_bytes,
                concurrency=concurrency,
                threads=self._threads,
                as_numpy=False,
                page_drop=self._page_drop,
                spin=self._spin,
            )
        )


class ServedModel:
    """An open session that takes and gives tensors."""

    def __init__(self, session: Session) -> None:
        """Wrap an open session."""
        self._session = session

    @property
    def residency(self) -> Residency:
        """What stays in memory, and what a pass reads."""
        figures = self._session.figures
        return Residency(
            figures.n_partitions,
            figures.n_resident,
            figures.resident_bytes,
            figures.streamed_bytes,
        )

    def run(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Return all outputs in declared order."""
        outputs = [value for value in self._session.run(None, inputs) if isinstance(value, Tensor)]
        if len(outputs) != len(self._session.get_outputs()):
            raise TensorError("the model left an optional output out, which can't be served")
        return outputs

    def fits(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Tell whether inputs of these shapes keep to the share."""
        return self._session.fits(shapes)

    def close(self) -> None:
        """Wipe and release."""
        self._session.close()


def _check_servable(manifest: Manifest) -> None:
    """Refuse what the protocol can't say: sequences, maps, optional values."""
    for value in (*manifest.inputs, *manifest.outputs):
        if not value.type.startswith("tensor("):
            raise ModelNotReadyError(
                "the model has an input or output that is no tensor, and can't be served",
                hint="Run it with `inferonnx run`, or export it with tensors alone.",
            )


def _is_batchable(manifest: Manifest) -> bool:
    def is_free(value: ValueInfo) -> bool:
        return bool(value.shape and not isinstance(value.shape[0], int))

    return bool(manifest.inputs) and all(map(is_free, (*manifest.inputs, *manifest.outputs)))
