"""Uploads by tus 1.0.0: created by an owner's signature, streamed to disk, never held.

A PATCH has one buffer, reserved before its first byte is read, so that a large upload
costs the memory of a small one. Threads write; a request that ends in whatever way
waits for its own before it lets the upload go. One upload is verified at a time,
since that takes a core, and meanwhile the others go on.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from inferonnx.control import NEXT_VERSION, Action, check_name, parse_version
from inferonnx.errors import InferonnxError, OwnerRefusedError, UploadOffsetError
from inferonnx.oip import MethodNotAllowedError
from inferonnx.server import replies
from inferonnx.server.bodies import allocate
from inferonnx.server.messages import HttpError
from inferonnx.server.tus import (
    OFFSET_TYPE,
    TUS_EXTENSIONS,
    TUS_VERSION,
    http_date,
    is_offset_type,
    parse_digest,
    parse_length,
    parse_metadata,
)
from inferonnx.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from inferonnx.control import OwnerRequest
    from inferonnx.server.appending import Appender
    from inferonnx.server.context import Call, Context
    from inferonnx.server.exchange import Exchange
    from inferonnx.server.messages import Reply
    from inferonnx.server.upload_state import Upload
    from inferonnx.server.uploads import Progress

    Verify = Callable[[Call, Action, str, int, bytes | None], tuple[bytes, OwnerRequest]]

P = ParamSpec("P")
T = TypeVar("T")

RESUMABLE = ("Tus-Resumable", TUS_VERSION)
VERSIONS = ("Tus-Version", TUS_VERSION)
NOT_STORED = ("Cache-Control", "no-store")
OVERRIDE = "x-http-method-override"

VERSION_HEADER = "Inferonnx-Version"
"""In the reply to an announcement: the version that it will be."""

WRITE_BYTES = 256 * KIB
"""Collected before it is written: a thread for each 16 KiB of TLS would cost more than the disk."""

SILENCE_S = 30.0
"""Of a client, in the middle of a PATCH: it has lost its network, and comes back by another."""


class UploadEndpoints:
    """Answers of the upload protocol."""

    def __init__(self, context: Context, verify: Verify) -> None:
        """Answer for one server; `verify` checks an owner's signature."""
        self._context = context
        self._verify = verify
        self._one_verifies = asyncio.Semaphore(1)
        self._finishing: dict[str, asyncio.Task[None]] = {}  # by the upload's id

    async def uploads(self, call: Call) -> Reply:
        """Answer where uploads are announced."""
        match _method(call):
            case "OPTIONS":
                return self._options()
            case "POST":
                return await _as_tus(call, self._create)
        raise MethodNotAllowedError(("OPTIONS", "POST"))

    async def upload(self, call: Call) -> Reply:
        """Answer for one upload."""
        match _method(call):
            case "OPTIONS":
                return self._options()
            case "HEAD":
                return await _as_tus(call, self._offset)
            case "PATCH":
                return await _as_tus(call, self._append)
            case "DELETE":
                return await _as_tus(call, self._delete)
        raise MethodNotAllowedError(("OPTIONS", "HEAD", "PATCH", "DELETE"))

    def _options(self) -> Reply:
        """Say what of tus is spoken."""
        most = str(self._context.uploads.quota_bytes)
        return replies.empty(
            204,
            (RESUMABLE, VERSIONS, ("Tus-Extension", TUS_EXTENSIONS), ("Tus-Max-Size", most)),
        )

    async def _create(self, call: Call) -> Reply:
        """Announce a model, by its owner's signature."""
        headers = call.exchange.head.headers
        name = check_name(call.segments["name"])
        text = call.segments["version"]
        version = NEXT_VERSION if text == "next" else parse_version(text)
        n_bytes = parse_length(headers.get("upload-length"), "Upload-Length")
        metadata = headers.get("upload-metadata", "")
        sha256 = parse_digest(parse_metadata(metadata))
        owner, request = self._verify(call, Action.PUSH, name, version, None)
        upload = await asyncio.to_thread(
            self._context.uploads.create,
            name=name,
            version=version,
            owner=owner,
            model_id=request.model_id,
            n_bytes=n_bytes,
            sha256=sha256,
            metadata=metadata,
        )
        try:
            self._context.obey(owner)
        except OwnerRefusedError:  # another came first while the disk was asked
            await asyncio.to_thread(self._context.uploads.delete, upload)
            raise
        return replies.empty(
            201,
            (
                RESUMABLE,
                ("Location", f"/inferonnx/v1/uploads/{upload.id}"),
                (VERSION_HEADER, str(upload.version)),
                _expires(self._found(upload.id)),
            ),
        )

    async def _offset(self, call: Call) -> Reply:
        """Say how much of an upload is there.

        A client takes an upload of which all is there for done, so what a restart left
        to be verified is verified first.
        """
        progress = self._found(call.segments["upload"])
        if progress.offset == progress.upload.n_bytes:
            await self._finish(progress)
        return replies.empty(
            200,
            (
                RESUMABLE,
                ("Upload-Offset", str(progress.offset)),
                ("Upload-Length", str(progress.upload.n_bytes)),
                ("Upload-Metadata", progress.upload.metadata),
                (VERSION_HEADER, str(progress.upload.version)),
                _expires(progress),
                NOT_STORED,
            ),
        )

    async def _append(self, call: Call) -> Reply:
        """Take more of a file; with its last byte it is verified and becomes a version.

        What has come before a break is kept, and the client goes on from there.
        """
        headers = call.exchange.head.headers
        if not is_offset_type(headers.get("content-type", "")):
            raise HttpError(415, f"an upload goes on with Content-Type {OFFSET_TYPE}")
        offset = parse_length(headers.get("upload-offset"), "Upload-Offset")
        progress = self._found(call.segments["upload"])
        if progress.offset != offset:
            raise UploadOffsetError(f"the upload is at {progress.offset}, not at {offset}")
        await self._receive(call.exchange, progress)
        progress = self._found(progress.upload.id)
        if progress.offset == progress.upload.n_bytes:
            await self._finish(progress)
        at = ("Upload-Offset", str(progress.offset))
        return replies.empty(204, (RESUMABLE, at, _expires(progress)))

    async def _delete(self, call: Call) -> Reply:
        """Give an upload up."""
        progress = self._found(call.segments["upload"])
        await asyncio.to_thread(self._context.uploads.delete, progress.upload)
        return replies.empty(204, (RESUMABLE,))

    def _found(self, name: str) -> Progress:
        return self._context.uploads.find(name)

    async def _receive(self, exchange: Exchange, progress: Progress) -> None:
        """Write the body as it comes; what has come is written also when the client leaves."""
        limit_bytes = progress.upload.n_bytes - progress.offset
        if not limit_bytes:
            async for _ in exchange.chunks(limit_bytes=0):
                pass  # an empty chunk at most
            return
        await exchange.reserve(self._context.ledger, WRITE_BYTES)
        appender = self._context.uploads.append(progress.upload, progress.offset)
        try:
            await _write(exchange, appender, limit_bytes)
        finally:
            await _to_the_end(appender.close)

    async def _finish(self, progress: Progress) -> None:
        """Make a version of a complete upload, unless it is one already.

        All who wait for one upload wait for the same work, which goes on without them.
        """
        name = progress.upload.id
        if progress.is_installed:
            return
        work = self._finishing.get(name)
        if work is None:
            work = asyncio.create_task(self._install(progress.upload))
            self._finishing[name] = work
            work.add_done_callback(lambda _: self._finishing.pop(name))
        await asyncio.shield(work)

    async def _install(self, upload: Upload) -> None:
        async with self._one_verifies:
            stored = await _to_the_end(self._context.uploads.finish, upload)
        self._context.models.add(stored)


