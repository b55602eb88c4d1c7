"""A host that puts another file where a model was that its owner has unlocked."""

import asyncio
import os
from dataclasses import replace

import pytest

import inferonnx
from conftest import small_cnn
from inferonnx.app.host.serving import EngineOpener
from inferonnx.crypto import Secret, ed25519_public_key
from inferonnx.errors import (
    AuthenticationError,
    PinError,
    SealedFormatError,
    SignatureError,
    UsageError,
)
from inferonnx.sealed import HEADER_BYTES, encode_header, parse_header, verify_header
from inferonnx.sealed.header import sign_header
from inferonnx.server.pool import Pool
from inferonnx.tensors import as_tensor

HOST = Secret(bytes([9] * 32))
MODEL, OTHER = ("cnn", 1), ("other", 1)


@pytest.fixture(scope="module")
def key(key_path):
    return inferonnx.Key.load(key_path)


@pytest.fixture(scope="module")
def files(cnn, key, tmp_path_factory):
    """A model, another one of the same owner's, and the first sealed once more."""
    folder = tmp_path_factory.mktemp("files")
    other = small_cnn(folder / "other.onnx", classes=7)
    for name, model in (("cnn", cnn), ("other", other), ("again", cnn)):
        inferonnx.seal(
            model,
            folder / f"{name}.sealed",
            key=key,
            memory="8GiB",
            name=name.replace("again", "cnn"),
        )
    return {name: (folder / f"{name}.sealed").read_bytes() for name in ("cnn", "other", "again")}


def data_key_of(data, key):
    return key.data_key(verify_header(parse_header(data)))


def signed_by_the_host(data, **changes):
    """Return the same body under a header that the host has signed: as authentic as any."""
    header = replace(parse_header(data), owner=ed25519_public_key(HOST), **changes)
    return encode_header(sign_header(header, HOST).header) + data[HEADER_BYTES:]


def unsigned(data):
    header = replace(parse_header(data), signature=bytes(64))
    return encode_header(header) + data[HEADER_BYTES:]


def in_the_middle(data):
    changed = bytearray(data)
    changed[HEADER_BYTES + 100] ^= 1
    return bytes(changed)


FORGERIES = {
    "another model of the owner's": (lambda files: files["other"], PinError),
    "the same model, sealed once more": (lambda files: files["again"], PinError),
    "signed by the host": (lambda files: signed_by_the_host(files["cnn"]), PinError),
    "a later release, says the host": (
        lambda files: signed_by_the_host(files["cnn"], release=9),
        PinError,
    ),
    "not signed": (lambda files: unsigned(files["cnn"]), SignatureError),
    "cut short": (lambda files: files["cnn"][:-1], AuthenticationError),
    "no sealed file": (lambda files: b"\1" + files["cnn"][1:], SealedFormatError),
}


class Reopening:
    """A pool with room for one of two models: asking for one closes the other."""

    def __init__(self, folder, files, key):
        self.files, self.opener = files, EngineOpener(threads=1, spin=False)
        self.paths = {name: folder / f"{name}.sealed" for name in ("cnn", "other")}
        for name, path in self.paths.items():
            path.write_bytes(files[name])
        self.keys = {name: data_key_of(files[name], key) for name in self.paths}

    async def admitted(self):
        least = 0
        for name, path in self.paths.items():
            facts = self.opener.facts(str(path), self.keys[name], concurrency=1, n_rows=1)
            least = max(least, facts.least_bytes)
        self.pool = Pool(self.opener, total_bytes=least, concurrency=1, n_rows=1)
        for model in (MODEL, OTHER):
            await self.pool.admit(model, str(self.paths[model[0]]), self.keys[model[0]])

    async def answer(self, model, image):
        async with self.pool.lease(model) as opened:
            return bytes(opened.run({"image": as_tensor(image)})[0].data)

    def put(self, data):
        """Put a file in the place of the first model, as a rename does: at once."""
        new = self.paths["cnn"].with_suffix(".new")
        new.write_bytes(data)
        os.replace(new, self.paths["cnn"])


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_is_opened_again_is_what_was_unlocked(files, key, image, tmp_path, forgery):
    forged, error = FORGERIES[forgery]
    world = Reopening(tmp_path, files, key)

    async def attack():
        await world.admitted()
        before = await world.answer(MODEL, image)
        await world.answer(OTHER, image)
        assert world.pool.entry(MODEL).residency is None  # closed: its file is opened again
        world.put(forged(files))
        with pytest.raises(error):
            await world.answer(MODEL, image)
        world.put(files["cnn"])
        await asyncio.sleep(1.1)  # a model that can't be opened is not tried at once again
        assert await world.answer(MODEL, image) == before
        await world.pool.close()

    asyncio.run(attack())


def test_a_pipe_in_the_place_of_an_unlocked_model_keeps_nobody_waiting(files, key, image, tmp_path):
    world = Reopening(tmp_path, files, key)

    async def attack():
        await world.admitted()
        await world.answer(MODEL, image)
        await world.answer(OTHER, image)
        world.paths["cnn"].unlink()
        os.mkfifo(world.paths["cnn"])
        with pytest.raises(UsageError, match="no regular file"):
            await world.answer(MODEL, image)
        await world.answer(OTHER, image)  # models are opened one after another
        await world.pool.close()

    asyncio.run(attack())


def test_a_file_that_is_cut_short_while_it_is_open(files, key, image, tmp_path):
    world = Reopening(tmp_path, files, key)

    async def attack():
        await world.admitted()
        async with world.pool.lease(MODEL):
            os.truncate(world.paths["cnn"], HEADER_BYTES + 100)
        with pytest.raises(SealedFormatError, match="ends too early"):
            await world.answer(MODEL, image)  # its weights had not been read
        await world.answer(OTHER, image)
        await world.pool.close()

    asyncio.run(attack())


def test_an_open_model_reads_its_own_file(files, key, image, tmp_path):
    world = Reopening(tmp_path, files, key)

    async def attack():
        await world.admitted()
        before = await world.answer(MODEL, image)
        world.put(files["other"])
        assert await world.answer(MODEL, image) == before
        await world.pool.close()

    asyncio.run(attack())


def test_a_changed_weight_is_never_used(files, key, image, tmp_path):
    world = Reopening(tmp_path, files, key)

    async def attack():
        await world.admitted()
        world.put(in_the_middle(files["cnn"]))
        with pytest.raises(AuthenticationError):
            await world.answer(MODEL, image)
        await world.pool.close()

    asyncio.run(attack())
