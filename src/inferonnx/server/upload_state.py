"""What was announced of a file that is on its way, as a value and as it is kept on disk."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from inferonnx.control import check_name
from inferonnx.control.names import MAX_VERSION
from inferonnx.crypto import SHA256_BYTES
from inferonnx.errors import ModelNameError
from inferonnx.oip import InvalidRequestError
from inferonnx.sealed import HEADER_BYTES
from inferonnx.server.tus import MAX_METADATA_CHARS, parse_digest, parse_metadata
from inferonnx.sizes import KIB

ID_BYTES = 16
"""Who knows the id goes on with the upload: 128 random bits can't be guessed."""

MAX_FILE_BYTES = 1 << 60
"""More than any disk; offsets stay in 64 bits."""

MAX_STATE_BYTES = MAX_METADATA_CHARS + 4 * KIB

_ID = re.compile(f"[0-9a-f]{{{2 * ID_BYTES}}}")
_KEY = re.compile(f"[0-9a-f]{{{2 * SHA256_BYTES}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What was announced of a file.

    Attributes:
        id: Its name here.
        name: Of the model.
        version: Of it.
        owner: Public key of who announced it.
        model_id: Of the model.
        n_bytes: Length.
        sha256: Of the file.
        metadata: The header Upload-Metadata as it came.
    """

    id: str
    name: str
    version: int
    owner: bytes
    model_id: bytes
    n_bytes: int
    sha256: bytes
    metadata: str


def encode_state(upload: Upload) -> bytes:
    """Return the file that is kept of an upload."""
    state = {
        "id": upload.id,
        "name": upload.name,
        "version": upload.version,
        "owner": upload.owner.hex(),
        "model_id": upload.model_id.hex(),
        "n_bytes": upload.n_bytes,
        "metadata": upload.metadata,
    }
    return json.dumps(state).encode()


def parse_state(data: bytes) -> Upload:
    """Return the upload that a file was kept of.

    Raises:
        ValueError: It is not as `encode_state` makes it; the host may have changed it.
    """
    try:
        state = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(state, dict) or not all(map(_is_member, state.items())):
        raise ValueError("not the state of an upload")
    try:
        upload = Upload(
            sha256=parse_digest(parse_metadata(state["metadata"])),
            owner=bytes.fromhex(state.pop("owner")),
            model_id=bytes.fromhex(state.pop("model_id")),
            **state,
        )
        check_name(upload.name)
    except (KeyError, TypeError, ModelNameError, InvalidRequestError) as error:
        raise ValueError("not the state of an upload") from error
    return upload


def _is_member(member: tuple[str, object]) -> bool:
    match member:
        case ("id", str(text)):
            return _ID.fullmatch(text) is not None
        case ("owner" | "model_id", str(text)):
            return _KEY.fullmatch(text) is not None
        case ("name", str()):
            return True
        case ("metadata", str(text)):
            return text == text.strip(" ")  # as a header comes, and must go out
        case ("version", int(number)):
            return not isinstance(number, bool) and 1 <= number <= MAX_VERSION
        case ("n_bytes", int(number)):
            return not isinstance(number, bool) and HEADER_BYTES <= number <= MAX_FILE_BYTES
    return False