async def _write(exchange: Exchange, appender: Appender, limit_bytes: int) -> None:
    buffer, filled = allocate(WRITE_BYTES), 0
    async with aclosing(exchange.chunks(limit_bytes=limit_bytes)) as chunks:
        try:
            while (view := await _next(chunks)) is not None:
                while view:
                    n = min(len(view), WRITE_BYTES - filled)
                    buffer[filled : filled + n] = view[:n]
                    view, filled = view[n:], filled + n
                    if filled == WRITE_BYTES:
                        filled = 0  # first: what fails now must not be written again below
                        await _to_the_end(appender.write, buffer)
        finally:
            if filled:
                await _to_the_end(appender.write, buffer[:filled])


async def _next(chunks: AsyncGenerator[memoryview, None]) -> memoryview | None:
    """Return the next piece of a body, None at its end."""
    try:
        async with asyncio.timeout(SILENCE_S):
            return await anext(chunks, None)
    except TimeoutError as error:
        raise HttpError(408, f"nothing came for {SILENCE_S:.0f} s", close=True) from error


async def _to_the_end(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Return what `function` returns in a thread; who is cancelled waits for it too.

    The thread uses a file and a buffer of the caller's: neither may go before it ends.
    """
    # A future and no task, since a loop that ends cancels all tasks, and not their threads.
    work = asyncio.get_running_loop().run_in_executor(None, partial(function, *arguments, **named))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait((work,))
        work.exception()  # nobody is there any more to be told
        raise


async def _as_tus(call: Call, endpoint: Callable[[Call], Awaitable[Reply]]) -> Reply:
    """Answer in the protocol's form: its version on every reply, and asked for first."""
    try:
        if call.exchange.head.headers.get("tus-resumable") != TUS_VERSION:
            raise HttpError(
                412, f"uploads go by tus: send Tus-Resumable: {TUS_VERSION}", headers=(VERSIONS,)
            )
        return await endpoint(call)
    except InferonnxError as error:
        raise replies.WithHeadersError(error, RESUMABLE) from error


def _method(call: Call) -> str:
    """Return the method that a client means: some can send no PATCH and no DELETE."""
    return call.exchange.head.headers.get(OVERRIDE, call.exchange.head.method)


def _expires(progress: Progress) -> tuple[str, str]:
    return ("Upload-Expires", http_date(progress.expires_s))
