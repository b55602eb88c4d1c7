"""Push against a small tus server that breaks where a test says so."""

import base64
import hashlib
import json
import os

import h11
import pytest

from inferonnx.client import push as pushing
from inferonnx.client.channel import ConnectionLostError
from inferonnx.client.push import Push, push
from inferonnx.client.replies import ModelRefusedError
from inferonnx.control import Action, NonceBook, parse_owner_header, verify_owner_request
from inferonnx.crypto import Secret
from inferonnx.errors import UnavailableError
from inferonnx.oip import (
    AlreadyExistsError,
    BadReplyError,
    BusyError,
    InvalidRequestError,
    StorageFullError,
)
from inferonnx.sealed import OwnerKey

MODEL_ID = bytes(range(32))
KEY = OwnerKey.from_secrets(wrap_secret=Secret(bytes(32)), signing_seed=Secret(b"s" * 32))


class File:
    """A sealed file's bytes."""

    def __init__(self, content):
        self.content, self.size = content, len(content)

    def read(self, offset, n_bytes):
        return bytearray(self.content[offset : offset + n_bytes])


class Book:
    def __init__(self):
        self.kept = {}

    def find(self, what):
        return self.kept.get(what)

    def keep(self, what, upload):
        self.kept[what] = upload

    def forget(self, what):
        self.kept.pop(what, None)


