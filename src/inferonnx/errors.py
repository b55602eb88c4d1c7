"""Every exception that InferONNX raises on purpose, and the table of exit codes.

One class where a caller would act differently, fields otherwise. Each class
carries a stable `code` ("sealed.auth") and the exit code of the command line.
Messages say what is wrong, where, and what to do; they never hold key material,
tensor values or, from the engine, names from inside a model.
"""

from __future__ import annotations

from enum import IntEnum

TYPE_CHECKING = False  # importing `typing` would cost the enclave a MiB
if TYPE_CHECKING:
    from typing import ClassVar, Self


class ExitCode(IntEnum):
    """Exit codes of every `inferonnx` command."""

    DONE = 0
    BUG = 1
    BAD_INPUT = 2
    NOT_AUTHENTIC = 3
    REFUSED = 4
    UNAVAILABLE = 5
    NO_PLAN = 6
    INTERRUPTED = 130


EXIT_MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.BUG: "a bug of ours",
    ExitCode.BAD_INPUT: "bad input",
    ExitCode.NOT_AUTHENTIC: "not authentic",
    ExitCode.REFUSED: "refused or different",
    ExitCode.UNAVAILABLE: "unavailable (disk full, no rights, something outside failed)",
    ExitCode.NO_PLAN: "no plan fits",
    ExitCode.INTERRUPTED: "interrupted",
}
"""What each code says to a script; the help text and docs/cli.md are drawn from it."""


class InferonnxError(Exception):
    """Base of all errors raised on purpose.

    Attributes:
        message: One sentence: what is wrong and where.
        where: Offset, segment, field or path that the error is about; may be empty.
        hint: What to do next, one sentence; may be empty.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[ExitCode] = ExitCode.BAD_INPUT
    usual_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        """Keep the sentence, the place and the hint apart, for callers that show them apart."""
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint or self.usual_hint

    def again(self) -> Self:
        """Return the same error to raise in one more place.

        Each raise of an exception adds frames to it, which hold what they worked on:
        two callers must not get one and the same.
        """
        other = type(self).__new__(type(self), *self.args)
        other.__dict__.update(self.__dict__)
        return other


class UsageError(InferonnxError):
    """An argument or option does not make sense."""

    code = "usage"


class ModelError(InferonnxError):
    """The ONNX model can't be read, is invalid, or uses what onnxruntime does not have."""

    code = "model"


class TensorError(InferonnxError):
    """An input has the wrong name, type, rank or size, or a tensor file can't be read."""

    code = "tensor"


class PlanError(InferonnxError):
    """A plan contradicts its graph."""

    code = "plan"


class InfeasibleBudgetError(PlanError):
    """No plan fits the memory budget.

    Attributes:
        needed_bytes: Least budget that works, in bytes.
        budget_bytes: Budget that was asked for, in bytes.
        node: Operator that needs the most; empty inside an enclave.
    """

    code = "plan.budget"
    exit_code = ExitCode.NO_PLAN

    def __init__(
        self, message: str, *, needed_bytes: int, budget_bytes: int, node: str = "", hint: str = ""
    ) -> None:
        """Keep the figures beside the sentence."""
        super().__init__(message, where=node, hint=hint)
        self.needed_bytes = needed_bytes
        self.budget_bytes = budget_bytes
        self.node = node


class SealedFormatError(InferonnxError):
    """The bytes are not a sealed file, or break a rule of its format."""

    code = "sealed.format"
    exit_code = ExitCode.NOT_AUTHENTIC


class SealedVersionError(SealedFormatError):
    """The sealed file has a format version or a suite that this release does not know."""

    code = "sealed.version"


class TargetError(InferonnxError):
    """The sealed file was made for another onnxruntime version or CPU layout."""

    code = "sealed.target"
    exit_code = ExitCode.REFUSED


class SignatureError(InferonnxError):
    """The owner's signature does not fit the file."""

    code = "sealed.signature"
    exit_code = ExitCode.NOT_AUTHENTIC


class KeyMismatchError(InferonnxError):
    """The key file is not the one that this model was sealed with."""

    code = "sealed.key"
    exit_code = ExitCode.NOT_AUTHENTIC


class AuthenticationError(InferonnxError):
    """A cryptographic check failed; the message never says which."""

    code = "sealed.auth"
    exit_code = ExitCode.NOT_AUTHENTIC

    MESSAGE: ClassVar[str] = "the sealed file is damaged or was tampered with"

    def __init__(self) -> None:
        """Give every cryptographic failure the same message."""
        super().__init__(self.MESSAGE, hint="Get the file again from its owner.")


