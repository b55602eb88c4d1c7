"""What the Open Inference Protocol has no words for: owners' requests, certificates, status.

An owner's request is authorised by its signature alone: over the action, this
server's TLS key, a nonce, name, version and model (docs/owner-requests.md).
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from inferonnx.control import (
    HEADER_NAME,
    NONCE_RANDOM_BYTES,
    Action,
    How,
    check_name,
    parse_owner_header,
    parse_version,
    verify_owner_request,
)
from inferonnx.crypto import Secret, wipe
from inferonnx.errors import InferonnxError, OwnerRefusedError, UnauthenticatedError
from inferonnx.oip import NotFoundError
from inferonnx.sealed import DATA_KEY_BYTES
from inferonnx.server import replies
from inferonnx.server.messages import HttpError, Reply
from inferonnx.server.metrics import CONTENT_TYPE, exposition
from inferonnx.server.reporting import listing, server_sample, status
from inferonnx.sizes import KIB

if TYPE_CHECKING:
    from inferonnx.control import OwnerHeader, OwnerRequest
    from inferonnx.server.context import Call, Context

MAX_CHAIN_BYTES = 64 * KIB
"""A chain of certificates; real ones have 2 to 8 KiB."""

PEM = "application/x-pem-file"
HTML = "text/html; charset=utf-8"

PAGE_HEADERS = (
    ("Content-Type", HTML),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
"""Of the page, besides its own policy: nothing else opens, embeds or keeps it."""


class OwnEndpoints:
    """Answers under `/inferonnx/v1`, the metrics and the page."""

    def __init__(self, context: Context) -> None:
        """Answer for one server."""
        self._context = context

    async def page(self, _call: Call) -> Reply:
        """Give the status page; it holds no data, and asks for it with the viewer's token."""
        page = self._context.page
        if page is None:
            raise NotFoundError("Not Found")
        policy = ("Content-Security-Policy", page.policy)
        return Reply(status=200, headers=(*PAGE_HEADERS, policy), pieces=(page.content,))

    async def metrics(self, _call: Call) -> Reply:
        """Give a scrape."""
        return replies.text(exposition(server_sample(self._context)), CONTENT_TYPE)

    async def status(self, _call: Call) -> Reply:
        """Give what the page and `inferonnx top` show."""
        return replies.document(status(self._context))

    async def list_models(self, _call: Call) -> Reply:
        """List all versions of all models, with what the operator may know of them."""
        return replies.document({"models": [listing(v) for v in self._context.models.views()]})

    async def nonce(self, call: Call) -> Reply:
        """Give a nonce for an owner's request."""
        await call.exchange.read_body(self._context.ledger, limit_bytes=KIB)
        nonce = self._context.nonces.issue(self._ticks_s(), os.urandom(NONCE_RANDOM_BYTES))
        return replies.document({"nonce": nonce.hex()})

    async def unlock(self, call: Call) -> Reply:
        """Take the data key of one model from its owner."""
        name, version = self._owned(call, Action.UNLOCK)
        body = await call.exchange.read_body(self._context.ledger, limit_bytes=KIB)
        try:
            if len(body) != DATA_KEY_BYTES:
                raise HttpError(400, f"a data key has {DATA_KEY_BYTES} bytes, not {len(body)}")
            data_key = Secret(bytes(body))
        finally:
            wipe(body)
        try:
            view = await self._context.models.unlock(name, version, data_key)
        except BaseException:
            data_key.wipe()
            raise
        return replies.document(listing(view))

    async def delete(self, call: Call) -> Reply:
        """Delete a version, for its owner."""
        name, version = self._owned(call, Action.DELETE)
        models, repository = self._context.models, self._context.repository
        stored = models.stored(name, version)
        await models.remove(name, version)
        try:
            await asyncio.to_thread(repository.remove, name, version)
        except InferonnxError:
            models.add(stored)  # it is there still: its owner can try again
            raise
        return replies.empty(204)

    async def csr(self, _call: Call) -> Reply:
        """Give a certificate signing request for the live key."""
        return Reply(
            status=200, headers=(("Content-Type", PEM),), pieces=(self._context.identity.csr(),)
        )

    async def install_certificate(self, call: Call) -> Reply:
        """Show a CA's certificate from now on."""
        body = await call.exchange.read_body(self._context.ledger, limit_bytes=MAX_CHAIN_BYTES)
        self._context.identity.install(bytes(body))
        return replies.empty(204)

    def verified(
        self, call: Call, action: Action, name: str, version: int, model_id: bytes | None
    ) -> tuple[bytes, OwnerRequest]:
        """Return who signed this call, and the request that authorises it.

        Where no owner is known yet, whoever calls this says when the request has come to
        something: `Context.obey`.

        Args:
            call: Has the signature in a header.
            action: What is asked for.
            name: Of the model.
            version: Of it; 0 for the next.
            model_id: Of the model that is there; None when it is only to come.

        Raises:
            UnauthenticatedError: There is no signature.
            OwnerRefusedError, OwnerRequestError, NonceError: It does not hold.
        """
        text = call.exchange.head.headers.get(HEADER_NAME.lower())
        if text is None:
            raise UnauthenticatedError(
                f"this needs the owner's signature in {HEADER_NAME}",
                hint="`inferonnx push`, `unlock` and `delete` sign with the owner's key.",
            )
        header = parse_owner_header(text)
        request = verify_owner_request(
            header,
            action=action,
            server_key_hash=self._context.identity.public_key_hash,
            name=name,
            version=version,
            model_id=header.model_id if model_id is None else model_id,
            owner=self._obeyed(header),
            nonces=self._context.nonces,
            now_s=self._ticks_s(),
        )
        call.exchange.figures.details["caller"] = How.OWNER.value
        return header.owner, request

    def _owned(self, call: Call, action: Action) -> tuple[str, int]:
        """Return which model is meant by an owner's request, which must be that owner's.

        Raises:
            OwnerRefusedError: It is one that another owner's server left in this folder.
            InferonnxError: There is no such model, or the request does not hold.
        """
        name = check_name(call.segments["name"])
        version = parse_version(call.segments["version"])
        try:
            stored = self._context.models.stored(name, version)
        except NotFoundError:
            self.verified(call, action, name, version, None)  # or all were told what is not there
            raise
        # Of a file that can't be read nobody knows whose and which it is: no key opens that.
        unknown = action is Action.UNLOCK and not stored.owner
        owner, _ = self.verified(call, action, name, version, None if unknown else stored.model_id)
        if unknown:
            return name, version
        if stored.owner != owner:
            raise OwnerRefusedError(f"model '{name}' version {version} belongs to another owner")
        self._context.obey(owner)
        return name, version

    def _obeyed(self, header: OwnerHeader) -> bytes:
        """Return whom this server obeys."""
        if self._context.owner is not None:
            return self._context.owner
        if self._context.config.owner_first_come:
            return header.owner
        raise OwnerRefusedError(
            "this server was started without an owner, and takes no model from anybody",
            hint="Start it with `--owner PUBKEY`.",
        )

    def _ticks_s(self) -> int:
        return int(self._context.ticks_s())
