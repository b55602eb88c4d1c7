"""A server that is killed while models come and go: old or new, whole, and nothing between.

A child process forks for each attempt, so that a hundred take seconds. The first
tests kill it before each system call of a change, one after the other; the last one
kills at random moments, from outside.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inferonnx.errors import InferonnxError
from inferonnx.oip import AlreadyExistsError
from inferonnx.server.repository import Repository
from inferonnx.server.uploads import Uploads
from sealed_files import OTHER_SEED, OWNER, announced, bring, make_file, put, tree

CHILD = """
import os, signal, sys, time
from inferonnx.oip import AlreadyExistsError
from inferonnx.server.repository import Repository
from inferonnx.server.uploads import Uploads
from sealed_files import announced, make_file

OLD, NEW = make_file(1), make_file(2, n_bytes=20_000)

def start(folder):
    repository = Repository(folder)
    return repository, Uploads(
        repository, quota_bytes=1 << 30, max_uploads=8, expiry_s=1000, clock_s=time.time
    )

def push(uploads, data, name, version):
    a = announced(data, name=name, version=version)
    upload = uploads.create(
        name=name, version=version, owner=a.owner, model_id=a.model_id, n_bytes=a.n_bytes,
        sha256=a.sha256, metadata=a.metadata,
    )
    send(uploads, upload, data)

def send(uploads, upload, data):
    while (offset := uploads.find(upload.id).offset) < len(data):
        appender = uploads.append(upload, offset)
        appender.write(memoryview(data)[offset : offset + 7000])
        appender.close()
    uploads.finish(upload)

def half(uploads):
    return next(iter(uploads._live.values())).upload

def push_version(folder):
    _, uploads = start(folder)
    push(uploads, NEW, "net", 2)

def push_name(folder):
    _, uploads = start(folder)
    push(uploads, OLD, "new", 1)

def resume(folder):
    _, uploads = start(folder)
    send(uploads, half(uploads), NEW)

def give_up(folder):
    _, uploads = start(folder)
    uploads.delete(half(uploads))

def expire(folder):
    _, uploads = start(folder)
    uploads._clock_s = lambda: time.time() + 2000
    uploads.expire()

def announce_again(folder):
    _, uploads = start(folder)
    push(uploads, NEW, "net", 2)

def remove(folder):
    repository, _ = start(folder)
    repository.remove("net", 1)

def restart(folder):
    start(folder)

def all_the_time(folder):
    repository, uploads = start(folder)
    while True:
        for data, name, version in ((NEW, "net", 2), (OLD, "new", 1)):
            try:
                push(uploads, data, name, version)
            except AlreadyExistsError:
                repository.remove(name, version)

def kill_at(number):
    calls = 0
    def profile(frame, event, function):
        nonlocal calls
        if event == "c_call" and function.__module__ == "posix":
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
    if number:
        sys.setprofile(profile)

for line in sys.stdin:
    scenario, folder, number = line.split()
    child = os.fork()
    if not child:
        kill_at(int(number))
        try:
            globals()[scenario](folder)
        except BaseException as error:
            sys.setprofile(None)
            sys.stderr.write(repr(error) + "\\n")
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""

OLD, NEW = make_file(1), make_file(2, n_bytes=20_000)
FILES = {("net", 1): OLD, ("net", 2): NEW, ("new", 1): OLD}


