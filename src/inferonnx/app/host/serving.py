"""The server's models are sessions of the engine: what `server.ports` asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.app.host.keys import DataKey
from inferonnx.app.host.opening import open_beside, open_file
from inferonnx.errors import ModelNotReadyError, TensorError
from inferonnx.server.ports import ModelFacts, Residency
from inferonnx.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inferonnx.app.host.session import Session
    from inferonnx.crypto import Secret
    from inferonnx.sealed import Manifest


class EngineOpener:
    """Opens sealed files for the server's pool."""

    def __init__(
        self, *, threads: int | None = None, page_drop: bool = True, spin: bool | None = None
    ) -> None:
        """Keep what all models are opened with; as the arguments of `inferonnx.open`."""
        self._threads, self._page_drop, self._spin = threads, page_drop, spin

    def facts(self, path: str, data_key: Secret, *, concurrency: int, n_rows: int) -> ModelFacts:
        """Open the manifest and read what serving needs."""
        opened = open_file(path, key=DataKey(data_key))
        opened.source.close()
        manifest = opened.manifest
        _check_servable(manifest)
        memory = manifest.memory
        blocks = [partition.block_bytes for partition in manifest.partitions]
        passes = manifest.arena.peak_bytes + (concurrency - 1) * memory.call_bytes
        held = memory.session_bytes + passes
        # What is above its floor, of which sessions are a part: opening itself may need most.
        opening = memory.least_bytes - memory.floor_bytes + memory.session_bytes
        least = max(held + max(blocks, default=0), opening)
        batch = passes * (_batch_growth(manifest, n_rows) - 1)
        return ModelFacts(
            name=manifest.name,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            least_bytes=least,
            full_bytes=max(held + sum(blocks) + int(batch), least),
            pass_bytes=passes,
            is_batchable=manifest.rows_independent,
        )

    def open(
        self, path: str, data_key: Secret, *, share_bytes: int, concurrency: int
    ) -> ServedModel:
        """Open a model in `share_bytes`, whatever else the process holds."""
        session = open_beside(
            path,
            key=DataKey(data_key),
            share_bytes=share_bytes,
            concurrency=concurrency,
            threads=self._threads,
            page_drop=self._page_drop,
            spin=self._spin,
        )
        return ServedModel(session)


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
            # Larger inputs are refused, so that passes take no more than what is left.
            figures.budget_bytes
            - figures.floor_bytes
            - figures.resident_bytes
            - figures.buffer_bytes,
        )

    @property
    def opened_bytes(self) -> int:
        """Bytes of weights that its passes have read and opened until now."""
        return self._session.opened_bytes

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


def _batch_growth(manifest: Manifest, n_rows: int) -> float:
    """Return how many times the planned rows `n_rows` are, where callers may choose; at least 1."""
    planned = [
        manifest.planned_shapes[value.name][0]
        for value in manifest.inputs
        if value.shape and not isinstance(value.shape[0], int)
        if manifest.planned_shapes.get(value.name)
    ]
    return max(1.0, n_rows / max(1, min(planned))) if planned else 1.0