class Tus:
    """What a server keeps of uploads; `moods` say what happens to its n-th PATCH."""

    def __init__(self, certificate_hash, *moods):
        self.hash, self.moods = certificate_hash, list(moods)
        self.nonces = NonceBook(Secret(os.urandom(32)))
        self.uploads, self.done, self.announced, self.paths = {}, [], [], []
        self.n_heads = 0

    def __call__(self, link):
        while True:
            if link.http.our_state is h11.DONE:
                link.http.start_next_cycle()
            head = link.event()
            if not isinstance(head, h11.Request):
                return
            method, path = head.method.decode(), head.target.decode()
            headers = {name.decode(): value.decode() for name, value in head.headers}
            self.paths.append(f"{method} {path}")
            if method == "PATCH":
                self.patch(link, path.split("/")[-1], headers)
                continue
            while not isinstance(link.event(), h11.EndOfMessage):
                pass
            if method == "HEAD":
                self.head(link, path.split("/")[-1])
            elif path.endswith("/nonce"):
                nonce = self.nonces.issue(100, os.urandom(12))
                link.reply(200, json.dumps({"nonce": nonce.hex()}).encode())
            else:
                self.create(link, path, headers)

    def create(self, link, path, headers):
        _, _, _, _, name, _, version, _ = path.split("/")
        verify_owner_request(
            parse_owner_header(headers["inferonnx-owner"]),
            action=Action.PUSH,
            server_key_hash=self.hash,
            name=name,
            version=0 if version == "next" else int(version),
            model_id=MODEL_ID,
            owner=KEY.public_key,
            nonces=self.nonces,
            now_s=100,
        )
        assert headers["tus-resumable"] == "1.0.0"
        kind, _, value = headers["upload-metadata"].partition(" ")
        upload = f"upload{len(self.uploads)}"
        self.uploads[upload] = bytearray()
        self.announced.append((kind, base64.b64decode(value), int(headers["upload-length"])))
        link.reply(
            201,
            Location=f"/inferonnx/v1/uploads/{upload}",
            Inferonnx_Version="4" if version == "next" else version,
        )

    def head(self, link, upload):
        self.n_heads += 1
        if upload not in self.uploads:
            link.reply(404)
        else:
            link.reply(200, Upload_Offset=str(len(self.uploads[upload])))

    def patch(self, link, upload, headers):
        mood = self.moods.pop(0) if self.moods else None
        assert headers["content-type"] == "application/offset+octet-stream"
        kept, offset = self.uploads[upload], int(headers["upload-offset"])
        if offset != len(kept):
            while not isinstance(link.event(), h11.EndOfMessage):
                pass
            link.reply(409, b'{"error":"the upload is elsewhere"}')
            return
        most = mood[1] if isinstance(mood, tuple) else 1 << 62
        while not isinstance(event := link.event(), h11.EndOfMessage):
            kept += event.data[: max(0, offset + most - len(kept))]
            if len(kept) == offset + most:
                link.cut()
                raise OSError("cut, as the test wants")
        if mood == "lost":
            link.cut()
            raise OSError("cut, as the test wants")
        if isinstance(mood, int):
            del kept[offset:]
            link.reply(mood, b'{"error":"some sentence"}')
            return
        if mood == "still":
            link.reply(204, Upload_Offset=str(offset))
            return
        if len(kept) == self.announced[-1][2]:
            self.done.append(bytes(self.uploads.pop(upload)))
            if mood == "lost at the end":
                link.cut()
                raise OSError("cut, as the test wants")
            if mood == "refused at the end":
                link.reply(409, b'{"error":"this version is there already"}')
                return
        link.reply(204, Upload_Offset=str(len(kept)))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Small pieces and short pauses, so that a small file takes many of both."""
    monkeypatch.setattr(pushing, "PIECE_BYTES", 1000)
    monkeypatch.setattr(pushing, "PAUSES_S", (0.01,) * 4)


CONTENT = bytes(range(256)) * 14  # three pieces and a half


def what(content=CONTENT, **fields):
    return Push(
        **(
            {
                "source": File(content),
                "sha256": hashlib.sha256(content).digest(),
                "model_id": MODEL_ID,
                "name": "resnet",
                "version": 0,
                "key": KEY,
            }
            | fields
        )
    )


def test_a_file_arrives_in_pieces_and_progress_is_told(serve, connect, certificate):
    service = Tus(certificate.hash)
    told = []
    server = serve(service)
    version = connect(server).perform(push(what(progress=lambda *n: told.append(n))))
    assert version == 4
    assert service.done == [CONTENT]
    digest = hashlib.sha256(CONTENT).hexdigest().encode()
    assert service.announced == [("sha256", digest, len(CONTENT))]
    assert [n for n, _ in told] == [0, 1000, 2000, 3000, 3584]
    assert {total for _, total in told} == {3584}
    assert server.n_connections == 1


def test_a_version_is_asked_for(serve, connect, certificate):
    service = Tus(certificate.hash)
    assert connect(serve(service)).perform(push(what(version=9))) == 9
    assert "POST /inferonnx/v1/models/resnet/versions/9/uploads" in service.paths


@pytest.mark.parametrize(
    "moods",
    [
        [("cut", 400)],
        [None, ("cut", 0), ("cut", 1)],
        [("cut", 900), ("cut", 900), ("cut", 900)],
        ["lost"],
        [None, None, None, "lost"],
        [503],
        [None, None, None, 503, 503, 503],
        [409],
    ],
    ids=repr,
)
def test_whatever_breaks_it_goes_on_from_there(serve, connect, certificate, moods):
    service = Tus(certificate.hash, *moods)
    assert connect(serve(service)).perform(push(what())) == 4
    assert service.done == [CONTENT]
    assert len(service.announced) == 1
    assert service.n_heads == len(moods) - moods.count(None)


def test_without_progress_it_is_given_up(serve, connect, certificate):
    service = Tus(certificate.hash, None, *[503] * 20)
    with pytest.raises(BusyError, match="some sentence"):
        connect(serve(service)).perform(push(what()))
    assert service.n_heads == len(pushing.PAUSES_S)


def test_a_server_that_does_not_come_back(serve, connect, certificate):
    service = Tus(certificate.hash, ("cut", 100))

    def away(link):
        link.request()
        link.cut()

    with pytest.raises(ConnectionLostError):
        connect(serve(service, away)).perform(push(what()))


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, InvalidRequestError), (422, ModelRefusedError), (507, StorageFullError)],
)
def test_a_refusal_is_final(serve, connect, certificate, status, error):
    service = Tus(certificate.hash, None, status)
    with pytest.raises(error, match="some sentence"):
        connect(serve(service)).perform(push(what()))
    assert service.n_heads == 0


def test_a_refusal_of_the_whole_file_is_the_servers_sentence(serve, connect, certificate):
    service = Tus(certificate.hash, None, None, None, "refused at the end")
    with pytest.raises(AlreadyExistsError, match="this version is there already"):
        connect(serve(service)).perform(push(what()))


def test_an_end_that_nobody_saw_is_told_as_such(serve, connect, certificate):
    service = Tus(certificate.hash, None, None, None, "lost at the end")
    with pytest.raises(UnavailableError, match="while the server verified") as caught:
        connect(serve(service)).perform(push(what()))
    assert "inferonnx list" in caught.value.hint


def test_a_server_that_takes_nothing_is_no_endless_loop(serve, connect, certificate):
    service = Tus(certificate.hash, "still")
    with pytest.raises(BadReplyError, match="not in order"):
        connect(serve(service)).perform(push(what()))


def test_the_next_process_goes_on_where_a_book_keeps_the_upload(serve, connect, certificate):
    service = Tus(certificate.hash, None, *[503] * 5)
    client, book = connect(serve(service)), Book()
    with pytest.raises(BusyError):
        client.perform(push(what(book=book)))
    assert list(book.kept.values()) == ["upload0 4"]
    service.moods = []
    told = []
    assert client.perform(push(what(book=book, progress=lambda *n: told.append(n[0])))) == 4
    assert told[0] == 1000
    assert service.done == [CONTENT]
    assert len(service.announced) == 1
    assert not book.kept


def test_an_upload_that_has_expired_begins_again(serve, connect, certificate):
    service = Tus(certificate.hash)
    book = Book()
    book.keep(what().what, "uploadX 4")
    assert connect(serve(service)).perform(push(what(book=book))) == 4
    assert service.done == [CONTENT]


def test_another_file_name_or_server_is_another_upload():
    pushes = [
        what(),
        what(content=b"other"),
        what(name="b"),
        what(version=2),
        what(url="https://b"),
    ]
    assert len({each.what for each in pushes}) == len(pushes)


@pytest.mark.parametrize("location", ["", "/uploads/", "/uploads/a b", "/uploads/..", "x" * 200])
def test_a_place_that_is_none_is_refused(serve, connect, certificate, location):
    service = Tus(certificate.hash)
    service.create = lambda link, path, headers: link.reply(201, Location=location)
    with pytest.raises(BadReplyError, match="does not say where"):
        connect(serve(service)).perform(push(what()))


@pytest.mark.parametrize("offset", ["", "-1", "x", "99999"])
def test_an_offset_that_is_none_is_refused(serve, connect, certificate, offset):
    service = Tus(certificate.hash, ("cut", 10))
    service.head = lambda link, upload: link.reply(200, Upload_Offset=offset)
    with pytest.raises(BadReplyError, match="how much of the file"):
        connect(serve(service)).perform(push(what()))


def test_nothing_of_the_key_leaves(serve, connect, certificate):
    service = Tus(certificate.hash)
    server = serve(service)
    pushed = what()
    connect(server).perform(push(pushed))
    assert "Secret(<32 bytes>)" in repr(pushed)  # and nothing of what it holds
    assert repr(b"s" * 32)[2:-1] not in repr(pushed)