class PinError(InferonnxError):
    """The model is authentic, but not the one that was pinned."""

    code = "sealed.pin"
    exit_code = ExitCode.REFUSED
    usual_hint = "Get the model that the pin names, or change the pin on its owner's word."


class KeyFileError(InferonnxError):
    """A key file can't be read, is malformed, or others can read it."""

    code = "key"


class CertificateError(InferonnxError):
    """A certificate or chain can't be read, or is not for the key that it should be for."""

    code = "certificate"
    usual_hint = "Give the certificate first, then what signed it, each in PEM."


class ServerIdentityError(InferonnxError):
    """A server can't show that it is the one that was asked for; nothing was sent to it."""

    code = "server.identity"
    exit_code = ExitCode.NOT_AUTHENTIC


class AttestationError(InferonnxError):
    """The server is the one that was asked for, but nothing proves what runs there."""

    code = "attestation"
    exit_code = ExitCode.REFUSED


class ConfigError(InferonnxError):
    """The server's configuration has an unknown key, a wrong value, or contradicts itself."""

    code = "config"
    usual_hint = "docs/serve-config.md lists every key."


class ModelNameError(InferonnxError):
    """A name or version is none that a served model can have."""

    code = "model.name"


class UnauthenticatedError(InferonnxError):
    """Nobody is known to be asking: no credentials, or none that hold."""

    code = "access.unauthenticated"
    exit_code = ExitCode.REFUSED


class ForbiddenError(InferonnxError):
    """Who asks is known and has not the role for it."""

    code = "access.forbidden"
    exit_code = ExitCode.REFUSED


class OwnerRequestError(InferonnxError):
    """What should be a request that an owner signed is not in the form of one."""

    code = "owner.request"


class OwnerRefusedError(InferonnxError):
    """The signature does not fit the request, or is another owner's."""

    code = "owner.refused"
    exit_code = ExitCode.REFUSED


class NonceError(InferonnxError):
    """The nonce of a signed request is not this server's, is too old, or was used before."""

    code = "owner.nonce"
    exit_code = ExitCode.REFUSED
    usual_hint = "Ask the server for a new one and sign again."


class UploadOffsetError(InferonnxError):
    """An upload goes on at another place than where it ends."""

    code = "upload.offset"
    exit_code = ExitCode.REFUSED
    usual_hint = "Ask where it ends, and go on from there."


class UploadEndedError(InferonnxError):
    """An upload is over and was no success: expired, given up, or refused."""

    code = "upload.ended"
    exit_code = ExitCode.REFUSED
    usual_hint = "Push the file again."


class DifferenceError(InferonnxError):
    """Two results that must agree do not."""

    code = "verify.difference"
    exit_code = ExitCode.REFUSED
    usual_hint = "Do not use the sealed file; report this with the model and the versions."


class UnavailableError(InferonnxError):
    """Something outside is missing or failed: disk space, a right, a library, a network."""

    code = "unavailable"
    exit_code = ExitCode.UNAVAILABLE


class BusyError(UnavailableError):
    """A server has more to do than it takes on.

    Attributes:
        retry_after_s: When to try again, in whole seconds.
    """

    code = "busy"
    usual_hint = "Try again later."

    def __init__(
        self, message: str, *, retry_after_s: int = 1, where: str = "", hint: str = ""
    ) -> None:
        """Keep the time beside the sentence."""
        super().__init__(message, where=where, hint=hint)
        self.retry_after_s = retry_after_s


class UploadLockedError(UnavailableError):
    """Another request is writing to an upload, or it is being verified."""

    code = "upload.locked"
    usual_hint = "Try again in a moment."


class ModelNotReadyError(UnavailableError):
    """A served model is locked, unloaded, or can't be opened."""

    code = "model.not_ready"
    usual_hint = "Its owner unlocks it with `inferonnx unlock`."


class DeadlineError(UnavailableError):
    """What was asked for was not done within the time that was given."""

    code = "deadline"
    usual_hint = "Give it more time, or try when there is less to do."


class EngineError(InferonnxError):
    """onnxruntime refused or failed.

    Attributes:
        private_text: onnxruntime's own text. It names nodes and inputs of the
            model: the owner's side may read it, nothing prints or logs it.
        partition: Number of the partition that it refused; None for anything else.
    """

    code = "engine"
    exit_code = ExitCode.UNAVAILABLE
    usual_hint = "Try `inferonnx check --run`, and these inputs on the ONNX file."
    private_text: str = ""
    partition: int | None = None
