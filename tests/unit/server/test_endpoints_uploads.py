"""Uploads over the wire, by tus 1.0.0: with curl, with a client of others', and against abuse."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import os
import random
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import inferonnx
from inferonnx.app.host.keys import Key
from inferonnx.client import push as pushing
from inferonnx.control import (
    Action,
    NonceBook,
    OwnerRequest,
    ServerConfig,
    config_digest,
    encode_config,
    sign_owner_request,
)
from inferonnx.crypto import Secret, ed25519_sign
from inferonnx.server import endpoints_uploads
from inferonnx.server.api import Api
from inferonnx.server.appending import Appender
from inferonnx.server.context import Context
from inferonnx.server.endpoints_uploads import WRITE_BYTES, _to_the_end
from inferonnx.server.ledger import Ledger
from inferonnx.server.models import Models
from inferonnx.server.pool import Pool
from inferonnx.server.repository import Repository
from inferonnx.server.scheduler import QueueLimits
from inferonnx.server.threads import PassThreads
from inferonnx.server.uploads import Uploads
from inferonnx.sizes import GIB, MIB
from sealed_files import (
    OTHER_OWNER,
    OTHER_SEED,
    OWNER,
    SEED,
    announced,
    bring,
    make_file,
    metadata_of,
    put,
)
from serving.running import until

DATA = make_file()
TUS = {"Tus-Resumable": "1.0.0"}
OFFSET_TYPE = "application/offset+octet-stream"


class Site:
    """A whole server but for its engine, and a client of its uploads."""

    def __init__(self, start, folder, **limits):
        self.folder = folder / "models"
        self.limits = {"quota_bytes": GIB, "max_uploads": 8, "expiry_s": 86_400} | limits
        self.ledger = Ledger(8 * MIB)
        self.open()
        self._api = None
        self.server = start(self.answer, linger_s=0.5)

    def open(self):
        self.repository = Repository(str(self.folder))
        self.uploads = Uploads(self.repository, clock_s=time.time, **self.limits)

    async def answer(self, server, exchange):
        if self._api is None:
            self._api = self.api(server)
        return await self._api.handle(exchange)

    def api(self, server):
        config = ServerConfig(models=str(self.folder), owner=OWNER)
        pool = Pool(None, total_bytes=MIB, concurrency=1)
        threads = PassThreads(ThreadPoolExecutor(1), n_shared=1)
        digest = config_digest(encode_config(config, client_ca_sha256=None, tls_cert_sha256=None))
        self.context = Context(
            config=config,
            config_digest=digest,
            identity=server.identity,
            nonces=NonceBook(Secret(bytes(32))),
            repository=self.repository,
            uploads=self.uploads,
            pool=pool,
            models=Models(pool, QueueLimits(), threads),
            ledger=self.ledger,
            clock_s=time.time,
            ticks_s=time.monotonic,
            version="0",
            owner=OWNER,
        )
        return Api(self.context)

    # A client.

    def ask(self, method, path, headers=TUS, body=None):
        connection = self.server.client()
        try:
            connection.request(method, path, body=body, headers=headers)
            reply = connection.getresponse()
            reply.text = reply.read().decode()
            return reply
        finally:
            connection.close()

    def signed(self, data, name="net", version=1, *, seed=SEED, owner=OWNER, **changed):
        nonce = json.loads(self.ask("POST", "/inferonnx/v1/nonce").text)["nonce"]
        request = OwnerRequest(
            action=changed.get("action", Action.PUSH),
            server_key_hash=self.server.identity.public_key_hash,
            nonce=bytes.fromhex(nonce),
            model_id=changed.get("model_id") or announced(data).model_id,
            name=name,
            version=version,
        )
        sign = lambda message: ed25519_sign(seed, message)  # noqa: E731
        return {"Inferonnx-Owner": sign_owner_request(request, owner=owner, sign=sign)}

    def announce(self, data=DATA, name="net", version=1, **headers):
        """Ask for an upload."""
        usual = {
            **TUS,
            **self.signed(data, name, version),
            "Upload-Length": str(len(data)),
            "Upload-Metadata": metadata_of(data),
        }
        sent = {k: v for k, v in (usual | headers).items() if v is not None}
        return self.ask("POST", creation(name, version), sent)

    def create(self, data=DATA, *arguments):
        """Return the path of a new upload."""
        reply = self.announce(data, *arguments)
        assert reply.status == 201, reply.text
        return reply.headers["Location"]

    def patch(self, path, piece, offset=0, **headers):
        usual = {**TUS, "Content-Type": OFFSET_TYPE, "Upload-Offset": str(offset)}
        sent = {k: v for k, v in (usual | headers).items() if v is not None}
        return self.ask("PATCH", path, sent, piece)

    def offset(self, path):
        return int(self.ask("HEAD", path).headers["Upload-Offset"])

    @property
    def versions(self):
        return [(v.stored.name, v.stored.version) for v in self.context.models.views()]

    @property
    def incoming(self):
        return sorted(os.listdir(self.folder / ".uploads"))

    def begun(self, path, piece, length=5000):
        """Return a socket on which the head of a PATCH and a piece of its body were sent."""
        sock = self.server.raw()
        head = (
            f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\n"
            f"Content-Type: {OFFSET_TYPE}\r\nUpload-Offset: 0\r\nContent-Length: {length}\r\n\r\n"
        )
        sock.sendall(head.encode() + piece)
        return sock


def creation(name="net", version=1):
    return f"/inferonnx/v1/models/{name}/versions/{version or 'next'}/uploads"


@pytest.fixture
def make_site(start, tmp_path):
    made = []

    def make(**limits):
        made.append(Site(start, tmp_path, **limits))
        return made[-1]

    yield make
    for site in made:
        site.repository.close()


@pytest.fixture
def site(make_site):
    return make_site()


# As the protocol says.


def test_an_upload_in_two_pieces_becomes_a_model(site):
    reply = site.announce()
    assert reply.status == 201
    assert reply.headers["Inferonnx-Version"] == "1"
    path = reply.headers["Location"]
    assert path.startswith("/inferonnx/v1/uploads/")
    assert site.offset(path) == 0
    for start, stop in ((0, 1234), (1234, len(DATA))):
        reply = site.patch(path, DATA[start:stop], start)
        assert (reply.status, reply.headers["Upload-Offset"]) == (204, str(stop))
        assert reply.headers["Tus-Resumable"] == "1.0.0"
        assert "Upload-Expires" in reply.headers
        assert site.offset(path) == stop
    assert site.versions == [("net", 1)]
    assert (site.folder / "net" / "1" / "model.sealed").read_bytes() == DATA


def test_a_head_says_how_much_is_there(site):
    path = site.create()
    for state in ("begun", "complete"):
        reply = site.ask("HEAD", path)
        headers = reply.headers
        assert reply.status == 200
        assert headers["Tus-Resumable"] == "1.0.0"
        assert headers["Upload-Offset"] == ("0" if state == "begun" else str(len(DATA)))
        assert headers["Upload-Length"] == str(len(DATA))
        assert headers["Upload-Metadata"] == metadata_of(DATA)  # as the client said it
        assert headers["Cache-Control"] == "no-store"
        assert headers["Inferonnx-Version"] == "1"
        assert reply.text == ""
        site.patch(path, DATA)


def test_metadata_of_other_programs_comes_back(site):
    text = f"filename bmV0,{metadata_of(DATA)},is_confidential,empty "
    reply = site.announce(**{"Upload-Metadata": text})
    assert reply.status == 201
    assert site.ask("HEAD", reply.headers["Location"]).headers["Upload-Metadata"] == text.strip()


@pytest.mark.parametrize("headers", [{}, {"Tus-Resumable": "0.2.2"}])
def test_options_say_what_is_spoken(site, headers):
    for path in (creation(), f"/inferonnx/v1/uploads/{'0' * 32}"):
        reply = site.ask("OPTIONS", path, headers)
        assert reply.status == 204
        assert reply.headers["Tus-Version"] == "1.0.0"
        assert reply.headers["Tus-Extension"] == "creation,expiration,termination"
        assert reply.headers["Tus-Max-Size"] == str(GIB)


@pytest.mark.parametrize("version", [None, "0.2.2", "1.0.1", "1.0.0, 1.0.0"])
def test_another_version_of_tus_is_412_and_does_nothing(site, version):
    path = site.create()
    spoken = {} if version is None else {"Tus-Resumable": version}
    for reply in (
        site.announce(make_file(1), **{"Tus-Resumable": version}),
        site.patch(path, DATA, **{"Tus-Resumable": version}),
        site.ask("HEAD", path, spoken),
        site.ask("DELETE", path, spoken),
    ):
        assert reply.status == 412
        assert reply.headers["Tus-Version"] == "1.0.0"
        assert reply.headers["Tus-Resumable"] == "1.0.0"
    assert site.offset(path) == 0
    assert len(site.uploads) == 1


def refused(reply, status, sentence):
    """Check an error's reply in both protocols' form."""
    assert reply.status == status, reply.text
    assert sentence in json.loads(reply.text)["error"]
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Tus-Resumable"] == "1.0.0"
    return reply


@pytest.mark.parametrize("content_type", [None, "application/octet-stream", "text/plain"])
def test_another_content_type_is_415(site, content_type):
    path = site.create()
    refused(site.patch(path, DATA, **{"Content-Type": content_type}), 415, OFFSET_TYPE)
    assert site.offset(path) == 0


@pytest.mark.parametrize("offset", ["1", "99", "101", str(len(DATA)), "9" * 18])
def test_another_offset_is_409_and_changes_nothing(site, offset):
    path = site.create()
    site.patch(path, DATA[:100])
    refused(site.patch(path, DATA[100:], offset), 409, f"is at 100, not at {offset}")
    assert site.offset(path) == 100


@pytest.mark.parametrize("offset", [None, "", "-1", "a", "0x64", "9" * 19, "100, 100"])
def test_what_is_no_offset_is_400(site, offset):
    path = site.create()
    refused(site.patch(path, DATA, **{"Upload-Offset": offset}), 400, "Upload-Offset")
    assert site.offset(path) == 0


def test_an_upload_that_is_not_there_is_404_without_an_offset(site):
    path = f"/inferonnx/v1/uploads/{'0' * 32}"
    for method in ("HEAD", "DELETE"):
        reply = site.ask(method, path)
        assert reply.status == 404
        assert "Upload-Offset" not in reply.headers
    refused(site.patch(path, DATA), 404, "no such upload")
    refused(site.patch("/inferonnx/v1/uploads/x", DATA), 404, "no such upload")


def test_an_upload_that_is_given_up_is_410_from_then_on(site):
    path = site.create()
    site.patch(path, DATA[:100])
    reply = site.ask("DELETE", path)
    assert (reply.status, reply.headers["Tus-Resumable"]) == (204, "1.0.0")
    assert site.incoming == []
    assert site.ask("HEAD", path).status == 410
    refused(site.ask("DELETE", path), 410, "gave it up")
    refused(site.patch(path, DATA[100:], 100), 410, "gave it up")


def test_an_upload_that_has_become_a_model_is_complete_and_stays_one(site):
    path = site.create()
    site.patch(path, DATA)
    assert site.offset(path) == len(DATA)
    assert site.patch(path, b"", len(DATA)).status == 204  # of a client that lost the last reply
    refused(site.patch(path, b"x", len(DATA)), 413, "larger")
    refused(site.patch(path, DATA, 0), 409, "not at 0")
    refused(site.ask("DELETE", path), 410, "has become a model")
    assert site.versions == [("net", 1)]


def test_an_upload_that_expired_is_410(make_site):
    site = make_site(expiry_s=1)
    path = site.create()
    until(lambda: site.ask("HEAD", path).status == 410)
    refused(site.patch(path, DATA), 410, "in time")
    site.create(make_file(1))
    assert len(site.incoming) == 2  # the new one's


def test_surplus_bytes_are_413_and_not_taken(site):
    path = site.create()
    refused(site.patch(path, DATA + b"x"), 413, "larger than")
    assert site.offset(path) == 0
    chunks = iter([DATA[:-1], b"abc"])
    refused(site.patch(path, chunks), 413, "larger than")
    assert site.offset(path) == len(DATA) - 1
    site.patch(path, DATA[-1:], len(DATA) - 1)
    assert site.versions == [("net", 1)]


def test_pieces_may_come_in_chunks_or_be_empty(site):
    path = site.create()
    assert site.patch(path, b"").status == 204
    pieces = iter([DATA[:1], DATA[1:3000]])
    assert site.patch(path, pieces).status == 204
    assert site.offset(path) == 3000
    assert site.patch(path, DATA[3000:], 3000).status == 204
    assert site.versions == [("net", 1)]


def test_compressed_pieces_are_not_understood(site):
    path = site.create()
    refused(site.patch(path, DATA, **{"Content-Encoding": "gzip"}), 501, "compressed")
    assert site.offset(path) == 0


@pytest.mark.parametrize("real", ["POST", "PATCH"])
def test_clients_that_know_few_methods_say_which_they_mean(site, real):
    path = site.create()
    override = {"X-HTTP-Method-Override": "PATCH", "Content-Type": OFFSET_TYPE}
    headers = {**TUS, **override, "Upload-Offset": "0"}
    assert site.ask(real, path, headers, DATA[:10]).status == 204
    head = site.ask(real, path, {**TUS, "X-HTTP-Method-Override": "HEAD"})
    assert (head.status, head.headers["Upload-Offset"]) == (200, "10")
    assert site.ask(real, path, {**TUS, "X-HTTP-Method-Override": "GET"}).status == 405
    assert site.ask(real, path, {**TUS, "X-HTTP-Method-Override": "DELETE"}).status == 204
    assert site.incoming == []


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_other_methods_are_405(site, method):
    refused = site.ask(method, site.create())
    # POST is there for clients that say in a header what they mean.
    allowed = "OPTIONS, HEAD, PATCH, DELETE" + (", POST" if method != "POST" else "")
    assert (refused.status, refused.headers["Allow"]) == (405, allowed)
    if method != "POST":
        refused = site.ask(method, creation())
        assert (refused.status, refused.headers["Allow"]) == (405, "OPTIONS, POST")


# Who may, and what is announced.


@pytest.mark.parametrize(
    ("headers", "status", "sentence"),
    [
        ({"Upload-Length": None}, 400, "Upload-Length"),
        ({"Upload-Length": None, "Upload-Defer-Length": "1"}, 400, "Upload-Length"),
        ({"Upload-Length": "0"}, 400, "no sealed file is shorter"),
        ({"Upload-Length": "-5"}, 400, "Upload-Length"),
        ({"Upload-Length": str(GIB + 1)}, 413, "quota"),
        ({"Upload-Length": "9" * 18}, 413, "quota"),
        ({"Upload-Length": "9" * 19}, 400, "Upload-Length"),
        ({"Upload-Metadata": None}, 400, "sha256"),
        ({"Upload-Metadata": ""}, 400, "sha256"),
        ({"Upload-Metadata": "sha256 x"}, 400, "malformed"),
        ({"Upload-Metadata": "filename bmV0"}, 400, "sha256"),
        ({"Upload-Metadata": metadata_of(DATA) + ",x " + "A" * 5000}, 400, "too long"),
        ({"Inferonnx-Owner": None}, 401, "signature"),
        ({"Inferonnx-Owner": "owner=x"}, 400, ""),
    ],
)
def test_announcements_that_are_refused(site, headers, status, sentence):
    refused(site.announce(**headers), status, sentence)
    assert site.incoming == []
    assert len(site.uploads) == 0


def test_only_the_owner_announces(site):
    for signature in (
        site.signed(DATA, seed=OTHER_SEED, owner=OTHER_OWNER),
        site.signed(DATA, seed=OTHER_SEED, owner=OWNER),
        site.signed(DATA, version=2),
        site.signed(DATA, name="other"),
        site.signed(DATA, action=Action.DELETE),
    ):
        refused(site.announce(**signature), 403, "")
    signature = site.signed(DATA)
    assert site.announce(**signature).status == 201
    refused(site.announce(**signature), 401, "nonce")
    assert len(site.uploads) == 1


@pytest.mark.parametrize("name", [".hidden", "a%2Fb", "..", "%00", "n" * 129, "a%20b"])
def test_names_that_are_none(site, name):
    headers = {**TUS, "Upload-Length": "5000", "Upload-Metadata": metadata_of(DATA)}
    reply = site.ask("POST", creation(name), headers)
    assert reply.status in (400, 404)
    assert site.incoming == []


def test_a_version_that_is_there_is_409(site):
    path = site.create()
    site.patch(path, DATA)
    refused(site.announce(make_file(1)), 409, "none is ever replaced")
    reply = site.announce(make_file(1), version=0)
    assert (reply.status, reply.headers["Inferonnx-Version"]) == (201, "2")


def test_a_name_of_another_owner_is_403(site):
    bring(site.repository, make_file(seed=OTHER_SEED))
    refused(site.announce(version=2), 403, "belongs to another owner")


@pytest.fixture
def unowned(site):
    """A site that will obey the first who comes."""
    site.ask("POST", "/inferonnx/v1/nonce")  # its parts are made with its first request
    site.context.owner = None
    site.context.config = dataclasses.replace(
        site.context.config, owner=None, owner_first_come=True
    )
    return site


def test_who_is_refused_is_not_the_first_who_came(unowned):
    bring(unowned.repository, make_file(seed=OTHER_SEED))
    refused(unowned.announce(version=2), 403, "belongs to another owner")
    assert unowned.context.owner is None
    refused(unowned.announce(), 409, "already")
    assert unowned.context.owner is None
    theirs = make_file(1, seed=OTHER_SEED)
    signature = unowned.signed(theirs, version=2, seed=OTHER_SEED, owner=OTHER_OWNER)
    assert unowned.announce(theirs, version=2, **signature).status == 201
    assert unowned.context.owner == OTHER_OWNER


def test_of_two_who_come_first_one_is_obeyed_and_nothing_stays_of_the_other(unowned, monkeypatch):
    create = unowned.uploads.create

    def overtaken(**announced):
        upload = create(**announced)
        unowned.context.owner = OTHER_OWNER
        return upload

    monkeypatch.setattr(unowned.uploads, "create", overtaken)
    refused(unowned.announce(), 403, "another owner has come first")
    assert unowned.context.owner == OTHER_OWNER
    assert len(unowned.uploads) == 0


def test_a_quota_that_is_used_up_is_507(make_site):
    site = make_site(quota_bytes=12_000)
    site.patch(site.create(), DATA)
    site.create(make_file(1), "net", 2)
    refused(site.announce(make_file(2), version=3), 507, "quota")


def test_too_many_uploads_are_503(make_site):
    site = make_site(max_uploads=1)
    site.create()
    reply = refused(site.announce(make_file(1)), 503, "too many")
    assert reply.headers["Retry-After"] == "60"


@pytest.mark.parametrize(
    ("data", "metadata", "model_id", "status", "sentence"),
    [
        (DATA, metadata_of(b"other"), None, 422, "SHA-256"),
        (DATA, metadata_of(DATA), bytes(32), 422, "another model"),
        (make_file(seed=OTHER_SEED), None, None, 403, "another owner"),
        (make_file(release=2), None, None, 422, "release is 2"),
        (DATA[:-1], None, None, 422, "damaged"),
        (b"x" * 5000, None, bytes(32), 422, "not a sealed file"),
    ],
    ids=["digest", "model", "owner", "release", "short", "other"],
)
def test_a_file_that_is_refused_at_its_end(site, data, metadata, model_id, status, sentence):
    signature = site.signed(data, model_id=model_id)
    headers = {
        **TUS,
        **signature,
        "Upload-Length": str(len(data)),
        "Upload-Metadata": metadata or metadata_of(data),
    }
    path = site.ask("POST", creation(), headers).headers["Location"]
    refused(site.patch(path, data), status, sentence)
    refused(site.patch(path, b"", len(data)), 410, sentence)
    assert site.ask("HEAD", path).status == 410
    assert site.incoming == []
    assert site.versions == []
    assert not (site.folder / "net").exists()


def test_a_disk_that_fills_up_is_507_and_keeps_nothing(site):
    data = make_file(n_bytes=WRITE_BYTES + 100_000)
    path, other = site.create(data), site.create(make_file(1), "other")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (WRITE_BYTES + 50_000, before[1]))
    try:
        refused(site.patch(path, data), 507, "the server's disk is full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert site.ask("HEAD", path).status == 410
    refused(site.patch(path, data, 0), 410, "disk was full")
    assert site.incoming == [f"{Path(other).name}", f"{Path(other).name}.json"]
    assert site.patch(other, make_file(1)).status == 204
    assert site.versions == [("other", 1)]


# Clients that break.


def until_offset(site, path, offset):
    until(lambda: site.uploads.find(Path(path).name).offset == offset)


@pytest.mark.parametrize("how", ["close", "reset", "half a record"])
def test_a_client_that_vanishes_finds_what_came(site, how):
    large = make_file(n_bytes=WRITE_BYTES * 2 + 100_000)
    path = site.create(large)
    sent = WRITE_BYTES + 50_000
    sock = site.begun(path, large[:sent], len(large))
    until(lambda: site.uploads.find(Path(path).name).offset >= WRITE_BYTES)
    if how == "reset":
        # No goodbye: what is in flight may be lost, and what has come must be whole.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how == "half a record":
        socket.socket.send(sock, b"\x17\x03\x03\x40\x00half")
    sock.close()
    if how == "reset":
        until(lambda: site.patch(path, b"", site.offset(path)).status == 204)
        assert WRITE_BYTES <= site.offset(path) <= sent
    else:
        until_offset(site, path, sent)
    file = site.folder / ".uploads" / Path(path).name / "model.sealed"
    offset = site.offset(path)
    assert file.read_bytes() == large[:offset]
    until(lambda: site.patch(path, b"", offset).status == 204)  # nobody holds it any more
    assert site.patch(path, large[offset:], offset).status == 204
    assert site.versions == [("net", 1)]
    until(lambda: site.ledger.used_bytes == 0)


def test_a_client_that_falls_silent_is_408_and_lets_go(site, monkeypatch):
    monkeypatch.setattr(endpoints_uploads, "SILENCE_S", 0.3)
    path = site.create()
    with site.begun(path, DATA[:1000]) as sock:
        reply = sock.recv(1000)
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"Tus-Resumable: 1.0.0" in reply
    assert site.offset(path) == 1000
    assert site.patch(path, DATA[1000:], 1000).status == 204


def test_a_second_patch_is_423_while_one_is_under_way(site):
    path = site.create()
    with site.begun(path, DATA[:1000]):
        until(lambda: site.ledger.used_bytes)
        reply = refused(site.patch(path, DATA), 423, "another request")
        assert reply.headers["Retry-After"] == "1"
        refused(site.ask("DELETE", path), 423, "another request")
    until_offset(site, path, 1000)


def test_a_malformed_body_keeps_what_came_before(site):
    path = site.create()
    sock = site.server.raw()
    head = (
        f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\n"
        f"Content-Type: {OFFSET_TYPE}\r\nUpload-Offset: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    sock.sendall(head.encode() + b"64\r\n" + DATA[:100] + b"\r\nnot a length\r\n")
    with sock:
        assert sock.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert site.offset(path) == 100


def test_a_refusal_comes_before_the_body(site):
    path = site.create()
    sock = site.server.raw()
    head = (
        f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\n"
        f"Content-Type: {OFFSET_TYPE}\r\nUpload-Offset: 7\r\nContent-Length: 5000\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    sock.sendall(head.encode())
    with sock:
        assert sock.recv(1000).startswith(b"HTTP/1.1 409 ")


def test_what_a_restart_left_unverified_is_verified_when_asked_for(site):
    upload = announced(DATA)
    put(site.repository, upload, DATA)
    wrong = announced(make_file(1), version=2, metadata=metadata_of(DATA))
    put(site.repository, wrong, make_file(1))
    site.repository.close()
    site.open()
    assert site.ask("HEAD", f"/inferonnx/v1/uploads/{'0' * 32}").status == 404
    assert site.versions == []
    assert site.offset(f"/inferonnx/v1/uploads/{upload.id}") == len(DATA)
    assert site.versions == [("net", 1)]
    statuses = [site.ask("HEAD", f"/inferonnx/v1/uploads/{wrong.id}").status for _ in range(2)]
    assert statuses == [422, 410]
    assert site.versions == [("net", 1)]


def test_many_ask_for_an_upload_that_is_being_verified(site):
    large = make_file(n_bytes=20_000_000)
    upload = announced(large)
    put(site.repository, upload, large)
    site.repository.close()
    site.open()
    statuses = []

    def ask():
        statuses.append(site.ask("HEAD", f"/inferonnx/v1/uploads/{upload.id}").status)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 5
    assert site.versions == [("net", 1)]


def test_requests_that_are_cut_off_at_any_moment_leave_whole_pieces(site):
    """The server ends connections while threads write: none may write to what is closed."""
    large = make_file(n_bytes=3_000_000)
    path = site.create(large)
    name = Path(path).name
    rng = random.Random(5)
    for _ in range(40):
        begin = site.uploads.find(name).offset
        piece = large[begin : begin + rng.randrange(1, WRITE_BYTES * 3)]
        sock = site.server.raw()
        head = (
            f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\n"
            f"Content-Type: {OFFSET_TYPE}\r\nUpload-Offset: {begin}\r\n"
            f"Content-Length: {len(large) - begin}\r\n\r\n"
        )
        sock.sendall(head.encode())
        sock.sendall(piece)
        time.sleep(rng.random() * 0.004)
        cut(site.server)
        sock.close()
        until(lambda: site.ledger.used_bytes == 0)
        offset = site.uploads.find(name).offset
        file = site.folder / ".uploads" / name / "model.sealed"
        assert file.stat().st_size == offset
        assert begin <= offset <= begin + len(piece)
        assert file.read_bytes() == large[:offset]
        if offset > 2_000_000:
            break
    assert site.patch(path, large[offset:], offset).status == 204
    assert site.versions == [("net", 1)]


def test_a_request_that_is_cut_off_keeps_its_upload_until_its_thread_is_done(site, monkeypatch):
    write, begun, may_go = Appender.write, threading.Event(), threading.Event()

    def write_slowly(appender, view):
        begun.set()
        may_go.wait(30)
        write(appender, view)

    monkeypatch.setattr(Appender, "write", write_slowly)
    large = make_file(n_bytes=WRITE_BYTES * 2)
    path = site.create(large)
    with site.begun(path, large[:WRITE_BYTES], len(large)):
        assert begun.wait(30)
        cut(site.server)
        time.sleep(0.1)
        assert site.ask("DELETE", path).status == 423  # what the thread writes to is its own
        may_go.set()
        until(lambda: site.ledger.used_bytes == 0)
    assert site.offset(path) == WRITE_BYTES
    assert site.patch(path, large[WRITE_BYTES:], WRITE_BYTES).status == 204
    assert (site.folder / "net" / "1" / "model.sealed").read_bytes() == large


def cut(server):
    """Cancel whatever is under way, as the end of a server does."""

    async def cancel():
        for connection, task in list(server.listener._connections.items()):
            if connection.idle_since is None:
                task.cancel()

    server.run(cancel())


def test_who_is_cancelled_waits_for_its_thread():
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        may_end.wait(30)
        ended.append(True)
        raise OSError("nobody is told")

    async def main():
        task = asyncio.create_task(_to_the_end(work))
        await asyncio.to_thread(begun.wait, 30)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.01)
            assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended

    asyncio.run(main())


def test_a_loop_that_ends_waits_for_its_threads():
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        may_end.wait(30)
        ended.append("thread")

    async def request():
        try:
            await _to_the_end(work)
        finally:
            ended.append("request")

    async def main():
        tasks.append(asyncio.create_task(request()))
        await asyncio.to_thread(begun.wait, 30)
        threading.Timer(0.05, may_end.set).start()

    tasks = []
    asyncio.run(main())
    assert ended == ["thread", "request"]


# Memory.


def test_an_upload_is_never_held(site, tmp_path):
    """A small file and a large one cost the same: one buffer, reserved before it is filled."""
    peaks = []
    for version, n_bytes in enumerate((2_000_000, 60_000_000), start=1):
        data = make_file(n_bytes=n_bytes)
        (tmp_path / "file").write_bytes(data)
        path = site.create(data, "net", version)
        del data
        before = reset_peak()
        with open(tmp_path / "file", "rb") as file:
            most = watch(site.ledger, lambda file=file, path=path: site.patch(path, file))
        assert most == WRITE_BYTES
        peaks.append(peak_bytes() - before)
    assert site.versions == [("net", 1), ("net", 2)]
    assert peaks[1] < peaks[0] + 2 * MIB


def watch(ledger, call):
    """Return the most that was reserved during a call."""
    most, done = 0, threading.Event()

    def run():
        call()
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    while not done.wait(0.0005):
        most = max(most, ledger.used_bytes)
    thread.join()
    return most


def reset_peak():
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): VmHWM begins anew
    return peak_bytes()


def peak_bytes():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise AssertionError


def test_without_memory_for_a_buffer_nothing_is_read(site):
    path = site.create()
    reservation = site.server.run(site.ledger.reserve(site.ledger.total_bytes - 1000))
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(site.patch(path, DATA).status))
    thread.start()
    until(lambda: site.ledger.n_waiting)
    assert site.uploads.find(Path(path).name).offset == 0
    site.server.loop.call_soon_threadsafe(reservation.release)
    thread.join()
    assert outcome == [204]


def test_the_log_has_the_code_and_not_the_id(site):
    path = site.create()
    site.patch(path, DATA, 5)
    until(lambda: len(site.server.notes.answers) == 3)
    details = site.server.notes.answers[-1][1].details
    assert details["code"] == "upload.offset"
    assert details["path"] == "/inferonnx/v1/uploads/{upload}"  # who knows the id may write


# Our own client, and other people's.


@pytest.mark.parametrize("is_cut", [False, True])
def test_inferonnx_pushes_whatever_breaks(site, sealed_cnn, key_path, monkeypatch, is_cut):
    monkeypatch.setattr(pushing, "PIECE_BYTES", 40_000)
    monkeypatch.setattr(pushing, "PAUSES_S", (0.01,) * 50)
    key, data = Key.load(key_path), sealed_cnn.read_bytes()
    site.ask("HEAD", "/")
    site.context.owner = key.owner.public_key
    cuts = []

    def progress(_done, _of):
        if is_cut:
            cuts.append(threading.Timer(0.001 * (len(cuts) % 4), cut, (site.server,)))
            cuts[-1].start()

    with inferonnx.Client(
        site.server.url, ca=site.server.ca, insecure_no_attestation=True
    ) as client:
        client.push(sealed_cnn, key=key, progress=progress)
    assert site.versions == [("cnn", 3)]
    assert (site.folder / "cnn" / "3" / "model.sealed").read_bytes() == data
    assert (len(cuts) > 5) == is_cut
    for timer in cuts:
        timer.join()


def curl(site, path, *options):
    headers = [o for name, value in TUS.items() for o in ("-H", f"{name}: {value}")]
    return site.server.curl(path, *headers, *options).stdout.decode()


def test_curl_pushes_a_file(site, sealed_cnn, key_path, tmp_path):
    data, key = sealed_cnn.read_bytes(), Key.load(key_path).owner
    site.ask("HEAD", "/")
    site.context.owner = key.public_key
    signature = site.signed(data, "cnn", 3, seed=key.signing_seed, owner=key.public_key)[
        "Inferonnx-Owner"
    ]
    created = curl(
        site,
        creation("cnn", 3),
        *("-X", "POST", "-i", "-H", f"Inferonnx-Owner: {signature}"),
        *("-H", f"Upload-Length: {len(data)}", "-H", f"Upload-Metadata: {metadata_of(data)}"),
    )
    assert created.startswith("HTTP/1.1 201 ")
    path = created.partition("Location: ")[2].split()[0]
    half = len(data) // 2
    for start, piece in ((0, data[:half]), (half, data[half:])):
        (tmp_path / "piece").write_bytes(piece)
        assert f"Upload-Offset: {start}" in curl(site, path, "-I")
        sent = curl(
            site,
            path,
            *("-X", "PATCH", "-i", "--data-binary", f"@{tmp_path / 'piece'}"),
            *("-H", f"Content-Type: {OFFSET_TYPE}", "-H", f"Upload-Offset: {start}"),
            *("-H", "Expect: 100-continue"),
        )
        assert "HTTP/1.1 204 " in sent
    assert site.versions == [("cnn", 3)]
    assert (site.folder / "cnn" / "3" / "model.sealed").read_bytes() == data


TUSPY = """
import sys
from tusclient.client import TusClient

url, owner, file, sha256, chunk, stop = sys.argv[1:]
client = TusClient(url, headers={"Inferonnx-Owner": owner})
uploader = client.uploader(file, chunk_size=int(chunk), metadata={"sha256": sha256})
uploader.upload(stop_at=int(stop))
print(uploader.url)
resumed = client.uploader(file, chunk_size=int(chunk), url=uploader.url)
assert resumed.offset == int(stop), resumed.offset
resumed.upload()
assert client.uploader(file, url=uploader.url).offset == resumed.get_file_size()
"""


def test_tuspy_pushes_and_resumes_unmodified(site, tmp_path):
    data = make_file(n_bytes=1_000_000)
    (tmp_path / "file").write_bytes(data)
    arguments = [
        site.server.url + creation(),
        site.signed(data)["Inferonnx-Owner"],
        str(tmp_path / "file"),
        hashlib.sha256(data).hexdigest(),
        *("300000", "600000"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", TUSPY, *arguments],
        env={**os.environ, "REQUESTS_CA_BUNDLE": str(site.server.ca)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert site.versions == [("net", 1)]