class Forks:
    """The child that forks."""

    def __init__(self):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def begin(self, scenario, folder, number=0):
        """Return the process that does it; it is killed before a system call of that number."""
        self.process.stdin.write(f"{scenario} {folder} {number}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def status(self):
        """Wait for it; return its exit code, negative for a signal."""
        return os.waitstatus_to_exitcode(int(self.process.stdout.readline()))


@pytest.fixture(scope="module")
def forks():
    found = Forks()
    yield found
    found.process.stdin.close()
    found.process.stdout.close()
    assert found.process.wait(30) == 0


class Server:
    """A new server over what was left."""

    def __init__(self, folder):
        self.repository = Repository(str(folder))
        self.uploads = Uploads(
            self.repository,
            quota_bytes=1 << 30,
            max_uploads=8,
            expiry_s=1000,
            clock_s=time.time,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.repository.close()

    @property
    def versions(self):
        return {(m.name, m.version) for m in self.repository.scan()}

    @property
    def half(self):
        return [live.upload for live in self.uploads._live.values()]

    def finish(self, upload):
        """Go on with an upload, as a client that comes back."""
        data = FILES[upload.name, upload.version]
        appender = self.uploads.append(upload, self.uploads.find(upload.id).offset)
        appender.write(memoryview(data)[appender.offset :])
        appender.close()
        self.uploads.finish(upload)


@pytest.fixture
def begin(memory_path):
    """Return what makes a folder with an old version, half an upload, and what a kill left."""
    template = memory_path / "template"
    with Server(template) as server:
        bring(server.repository, OLD)
        upload = announced(NEW, version=2)
        put(server.repository, upload, NEW[:9000])

    def make(scenario):
        folder = memory_path / "models"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder)
        if scenario == "push_version":
            shutil.rmtree(folder / ".uploads")
        if scenario == "restart":
            shutil.copytree(folder / "net" / "1", folder / ".trash" / "0123")
            shutil.copytree(folder / "net" / "1", folder / ".uploads" / "4567")
            (folder / ".uploads" / ".0123.part").touch()
        return folder

    return make


def assert_whole(folder, server):
    """Nothing is there but whole versions, their owners, and beginnings of files."""
    for stored in server.repository.scan():
        assert stored.problem == ""
        assert Path(stored.path).read_bytes() == FILES[stored.name, stored.version]
        assert (folder / stored.name / "owner").read_text() == OWNER.hex() + "\n"
    versions, half = server.versions, server.half
    assert set(tree(folder)) == {
        ".lock",
        *(f"{name}/{version}/model.sealed" for name, version in versions),
        *(str(path.relative_to(folder)) for path in folder.glob("*/owner")),
        *(f".uploads/{upload.id}/model.sealed" for upload in half),
        *(f".uploads/{upload.id}.json" for upload in half),
        *(f".uploads/{name}.json" for name in server.uploads._ends._installed),
    }
    assert os.listdir(folder / ".trash") == []
    for path in folder.glob("*/owner"):
        assert path.read_text() == OWNER.hex() + "\n"
    for upload in half:
        come = (folder / ".uploads" / upload.id / "model.sealed").read_bytes()
        assert FILES[upload.name, upload.version].startswith(come)
        assert len(come) == server.uploads.find(upload.id).offset
    for upload, _ in server.uploads._ends._installed.values():
        assert (upload.name, upload.version) in versions
    assert server.repository.used_bytes() == sum(len(FILES[key]) for key in versions)


SCENARIOS = {
    # scenario: what is there if it comes to its end, and how many halves stay
    "push_version": ({("net", 1), ("net", 2)}, 0),
    "push_name": ({("net", 1), ("new", 1)}, 1),
    "resume": ({("net", 1), ("net", 2)}, 0),
    "announce_again": ({("net", 1), ("net", 2)}, 0),
    "give_up": ({("net", 1)}, 0),
    "expire": ({("net", 1)}, 0),
    "remove": (set(), 1),
    "restart": ({("net", 1)}, 1),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_kill_before_any_system_call(forks, begin, scenario):
    expected, n_half = SCENARIOS[scenario]
    n_kills = 0
    while True:
        folder = begin(scenario)
        forks.begin(scenario, folder, n_kills + 1)
        status = forks.status()
        with Server(folder) as server:
            assert_whole(folder, server)
            versions = server.versions
            if status == 0:
                assert (versions, len(server.half)) == (expected, n_half)
                break
            assert status == -signal.SIGKILL
            assert versions in ({("net", 1)}, expected)
            for upload in server.half:  # every client goes on
                server.finish(upload)
            assert_whole(folder, server)
            assert server.half == []
        n_kills += 1
    assert n_kills > 10


def test_kills_at_random_moments(forks, begin):
    """Models come and go all the time, until they don't; the next server takes over."""
    rng = random.Random(3)
    folder = begin("push_name")
    seen, n_resumed = set(), 0
    for _ in range(60):
        child = forks.begin("all_the_time", folder)
        time.sleep(rng.random() * 0.05)
        os.kill(child, signal.SIGKILL)
        assert forks.status() == -signal.SIGKILL
        with Server(folder) as server:
            assert_whole(folder, server)
            assert ("net", 1) in server.versions
            seen.add(frozenset(server.versions))
            for upload in server.half:
                try:
                    server.finish(upload)
                    n_resumed += 1
                except AlreadyExistsError:
                    assert (upload.name, upload.version) in server.versions
            assert_whole(folder, server)
    assert len(seen) > 1
    assert n_resumed


def test_a_name_stays_its_owners_after_any_kill(forks, begin):
    for number in range(1, 200):
        folder = begin("push_name")
        forks.begin("push_name", folder, number)
        status = forks.status()
        with Server(folder) as server:
            if (folder / "new").exists():
                with pytest.raises(InferonnxError, match=r"another owner|is ever replaced"):
                    bring(server.repository, make_file(5, seed=OTHER_SEED), name="new")
        if status == 0:
            break
    else:
        pytest.fail("it never came to its end")
