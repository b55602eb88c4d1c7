"""What the Open Inference Protocol is answered with, in whichever way it is asked.

REST (`server.endpoints_oip`) and gRPC (`server.grpc`) read requests and write replies;
what is done and said between is here, once.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.errors import ModelNotReadyError
from inferonnx.oip import (
    UnsupportedError,
    check_request,
    classes_cost,
    make_response,
    parse_model_version,
)
from inferonnx.oip import messages as documents
from inferonnx.server.bodies import grow
from inferonnx.server.models import READY
from inferonnx.server.threads import in_thread
from inferonnx.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from inferonnx.oip import InferRequest, InferResponse, ModelSignature
    from inferonnx.oip.messages import Document
    from inferonnx.server.context import Context
    from inferonnx.server.models import ModelView
    from inferonnx.server.ports import Reservation
    from inferonnx.tensors import Tensor

REPLY_BYTES = 64 * KIB
"""Reserved with each request for its reply; what is beyond is reserved when it is there."""

SLOW_BYTES = 128 * KIB
"""JSON beyond this is parsed, and JSON and strings are written, in a thread: sixteen million
numbers, 2.7 s to write, would hold up all other connections so long; so much takes a
millisecond or two."""

SLOW_VALUES = 4096
"""More than so many are classified in a thread; so many take a millisecond or two."""

NAME = "inferonnx"


class Target(NamedTuple):
    """A version of a model that is ready, and what it takes and gives."""

    view: ModelView
    signature: ModelSignature


class Inferred(NamedTuple):
    """An answer.

    Attributes:
        response: All but its form.
        class_bytes: What its classes hold of the reservation.
        engine_s: How long the engine took.
    """

    response: InferResponse
    class_bytes: int
    engine_s: float


class Answers:
    """Answers for one server; a version is its digits, empty for the newest that is ready."""

    def __init__(self, context: Context) -> None:
        """Answer from what is in `context`."""
        self._context = context

    def server_metadata(self) -> Document:
        """Return name, version and extensions."""
        return documents.server_metadata(NAME, self._context.version)

    @property
    def is_ready(self) -> bool:
        """Whether all models that could be ready are, and the server is not about to end."""
        broken = any(view.reason and view.state == READY for view in self._context.models.views())
        return not (broken or self._context.is_draining)

    def find(self, name: str, version: str) -> ModelView:
        """Return a version of a model.

        Raises:
            InvalidRequestError: `version` is no number.
            NotFoundError: There is none.
        """
        return self._context.models.find(name, parse_model_version(version))

    def target(self, name: str, version: str) -> Target:
        """Return a version of a model that is ready.

        Raises:
            InvalidRequestError, NotFoundError: As `find`.
            ModelNotReadyError, UnsupportedError: It is not ready, or never can be.
        """
        view = self.find(name, version)
        return Target(view, self._context.models.signature(view))

    def model_metadata(self, name: str, version: str) -> Document:
        """Return what a model takes and gives; with the errors of `target`."""
        target = self.target(name, version)
        versions = self._context.models.ready_versions(name)
        if version:
            versions = [target.view.stored.version]
        return documents.model_metadata(name, map(str, versions), target.signature)

    def model_config(self, name: str, version: str) -> Document:
        """Return how a model is served, in Triton's terms; with the errors of `target`."""
        return documents.model_config(name, self.target(name, version).signature)

    def statistics(self, name: str = "", version: str = "") -> Document:
        """Return what one version, one model or all have done; with the errors of `find`."""
        from inferonnx.oip.statistics import model_statistics
        from inferonnx.server.reporting import statistics_of

        views = self._context.models.views()
        if name:
            found = self.find(name, version)
            views = [found] if version else [v for v in views if v.stored.name == name]
        return model_statistics(map(statistics_of, views))

    def index(self, *, ready: bool) -> list[Document]:
        """Return what is in the repository, or what of it is ready."""
        from inferonnx.oip import repository

        entries = [
            repository.IndexEntry(
                name=view.stored.name,
                version=str(view.stored.version),
                state=repository.READY if view.state == READY else repository.UNAVAILABLE,
                reason=view.reason,
            )
            for view in self._context.models.views()
        ]
        return repository.repository_index(entries, ready=ready)

    async def load(self, name: str) -> None:
        """Open a model that is unlocked.

        Raises:
            ModelNotReadyError: It is not, or can't be opened.
            UnsupportedError: It never can be served.
        """
        view = self.find(name, "")
        if view.state != READY:
            self._context.models.check_can_be_served(view)
            raise ModelNotReadyError(f"failed to load '{name}': {view.reason}", hint=view.way_out)
        await self._context.models.open(name, view.stored.version)

    async def unload(self, name: str) -> None:
        """Lock all versions of a model: their keys are wiped."""
        self.find(name, "")
        models = self._context.models
        await models.lock(name, models.ready_versions(name))

    def unchanged(self, settings: Document, wanted: dict[str, Any]) -> Document:
        """Return settings, refusing to change any."""
        from inferonnx.oip.settings import check_settings

        check_settings(wanted, settings)
        return settings

    async def infer(
        self,
        target: Target,
        request: InferRequest,
        reservation: Reservation,
        *,
        is_json: bool = True,
    ) -> Inferred:
        """Compute an answer; cancelled, it is not computed any more.

        Args:
            target: Who computes.
            request: Well formed.
            reservation: Of the request; it grows by what its classes take.
            is_json: As `oip.check_request` has it.

        Raises:
            OipError: The model does not take the request.
            InferonnxError: It has no place, no time, or fails.
            HttpError: 413, 503: there is no memory for classes.
        """
        inputs = check_request(request, target.signature, is_json=is_json)
        timeout_s = request.timeout_us / 1e6 or self._context.config.request_timeout_s
        answer = await target.view.queue.infer(inputs, timeout_s=timeout_s)
        engine_s = answer.timing.infer_ns / 1e9
        return await _answered(target, request, answer.outputs, reservation, engine_s)


async def _answered(
    target: Target,
    request: InferRequest,
    outputs: Sequence[Tensor],
    reservation: Reservation,
    engine_s: float,
) -> Inferred:
    """Return the answer that outputs are; what takes long is made in a thread, and counted."""
    version = str(target.view.stored.version)
    make = partial(make_response, request, target.signature, outputs, model_version=version)
    cost = classes_cost(request, target.signature, outputs)
    if cost.n_values <= SLOW_VALUES:
        return Inferred(make(), 0, engine_s)
    grow(reservation, cost.n_bytes)
    return Inferred(await in_thread(None, make), cost.n_bytes, engine_s)


def shared_memory_refused() -> UnsupportedError:
    """Return the error: memory that the host shares is no place for an enclave's data."""
    return UnsupportedError("shared memory is not supported: the host could read it")
