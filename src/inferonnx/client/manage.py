"""What servers of ours can be asked beyond the protocol: models, certificates.

An owner's request is signed over the TLS key of the server at the other end of the
connection that the nonce came by, and sent to no other (docs/owner-requests.md).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from inferonnx.client.connections import ServerChangedError
from inferonnx.client.messages import Request
from inferonnx.client.replies import check, document, members
from inferonnx.control import HEADER_NAME, Action, OwnerRequest, check_name, sign_owner_request
from inferonnx.control.nonces import NONCE_BYTES
from inferonnx.crypto import ed25519_sign
from inferonnx.oip import BadReplyError, NotFoundError

if TYPE_CHECKING:
    from inferonnx.client.messages import Response, Steps
    from inferonnx.crypto import Secret
    from inferonnx.sealed import OwnerKey

OWN = "/inferonnx/v1"

_OCTETS = (("Content-Type", "application/octet-stream"),)
_PEM = (("Content-Type", "application/x-pem-file"),)
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A version of a model as its server describes it; nothing here is proved.

    Attributes:
        name: What clients call it.
        version: Which one of that name.
        state: "ready", "locked" or "unavailable".
        reason: Why it is not ready.
        sealed_name: That stands in the sealed file; None while it is locked.
        release: The owner's count; 0 where it is not numbered.
        owner: Public key, 64 hexadecimal digits; empty where the file can't be read.
        model_id: Likewise.
        suite: Of its encryption.
        file_bytes: Size of the sealed file.
        resident_bytes: Weights that are decrypted in memory.
        is_open: Whether it holds memory now.
    """

    name: str
    version: int
    state: str = ""
    reason: str = ""
    sealed_name: str | None = None
    release: int = 0
    owner: str = ""
    model_id: str = ""
    suite: str = ""
    file_bytes: int = 0
    resident_bytes: int = 0
    is_open: bool = False


def list_models() -> Steps[list[ServedModel]]:
    """Ask for all versions of all models."""
    request = Request(method="GET", path=f"{OWN}/models", may_repeat=True)
    found = members(document((yield request))).get("models")
    if not isinstance(found, list):
        raise BadReplyError("the server's list of models has another form")
    return [_served(entry) for entry in found]


def status() -> Steps[dict[str, Any]]:
    """Ask what the server is doing: `inferonnx.status/1` of docs/protocol.md, as it came."""
    return members(document((yield Request(method="GET", path=f"{OWN}/status", may_repeat=True))))


def find_model(
    name: str, version: int | None = None, *, model_id: bytes | None = None
) -> Steps[ServedModel]:
    """Ask for one version of a model, by default the newest.

    Args:
        name: What the server calls it.
        version: Only this one.
        model_id: Only one that the server says is this model.

    Raises:
        NotFoundError: There is none.
    """
    wanted_id = None if model_id is None else model_id.hex()
    models = yield from list_models()
    found = [
        model
        for model in models
        if model.name == name
        and version in (None, model.version)
        and wanted_id in (None, model.model_id)
    ]
    if not found:
        which = "" if version is None else f" version {version}"
        what = "" if wanted_id is None else f" that is the model {wanted_id}"
        raise NotFoundError(
            f"the server has no {name!r:.200}{which}{what}", hint="See `inferonnx list`."
        )
    return max(found, key=lambda model: model.version)


def unlock(
    name: str, version: int, *, model_id: bytes, data_key: Secret, key: OwnerKey
) -> Steps[ServedModel]:
    """Hand over the data key of one model.

    Args:
        name: What the server calls it.
        version: Which one of that name.
        model_id: Of the sealed file that the data key belongs to.
        data_key: Of that file.
        key: Signs the request; nothing of it leaves.
    """
    request = Request(
        method="POST",
        path=_version_path(name, version) + "/unlock",
        headers=_OCTETS,
        pieces=(data_key.reveal(),),
        wants_token=False,
    )
    signed = signed_by_owner(request, Action.UNLOCK, name, version, model_id=model_id, key=key)
    return _served(members(document((yield from signed))))


def delete(name: str, version: int, *, model_id: bytes, key: OwnerKey) -> Steps[None]:
    """Delete a version of a model.

    Args:
        name: What the server calls it.
        version: Which one of that name.
        model_id: Which model this is believed to be; another is not deleted.
        key: Signs the request.
    """
    request = Request(method="DELETE", path=_version_path(name, version), wants_token=False)
    signed = signed_by_owner(request, Action.DELETE, name, version, model_id=model_id, key=key)
    check((yield from signed), 200, 204)


def csr() -> Steps[bytes]:
    """Ask for a certificate signing request for the server's live key, in PEM."""
    request = Request(method="GET", path=f"{OWN}/csr", may_repeat=True)
    return bytes(check((yield request)).body)


def install_certificate(chain_pem: bytes) -> Steps[None]:
    """Give the server a CA's certificate, and what signed it, in PEM."""
    request = Request(
        method="PUT",
        path=f"{OWN}/certificate",
        headers=_PEM,
        pieces=(chain_pem,),
        may_repeat=True,
    )
    check((yield request), 200, 204)


def signed_by_owner(
    request: Request, action: Action, name: str, version: int, *, model_id: bytes, key: OwnerKey
) -> Steps[Response]:
    """Ask for a nonce, sign, send; again if another server answers than gave the nonce.

    Args:
        request: Without its signature.
        action: What it asks for.
        name: As in its path.
        version: Likewise; 0 for the next.
        model_id: Which model is meant.
        key: The owner's.
    """
    for attempt in range(_ATTEMPTS):
        given = yield Request(
            method="POST", path=f"{OWN}/nonce", pieces=(), may_repeat=True, wants_token=False
        )
        asked = OwnerRequest(
            action=action,
            server_key_hash=given.key_hash,  # of the connection, never what a reply says
            nonce=_nonce(given),
            model_id=model_id,
            name=name,
            version=version,
        )
        text = sign_owner_request(
            asked,
            owner=key.public_key,
            sign=lambda message: ed25519_sign(key.signing_seed, message),
        )
        headers = (*request.headers, (HEADER_NAME, text))
        try:
            return (yield replace(request, headers=headers, key_hash=given.key_hash))
        except ServerChangedError:
            if attempt + 1 == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _nonce(response: Response) -> bytes:
    digits = members(document(response)).get("nonce")
    try:
        nonce = bytes.fromhex(digits) if isinstance(digits, str) else b""
    except ValueError:
        nonce = b""
    if len(nonce) != NONCE_BYTES:
        raise BadReplyError("the server gave no nonce", hint="Is it a server of InferONNX?")
    return nonce


def _version_path(name: str, version: int) -> str:
    return f"{OWN}/models/{check_name(name)}/versions/{version}"


def _served(entry: object) -> ServedModel:
    """Return what a server says of a model; members that are missing are what they are not."""
    found = members(entry)
    values: dict[str, Any] = {}
    for field in fields(ServedModel):
        value = found.get(field.name)
        if value is None:
            continue
        kind = _KINDS[field.name]
        if type(value) is not kind:
            raise BadReplyError(f"the server describes a model whose {field.name} is none")
        values[field.name] = value
    if not {"name", "version"} <= values.keys():
        raise BadReplyError("the server describes a model without name or version")
    return ServedModel(**values)


_KINDS: dict[str, type] = {
    field.name: {"int": int, "bool": bool}.get(str(field.type), str)
    for field in fields(ServedModel)
}
