"""Uploads by tus 1.0.0: created by an owner's signature, streamed to disk, never held."""

from __future__ import annotations

import asyncio
from time import gmtime
from typing import TYPE_CHECKING

from inferonnx.control import NEXT_VERSION, Action, check_name, parse_version
from inferonnx.oip import InvalidRequestError
from inferonnx.server import replies
from inferonnx.server.messages import HttpError
from inferonnx.server.uploads import (
    OFFSET_TYPE,
    TUS_EXTENSIONS,
    TUS_VERSION,
    Upload,
    parse_digest,
    parse_length,
    parse_metadata,
)
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from inferonnx.control import OwnerRequest
    from inferonnx.server.context import Call, Context
    from inferonnx.server.messages import Reply

    Verify = Callable[[Call, Action, str, int, bytes | None], OwnerRequest]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

RESUMABLE = ("Tus-Resumable", TUS_VERSION)

VERSION_HEADER = "Inferonnx-Version"
"""In the reply to an announcement: the version that it will be."""

WRITE_BYTES = MIB
"""Collected before it is written: a thread for each 16 KiB of TLS would cost more than the disk."""


class UploadEndpoints:
    """Answers of the upload protocol."""

    def __init__(self, context: Context, verify: Verify) -> None:
        """Answer for one server; `verify` checks an owner's signature."""
        self._context = context
        self._verify = verify

    async def upload_options(self, _call: Call) -> Reply:
        """Say what of tus is spoken."""
        return replies.empty(
            204,
            (RESUMABLE, ("Tus-Version", TUS_VERSION), ("Tus-Extension", TUS_EXTENSIONS)),
        )

    async def create_upload(self, call: Call) -> Reply:
        """Announce a model, by its owner's signature."""
        _check_version(call)
        headers = call.exchange.head.headers
        name = check_name(call.segments["name"])
        text = call.segments["version"]
        version = NEXT_VERSION if text == "next" else parse_version(text)
        n_bytes = parse_length(headers.get("upload-length"), "Upload-Length")
        sha256 = parse_digest(parse_metadata(headers.get("upload-metadata", "")))
        request = self._verify(call, Action.PUSH, name, version, None)
        owner = self._context.owner
        assert owner is not None  # noqa: S101 - an owner's request was verified
        upload = await asyncio.to_thread(
            self._context.uploads.create,
            name=name,
            version=version,
            owner=owner,
            model_id=request.model_id,
            n_bytes=n_bytes,
            sha256=sha256,
        )
        location = f"/inferonnx/v1/uploads/{upload.id}"
        return replies.empty(
            201,
            (
                RESUMABLE,
                ("Location", location),
                (VERSION_HEADER, str(upload.version)),
                self._expires(upload),
            ),
        )

    async def upload_offset(self, call: Call) -> Reply:
        """Say how much of an upload is there."""
        _check_version(call)
        upload = self._context.uploads.find(call.segments["upload"])
        return replies.empty(
            200,
            (
                RESUMABLE,
                ("Upload-Offset", str(self._context.uploads.offset(upload))),
                ("Upload-Length", str(upload.n_bytes)),
                ("Cache-Control", "no-store"),
                self._expires(upload),
            ),
        )

    async def append_upload(self, call: Call) -> Reply:
        """Take more of a file; with its last byte it is verified and becomes a version.

        What has come before a break is kept, and the client goes on from there.
        """
        _check_version(call)
        headers = call.exchange.head.headers
        if headers.get("content-type", "") != OFFSET_TYPE:
            raise HttpError(415, f"an upload goes on with Content-Type {OFFSET_TYPE}")
        offset = parse_length(headers.get("upload-offset"), "Upload-Offset")
        uploads = self._context.uploads
        upload = uploads.find(call.segments["upload"])
        with uploads.appending(upload, offset) as append:
            offset += await self._written(call, append, upload.n_bytes - offset)
        if offset < upload.n_bytes:
            return replies.empty(
                204, (RESUMABLE, ("Upload-Offset", str(offset)), self._expires(upload))
            )
        self._context.models.add(await asyncio.to_thread(uploads.finish, upload))
        return replies.empty(204, (RESUMABLE, ("Upload-Offset", str(offset))))

    async def delete_upload(self, call: Call) -> Reply:
        """Give an upload up."""
        _check_version(call)
        upload = self._context.uploads.find(call.segments["upload"])
        await asyncio.to_thread(self._context.uploads.delete, upload)
        return replies.empty(204, (RESUMABLE,))

    async def _written(
        self, call: Call, append: Callable[[memoryview], None], limit_bytes: int
    ) -> int:
        """Write the body as it comes; what has come is written also when the client leaves."""
        buffer = bytearray()
        written = 0
        try:
            async for view in call.exchange.chunks(limit_bytes=limit_bytes):
                buffer += view
                if len(buffer) >= WRITE_BYTES:
                    piece, buffer = buffer, bytearray()
                    await asyncio.to_thread(append, memoryview(piece))
                    written += len(piece)
        finally:
            # Not in a thread: a cancelled request could not wait for one.
            append(memoryview(buffer))
            written += len(buffer)
        return written

    def _expires(self, upload: Upload) -> tuple[str, str]:
        when = self._context.uploads.expires_s(upload)
        return ("Upload-Expires", http_date(when))


def http_date(seconds: float) -> str:
    """Return a time as RFC 9110 writes it (5.6.7); `email.utils` would cost the enclave 2 MiB."""
    t = gmtime(seconds)
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    return (
        f"{day}, {t.tm_mday:02} {month} {t.tm_year} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


def _check_version(call: Call) -> None:
    if call.exchange.head.headers.get("tus-resumable") != TUS_VERSION:
        raise InvalidRequestError(f"uploads go by tus: send Tus-Resumable: {TUS_VERSION}")
