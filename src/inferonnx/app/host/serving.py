"""The server's models are sessions of the engine: what `server.ports` asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inferonnx.app.host.keys import DataKey
from inferonnx.app.host.needs import (
    GROWTH_MARGIN_BYTES,
    growing_bytes,
    parallel_bytes,
    sharing_bytes,
    sharing_calls,
)
from inferonnx.app.host.opened_file import open_file
from inferonnx.app.host.opening import keep_pages, open_beside
from inferonnx.errors import EngineError, InfeasibleBudgetError, TensorError
from inferonnx.oip import BusyError, TooLargeError, make_signature
from inferonnx.runtime import process
from inferonnx.runtime.ort import Environment
from inferonnx.sealed import ModelPin
from inferonnx.server.ports import ModelFacts, Residency
from inferonnx.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inferonnx.app.host.session import Session
    from inferonnx.app.host.target import Later
    from inferonnx.crypto import Secret
    from inferonnx.engine import PassEvent
    from inferonnx.runtime.stop import Stop
    from inferonnx.sealed import Manifest


_NO_MEMORY = "is smaller than requested bytes"
"""What onnxruntime says at the arena's limit: its error code is the one of all failures."""


class EngineOpener:
    """Opens sealed files for the server's pool.

    Attributes:
        arena_limit_bytes: Most that passes of all models may hold together, whatever the
            numbers in their inputs ask for; 0 is no limit. Holds from the first model on.
        later: Calls a function after so many seconds, while a thread opens: a probe that
            would never end is ended by it.
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        page_drop: bool = True,
        spin: bool | None = None,
        resident: bool = True,
        on_event: Callable[[PassEvent], None] | None = None,
    ) -> None:
        """Keep what all models are opened with, as the arguments of `inferonnx.open`.

        `on_event` is told what their passes do, as `Session.trace` says.
        """
        self._threads, self._page_drop, self._spin = threads, page_drop, spin
        self._resident, self._on_event = resident, on_event
        self.arena_limit_bytes = 0
        self.later: Later | None = None

    def facts(self, path: str, data_key: Secret, *, concurrency: int, n_rows: int) -> ModelFacts:
        """Open the manifest and read what serving needs."""
        opened = open_file(path, key=DataKey(data_key))
        opened.close()
        manifest = opened.manifest
        signature = make_signature(manifest.inputs, manifest.outputs)
        one = _needs(manifest, resident=self._resident)
        passes = sharing_bytes(manifest, concurrency)
        # Rows of a batch have room where calls that run at once would have it.
        at_once = 0 if manifest.rows_independent else parallel_bytes(manifest, concurrency)
        more = max(passes, at_once) - manifest.arena.peak_bytes
        grown = _batch_growth(manifest, n_rows)
        batch = growing_bytes(manifest, passes) * (grown - 1)
        batch += GROWTH_MARGIN_BYTES if grown > 1 else 0
        return ModelFacts(
            name=manifest.name,
            signature=signature,
            least_bytes=one.least_bytes,
            full_bytes=one.full_bytes + more + int(batch),
            pass_bytes=manifest.arena.peak_bytes,
            is_batchable=manifest.rows_independent,
            model_id=opened.verified.model_id,
        )

    def open(
        self,
        path: str,
        data_key: Secret,
        *,
        share_bytes: int,
        concurrency: int,
        model_id: bytes = b"",
    ) -> ServedModel:
        """Open a model in `share_bytes`, whatever else the process holds.

        The path belongs to the host, who may put another file there at any moment: with a
        `model_id` it is that model that is opened, or nothing.

        What the share has beyond the model's least is for calls that share a pass first,
        up to `concurrency`, and for resident weights then: a pass for eight calls costs
        little more than for one, while a few weights fewer to read save little.
        """
        pin = ModelPin(model_id=model_id) if model_id else None
        manifest = _manifest(path, data_key, pin)
        needs = _needs(manifest, resident=self._resident)
        spare = share_bytes - needs.least_bytes
        calls = sharing_calls(manifest, spare, concurrency)
        if self._resident and manifest.rows_independent and share_bytes >= needs.full_bytes:
            calls = 1  # nothing is read that calls could share; what is left is for batches
        try:
            session = self._open(path, data_key, pin, share_bytes, calls)
        except EngineError as error:
            if _NO_MEMORY not in error.private_text:
                raise
            raise BusyError(
                "passes of other models hold what this one's weights need", retry_after_s=1
            ) from error
        session.trace(self._on_event)
        return ServedModel(session)

    def _open(
        self, path: str, data_key: Secret, pin: ModelPin | None, share_bytes: int, calls: int
    ) -> Session:
        return open_beside(
            path,
            key=DataKey(data_key),
            pin=pin,
            share_bytes=share_bytes,
            concurrency=calls,
            threads=self._threads,
            page_drop=self._page_drop,
            spin=self._spin,
            resident=self._resident,
            arena_limit_bytes=self.arena_limit_bytes,
            later=self.later,
        )


class _Needs(NamedTuple):
    """Shares in which a model runs, one call at a time: streamed, and all that may stay."""

    least_bytes: int
    full_bytes: int


def _needs(manifest: Manifest, *, resident: bool) -> _Needs:
    memory = manifest.memory
    blocks = [partition.block_bytes for partition in manifest.partitions]
    held = memory.session_bytes + manifest.arena.peak_bytes
    # What is above its floor, of which sessions are a part: opening itself may need most.
    opening = memory.least_bytes - memory.floor_bytes + memory.session_bytes
    least = max(held + max(blocks, default=0), opening)
    return _Needs(least, max(held + sum(blocks), least) if resident else least)


def _manifest(path: str, data_key: Secret, pin: ModelPin | None) -> Manifest:
    opened = open_file(path, key=DataKey(data_key), pin=pin)
    opened.close()
    return opened.manifest


class ServedModel:
    """An open session that takes and gives tensors."""

    def __init__(self, session: Session) -> None:
        """Wrap an open session."""
        self._session = session
        session.limit_outputs(self.residency.pass_bytes)

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

    def run(self, inputs: Mapping[str, Tensor], stop: Stop | None = None) -> list[Tensor]:
        """Return all outputs in declared order.

        Raises:
            TooLargeError: Inputs of this size may need more than the model's share, or
                outputs do, now and whenever it is tried again.
            BusyError: The arena is at its limit, by this pass or by those beside it.
            InferonnxError: The model fails on them, or `stop` was set.
        """
        try:
            results = self._session.run(None, inputs, stop=stop)
        except InfeasibleBudgetError as error:
            self._session.trim()
            raise TooLargeError(error.message) from error
        except EngineError as error:
            if _NO_MEMORY not in error.private_text:
                raise
            self._session.trim()
            raise BusyError(
                "there is no memory for so large a pass now", retry_after_s=1
            ) from error
        outputs = [value for value in results if isinstance(value, Tensor)]
        if len(outputs) != len(self._session.get_outputs()):
            raise TensorError("the model left an optional output out, which can't be served")
        return outputs

    def fits(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Tell whether inputs of these shapes keep to the share."""
        return self._session.fits(shapes)

    def close(self) -> None:
        """Wipe and release."""
        self._session.close()


def _batch_growth(manifest: Manifest, n_rows: int) -> float:
    """Return how many times the planned rows `n_rows` are, where callers may choose; at least 1."""
    planned = [
        manifest.planned_shapes[value.name][0]
        for value in manifest.inputs
        if value.shape and not isinstance(value.shape[0], int)
        if manifest.planned_shapes.get(value.name)
    ]
    return max(1.0, n_rows / max(1, min(planned))) if planned else 1.0


def warm_up(*, page_drop: bool = True) -> None:
    """Load onnxruntime and let go of it again, so that its library is part of the floor.

    So is what it makes for the first session and keeps: its table of kernels, 1.3 MiB.
    """
    environment = Environment.acquire(n_threads=1, spin=False, arena_strategy=1, arena_bytes=0)
    drop = process.drop_clean_file_pages if page_drop else keep_pages
    drop()  # or the pages of both steps would be the peak of a small server
    environment.prepare_trim()
    del environment
    drop()
