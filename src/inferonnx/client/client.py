"""What callers hold: `Client`, which blocks; its twin for asyncio is `AsyncClient`.

Neither decides anything: operations say what is asked, a transport asks it.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, TypeVar

from inferonnx.client import manage, operations
from inferonnx.client.address import parse_url
from inferonnx.client.attestation import choose_policy
from inferonnx.client.blocking import BlockingTransport
from inferonnx.client.connections import Target
from inferonnx.client.tls import TlsSettings, make_context
from inferonnx.client.tokens import check_token
from inferonnx.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from inferonnx.client.address import ServerAddress
    from inferonnx.client.attestation import AttestationPolicy
    from inferonnx.client.manage import ServedModel
    from inferonnx.client.messages import Steps
    from inferonnx.oip import InferRequest
    from inferonnx.tensors import Tensor

    Path = str | os.PathLike[str]

T = TypeVar("T")

TIMEOUT_S = 60.0
"""For a whole operation, retries included, where the caller says nothing."""


def make_target(
    url: str,
    *,
    ca: Path | None = None,
    token: str | None = None,
    policy: AttestationPolicy | None = None,
    insecure_no_attestation: bool = False,
    certificate: Path | None = None,
    key: Path | None = None,
    tls_min: str = "1.3",
) -> Target:
    """Return whom a client speaks to, and on which conditions; arguments as of `Client`.

    Raises:
        UsageError, CertificateError: An argument makes no sense.
    """
    if tls_min not in ("1.2", "1.3"):
        raise UsageError(f"{tls_min!r:.40} is no version of TLS", hint="1.3, or 1.2.")
    settings = TlsSettings(
        ca="" if ca is None else os.fspath(ca),
        certificate="" if certificate is None else os.fspath(certificate),
        key="" if key is None else os.fspath(key),
        is_1_2_allowed=tls_min == "1.2",
    )
    return Target(
        address=parse_url(url),
        context=make_context(settings),
        policy=choose_policy(policy, insecure_no_attestation=insecure_no_attestation),
        token=None if token is None else check_token(token),
    )


class Base:
    """What both have: whom they speak to, and what tensors become."""

    def __init__(self, target: Target, timeout_s: float | None) -> None:
        self._target = target
        self._timeout_s = timeout_s

    @property
    def address(self) -> ServerAddress:
        """Where the server is."""
        return self._target.address

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.address)!r})"

    def _limit_s(self, timeout: float | None) -> float | None:
        """Return the seconds of an operation, None for no end."""
        limit_s = self._timeout_s if timeout is None else timeout
        return None if limit_s is None or math.isinf(limit_s) else limit_s

    def _infer_steps(
        self,
        model: str,
        inputs: Mapping[str, Any],
        version: str | int,
        outputs: Sequence[str] | None,
        timeout: float | None,
    ) -> Steps[dict[str, Any]]:
        """Return the operation, its arguments checked."""
        request = operations.make_infer_request(
            model, inputs, version=version, outputs=outputs, timeout_s=self._limit_s(timeout)
        )
        return self._inferred(request)

    def _inferred(self, request: InferRequest) -> Steps[dict[str, Any]]:
        response = yield from operations.infer(request)
        return {named.name: self._present(named.tensor) for named in response.outputs}

    def _present(self, tensor: Tensor) -> Any:
        """Return a tensor as callers get it."""
        return tensor


class Client(Base):
    """Asks one server; for any number of threads. Use it in `with`, or close it.

    Every connection is TLS; its certificate and name are always checked, then the
    policy, and only then is anything sent. Connections are kept and used again. What
    is asked is sent a second time only where an idle connection turns out to be closed
    before a byte of an answer came, and only if asking twice does no harm.
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
        """Prepare; nothing is connected yet.

        Args:
            url: `https://HOST[:PORT]`.
            ca: File with the certificates that are trusted, a server's own among them.
                Default: the CAs of the system.
            token: What the server's operator gave out for this caller.
            policy: Decides about each new connection's server. Default: refuses all,
                since no attestation can be verified yet.
            insecure_no_attestation: Take every server that TLS takes.
            certificate: Our own, for servers that ask for one.
            key: Its private key, where it is in a file of its own.
            tls_min: "1.2" speaks TLS 1.2 with servers that have no 1.3.
            timeout: Seconds for each operation, all of it; None, or infinity, for no end.

        Raises:
            UsageError, CertificateError: An argument makes no sense.
        """
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
        self._transport = BlockingTransport(target)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections; those that are in use, after that."""
        self._transport.close()

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | int = "",
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Return a model's outputs by name.

        Args:
            model: Its name.
            inputs: Arrays by name: numpy's, or anything with a buffer or DLPack, or lists
                of strings. Sent from where they lie.
            version: Which one; the newest by default.
            outputs: Names of those that are wanted; all by default.
            timeout: Seconds, instead of the client's. The server is told, and does not
                begin what is too late.

        Raises:
            InferonnxError: The server's answer if it is one, or why there is none.
        """
        return self.perform(self._infer_steps(model, inputs, version, outputs, timeout), timeout)

    def live(self) -> bool:
        """Return whether the server says that it is alive."""
        return self.perform(operations.is_live())

    def ready(self, model: str = "", version: str | int = "") -> bool:
        """Return whether a model is ready to answer; without one, whether the server is."""
        return self.perform(operations.is_ready(model, version))

    def metadata(self, model: str = "", version: str | int = "") -> dict[str, Any]:
        """Return what a model takes and gives; without one, what the server is."""
        return self.perform(operations.metadata(model, version))

    def config(self, model: str, version: str | int = "") -> dict[str, Any]:
        """Return a model's configuration in Triton's words."""
        return self.perform(operations.model_config(model, version))

    def statistics(self, model: str = "", version: str | int = "") -> list[dict[str, Any]]:
        """Return counts and times of a model's versions; without one, of all models."""
        return self.perform(operations.model_statistics(model, version))

    def index(self, *, ready: bool = False) -> list[dict[str, Any]]:
        """Return the index of the repository; of what is ready alone if `ready`."""
        return self.perform(operations.index(ready=ready))

    def models(self) -> list[ServedModel]:
        """Return all versions of all models, as a server of InferONNX describes them."""
        return self.perform(manage.list_models())

    def status(self) -> dict[str, Any]:
        """Return what a server of InferONNX is doing: `inferonnx.status/1` of docs/protocol.md."""
        return self.perform(manage.status())

    def load(self, model: str) -> None:
        """Open a model that is ready, rather than with its first request."""
        self.perform(operations.load(model))

    def unload(self, model: str) -> None:
        """Close a model; its key is forgotten, and it is locked again."""
        self.perform(operations.unload(model))

    def csr(self) -> bytes:
        """Return a certificate signing request for the server's live key, in PEM."""
        return self.perform(manage.csr())

    def install_certificate(self, chain_pem: bytes) -> None:
        """Give the server a CA's certificate for its live key, and what signed it, in PEM."""
        self.perform(manage.install_certificate(chain_pem))

    def perform(self, steps: Steps[T], timeout: float | None = None) -> T:
        """Run an operation and return its result.

        Args:
            steps: What is asked; this room's operations make them.
            timeout: Seconds for all of it, instead of the client's.
        """
        return self._transport.run(steps, timeout_s=self._limit_s(timeout))
