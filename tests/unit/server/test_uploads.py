"""Uploads: one owner's word, one writer at a time, restarts in between, nothing half kept."""

import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inferonnx.control.names import MAX_VERSION
from inferonnx.errors import (
    AuthenticationError,
    InferonnxError,
    ModelNameError,
    OwnerRefusedError,
    PinError,
    UnavailableError,
    UploadEndedError,
    UploadLockedError,
    UploadOffsetError,
)
from inferonnx.oip import (
    AlreadyExistsError,
    BusyError,
    InvalidRequestError,
    NotFoundError,
    StorageFullError,
    TooLargeError,
)
from inferonnx.sealed import HEADER_BYTES
from inferonnx.server.repository import Repository
from inferonnx.server.upload_ends import MOST_REMEMBERED
from inferonnx.server.uploads import Uploads
from inferonnx.sizes import GIB
from sealed_files import (
    OTHER_OWNER,
    OTHER_SEED,
    OWNER,
    announced,
    bring,
    make_file,
    put,
    tree,
)

DATA = make_file()
DAY_S = 86_400
T0 = float(int(time.time()))  # files get the disk's time


class Host:
    """A repository with its uploads, that can be started again."""

    def __init__(self, folder, **limits):
        self.folder = Path(folder)
        self.limits = {"quota_bytes": GIB, "max_uploads": 8, "expiry_s": DAY_S} | limits
        self.now = T0
        self.start()

    def start(self):
        self.repository = Repository(str(self.folder))
        self.uploads = Uploads(self.repository, clock_s=lambda: self.now, **self.limits)

    def stop(self):
        self.repository.close()

    def restart(self):
        self.stop()
        self.start()

    def create(self, data=DATA, **changed):
        upload = announced(data, **changed)
        return self.uploads.create(
            name=upload.name,
            version=upload.version,
            owner=upload.owner,
            model_id=upload.model_id,
            n_bytes=upload.n_bytes,
            sha256=upload.sha256,
            metadata=upload.metadata,
        )

    def send(self, upload, piece):
        appender = self.uploads.append(upload, self.offset(upload))
        try:
            appender.write(memoryview(piece))
        finally:
            appender.close()

    def offset(self, upload):
        return self.uploads.find(upload.id).offset

    def push(self, data=DATA, **changed):
        upload = self.create(data, **changed)
        self.send(upload, data)
        return self.uploads.finish(upload)

    @property
    def names(self):
        return [(m.name, m.version) for m in self.repository.scan() if not m.problem]

    @property
    def incoming(self):
        return sorted(os.listdir(self.folder / ".uploads"))


@pytest.fixture
def make_host(tmp_path):
    made = []

    def make(**limits):
        made.append(Host(tmp_path / "models", **limits))
        return made[-1]

    yield make
    for host in made:
        host.stop()


@pytest.fixture
def host(make_host):
    return make_host()


def assert_over(host, upload, reason):
    """The upload ended, says why, and left nothing."""
    for call in (host.uploads.find, host.send, host.uploads.finish, host.uploads.delete):
        with pytest.raises(UploadEndedError, match=reason):
            call(*{"find": (upload.id,), "send": (upload, b"x")}.get(call.__name__, (upload,)))
    assert not any(entry.startswith(upload.id) for entry in host.incoming)
    assert upload.version not in {v for _, v in host.names}


# The way of one upload.


def test_an_upload_becomes_a_model(host):
    upload = host.create()
    assert host.uploads.find(upload.id) == (upload, 0, T0 + DAY_S, False)
    for at in range(0, len(DATA), 999):
        assert host.offset(upload) == at
        host.send(upload, DATA[at : at + 999])
    stored = host.uploads.finish(upload)
    assert (stored.name, stored.version, stored.problem) == ("net", 1, "")
    assert Path(stored.path).read_bytes() == DATA
    assert host.uploads.find(upload.id) == (upload, len(DATA), T0 + DAY_S, True)
    assert len(host.uploads) == 0
    assert sorted(tree(host.folder / "net")) == ["1/model.sealed", "owner"]


def test_a_file_of_the_command_line(host, sealed_cnn):
    stored = host.push(sealed_cnn.read_bytes(), name="cnn", version=3)
    assert stored.problem == ""
    assert host.names == [("cnn", 3)]


def test_an_upload_survives_restarts_between_any_pieces(host):
    upload = host.create()
    for at in range(0, len(DATA), 1700):
        host.restart()
        assert host.uploads.find(upload.id)[:2] == (upload, at)
        host.send(upload, DATA[at : at + 1700])
    host.restart()  # all has come, and nobody has verified it
    assert host.uploads.find(upload.id)[:2] == (upload, len(DATA))
    assert host.names == []
    host.uploads.finish(upload)
    host.restart()
    assert host.names == [("net", 1)]
    assert host.uploads.find(upload.id).is_installed  # a client whose reply was lost can ask


def test_another_piece_than_the_next_is_refused(host):
    upload = host.create()
    host.send(upload, DATA[:100])
    for offset in (0, 99, 101, len(DATA), 10**17):
        with pytest.raises(UploadOffsetError, match=f"is at 100, not at {offset}"):
            host.uploads.append(upload, offset)
    assert host.offset(upload) == 100
    host.send(upload, DATA[100:])


def test_two_writers_at_once(host):
    upload = host.create()
    first = host.uploads.append(upload, 0)
    for call in (host.uploads.finish, host.uploads.delete, lambda u: host.uploads.append(u, 0)):
        with pytest.raises(UploadLockedError, match="another request"):
            call(upload)
    first.write(memoryview(DATA)[:10])
    assert host.offset(upload) == 10  # whoever asks may know
    first.close()
    second = host.uploads.append(upload, 10)
    second.write(memoryview(DATA)[10:])
    second.close()
    host.uploads.finish(upload)


def test_an_upload_is_not_finished_before_its_end(host):
    upload = host.create()
    host.send(upload, DATA[:-1])
    with pytest.raises(UploadOffsetError, match="not complete"):
        host.uploads.finish(upload)
    host.send(upload, DATA[-1:])
    host.uploads.finish(upload)


def test_surplus_bytes_are_not_taken(host):
    upload = host.create()
    host.send(upload, DATA[:-1])
    with pytest.raises(TooLargeError):
        host.send(upload, DATA[-1:] + b"x")
    host.send(upload, DATA[-1:])
    host.uploads.finish(upload)


def test_an_upload_is_given_up(host):
    upload = host.create()
    host.send(upload, DATA)
    host.uploads.delete(upload)
    assert_over(host, upload, "gave it up")
    assert host.incoming == []


def test_a_model_is_not_given_up_by_its_upload(host):
    upload = host.create()
    host.send(upload, DATA)
    host.uploads.finish(upload)
    with pytest.raises(UploadEndedError, match="has become a model"):
        host.uploads.delete(upload)
    assert host.names == [("net", 1)]


@pytest.mark.parametrize("name", ["", "0" * 32, "../net", "0" * 31, "\0", "ä" * 32])
def test_an_upload_that_never_was(host, name):
    with pytest.raises(NotFoundError):
        host.uploads.find(name)


# What is refused at the end, and leaves nothing.


@pytest.mark.parametrize(
    ("data", "changed", "error", "reason"),
    [
        (DATA, {"sha256": bytes(32)}, PinError, "SHA-256"),
        (DATA, {"model_id": bytes(32)}, PinError, "another model"),
        (make_file(seed=OTHER_SEED), {"owner": OWNER}, OwnerRefusedError, "another owner"),
        (make_file(release=2), {}, PinError, "release is 2"),
        (DATA[:-1], {}, AuthenticationError, "damaged"),
        (DATA + b"x", {}, AuthenticationError, "damaged"),
    ],
    ids=["digest", "model", "owner", "release", "short", "long"],
)
def test_a_file_that_is_refused_leaves_nothing(host, data, changed, error, reason):
    upload = host.create(data, **changed)
    host.send(upload, data)
    with pytest.raises(error, match=reason):
        host.uploads.finish(upload)
    assert_over(host, upload, reason)
    assert host.incoming == []
    assert host.names == []
    assert not (host.folder / "net").exists()


def test_a_version_that_was_taken_meanwhile(host):
    upload = host.create()
    host.send(upload, DATA)
    bring(host.repository, make_file(1))
    with pytest.raises(AlreadyExistsError):
        host.uploads.finish(upload)
    assert host.incoming == []
    assert host.names == [("net", 1)]


def test_a_disk_that_fails_for_a_moment_ends_nothing(host):
    upload = host.create()
    host.send(upload, DATA)
    path = host.folder / ".uploads" / upload.id / "model.sealed"
    path.rename(host.folder / "away")
    path.mkdir()
    with pytest.raises(UnavailableError):
        host.uploads.finish(upload)
    path.rmdir()
    (host.folder / "away").rename(path)
    host.uploads.finish(upload)
    assert host.names == [("net", 1)]


@pytest.mark.parametrize("n_bytes", [10, len(DATA)])
@pytest.mark.parametrize("what", ["model.sealed", ""], ids=["file", "folder"])
def test_an_upload_whose_file_is_gone_is_over(host, n_bytes, what):
    """Else its client would try again until it expires, and each time put that off."""
    upload = host.create()
    host.send(upload, DATA[:n_bytes])
    (host.folder / ".uploads" / upload.id / what).rename(host.folder / "away")
    with pytest.raises(UploadEndedError, match="lost the file"):
        host.send(upload, DATA[n_bytes:]) if n_bytes < len(DATA) else host.uploads.finish(upload)
    assert_over(host, upload, "server's disk has lost the file")
    assert host.push().problem == ""


# What is refused at once.


def test_what_is_refused_before_a_byte_is_sent(host):
    bring(host.repository, DATA)
    for error, changed in (
        (ModelNameError, {"name": "../net"}),
        (InvalidRequestError, {"n_bytes": HEADER_BYTES - 1, "version": 2}),
        (TooLargeError, {"n_bytes": GIB + 1, "version": 2}),
        (StorageFullError, {"n_bytes": GIB, "version": 2}),
        (AlreadyExistsError, {"version": 1}),
        (OwnerRefusedError, {"version": 2, "owner": OTHER_OWNER}),
    ):
        with pytest.raises(error):
            host.create(**changed)
    assert len(host.uploads) == 0
    assert host.incoming == []


def test_the_quota_counts_models_and_what_was_announced(make_host):
    host = make_host(quota_bytes=15_000)
    host.push()
    first = host.create(make_file(1), version=2)
    second = host.create(make_file(2), version=3)
    with pytest.raises(StorageFullError, match="quota"):
        host.create(make_file(3, n_bytes=HEADER_BYTES + 100), version=4)
    host.uploads.delete(first)
    host.send(second, make_file(2))
    host.create(make_file(3), version=4)
    host.uploads.finish(second)
    with pytest.raises(StorageFullError, match="quota"):
        host.create(make_file(4), version=5)
    host.restart()
    with pytest.raises(StorageFullError, match="quota"):
        host.create(make_file(4), version=5)
    host.repository.remove("net", 1)
    host.create(make_file(4), version=5)


def test_what_the_disk_can_not_hold_is_refused_at_once(make_host, tmp_path):
    disk = os.statvfs(tmp_path)
    free = disk.f_bavail * disk.f_frsize
    host = make_host(quota_bytes=1 << 60)
    half = free // 2 + (64 << 20)
    host.create(n_bytes=half)
    with pytest.raises(StorageFullError, match="disk has no room"):
        host.create(make_file(1), n_bytes=half, version=2)


def test_uploads_have_a_number_at_one_time(make_host):
    host = make_host(max_uploads=2)
    uploads = [host.create(make_file(n), version=n + 1) for n in range(2)]
    with pytest.raises(BusyError) as caught:
        host.create(make_file(2), version=3)
    assert caught.value.retry_after_s > 0
    host.uploads.delete(uploads[0])
    host.create(make_file(2), version=3)


# Versions.


def test_the_next_version_is_neither_there_nor_announced(host):
    host.push()
    first = host.create(make_file(1), version=0)
    second = host.create(make_file(2), version=0)
    other = host.create(make_file(3), version=0, name="other")
    assert (first.version, second.version, other.version) == (2, 3, 1)
    for upload, number in ((second, 2), (first, 1)):
        host.send(upload, make_file(number))
        host.uploads.finish(upload)
    assert host.names == [("net", 1), ("net", 2), ("net", 3)]


def test_after_the_highest_version_there_is_no_next(host):
    host.push(version=MAX_VERSION)
    with pytest.raises(AlreadyExistsError, match="highest"):
        host.create(make_file(1), version=0)
    host.create(make_file(1), version=5)


@pytest.mark.parametrize("version", [0, 1])
def test_an_announcement_of_the_same_file_ends_the_one_that_was_lost(host, version):
    first = host.create(version=version)
    host.send(first, DATA[:1000])
    second = host.create(version=version)
    assert (second.version, host.offset(second)) == (first.version, 0)
    with pytest.raises(UploadEndedError, match="announced again"):
        host.uploads.find(first.id)
    assert len(host.uploads) == 1


def test_an_upload_that_is_written_to_is_not_lost(host):
    first = host.create()
    appender = host.uploads.append(first, 0)
    second = host.create()
    appender.write(memoryview(DATA))
    appender.close()
    assert len(host.uploads) == 2
    host.uploads.finish(first)
    host.send(second, DATA)
    with pytest.raises(AlreadyExistsError):
        host.uploads.finish(second)


def test_other_files_versions_and_names_end_nothing(host):
    uploads = [
        host.create(),
        host.create(make_file(1)),
        host.create(version=2),
        host.create(name="other"),
    ]
    assert len(host.uploads) == len(uploads)


# Time.


def test_an_upload_that_nobody_goes_on_with_expires(host):
    upload = host.create()
    host.now += DAY_S - 1
    host.send(upload, DATA[:10])
    host.now += DAY_S - 1
    assert host.uploads.find(upload.id).expires_s == host.now + 1
    host.now += 1
    with pytest.raises(UploadEndedError, match="in time"):
        host.uploads.find(upload.id)
    assert len(host.incoming) == 2  # to look removes nothing
    host.uploads.expire()
    assert_over(host, upload, "in time")
    assert host.incoming == []


def test_a_clock_that_was_ahead_makes_no_upload_live_longer(make_host):
    host = make_host(quota_bytes=len(DATA))
    host.now += 80 * 365 * DAY_S
    upload = host.create()
    host.send(upload, DATA[:10])
    host.now = T0
    host.uploads.expire()  # looked for every minute
    assert host.offset(upload) == 10
    host.now += DAY_S
    host.create(make_file(1), version=2)  # there is room for one
    assert_over(host, upload, "in time")


def test_a_new_announcement_clears_what_has_expired(make_host):
    host = make_host(max_uploads=1)
    host.create()
    host.now += DAY_S
    host.create(make_file(1), version=2)
    assert len(host.uploads) == 1


def test_an_upload_that_is_written_to_does_not_expire(host):
    upload = host.create()
    appender = host.uploads.append(upload, 0)
    host.now += 2 * DAY_S
    host.uploads.expire()
    assert host.uploads.find(upload.id).offset == 0
    appender.write(memoryview(DATA))
    host.now += 2 * DAY_S
    appender.close()
    host.uploads.finish(upload)
    assert host.names == [("net", 1)]


def test_time_goes_on_while_the_server_is_down(host):
    half, other = host.create(), host.create(make_file(1), version=2)
    for upload, age_s in ((half, DAY_S - 10), (other, DAY_S + 1)):
        path = host.folder / ".uploads" / upload.id / "model.sealed"
        os.utime(path, (T0 - age_s, T0 - age_s))
    host.restart()
    assert host.uploads.find(half.id).expires_s == T0 + 10
    with pytest.raises(UploadEndedError):
        host.uploads.find(other.id)


def test_a_file_from_the_future_is_from_now(host):
    upload = host.create()
    path = host.folder / ".uploads" / upload.id / "model.sealed"
    os.utime(path, (T0 + 1e9, T0 + 1e9))
    host.restart()
    assert host.uploads.find(upload.id).expires_s == T0 + DAY_S


def test_of_what_is_over_it_is_told_for_a_while(host):
    ids = []
    for n in range(MOST_REMEMBERED + 3):
        data = make_file(n, n_bytes=500)
        host.push(data, version=n + 1)
        ids.append(next(reversed(host.uploads._ends._installed)))
    assert len(host.incoming) == MOST_REMEMBERED
    with pytest.raises(NotFoundError):
        host.uploads.find(ids[0])
    assert host.uploads.find(ids[-1]).is_installed
    host.restart()
    assert sum(entry.endswith(".json") for entry in host.incoming) == MOST_REMEMBERED
    host.now += DAY_S
    host.uploads.expire()
    assert host.incoming == []
    assert len(host.names) == MOST_REMEMBERED + 3


def test_of_what_failed_it_is_told_for_a_while(host):
    ids = []
    for n in range(MOST_REMEMBERED + 3):
        upload = host.create(make_file(n))
        host.uploads.delete(upload)
        ids.append(upload.id)
    with pytest.raises(NotFoundError):
        host.uploads.find(ids[0])
    with pytest.raises(UploadEndedError):
        host.uploads.find(ids[-1])


# What a start finds.


def test_a_start_clears_what_is_no_upload(host):
    kept, damaged = host.create(), host.create(make_file(1), version=2)
    uploads = host.folder / ".uploads"
    (uploads / (damaged.id + ".json")).write_bytes(b"{")
    (uploads / "0123.home" / "deep").mkdir(parents=True)
    (uploads / ".x.part").touch()
    (uploads / ("f" * 32)).mkdir()
    host.restart()
    assert host.incoming == [kept.id, kept.id + ".json"]
    with pytest.raises(NotFoundError):
        host.uploads.find(damaged.id)


def test_a_start_does_not_take_another_model_for_the_uploads(host):
    upload = host.create()
    host.send(upload, DATA)
    shutil.rmtree(host.folder / ".uploads" / upload.id)
    bring(host.repository, make_file(1))
    host.restart()
    with pytest.raises(NotFoundError):
        host.uploads.find(upload.id)
    assert host.incoming == []


def test_a_file_that_the_host_changed_is_refused(host):
    upload = host.create()
    host.send(upload, DATA)
    path = host.folder / ".uploads" / upload.id / "model.sealed"
    path.write_bytes(DATA[:-1])
    host.restart()
    assert host.offset(upload) == len(DATA) - 1
    host.send(upload, b"x")
    with pytest.raises(PinError):
        host.uploads.finish(upload)
    assert host.incoming == []


# Many threads.


def test_others_go_on_while_one_is_verified(host):
    large = make_file(9, n_bytes=30_000_000)
    slow = host.create(large, version=9)
    host.send(slow, large)
    failures, done = [], threading.Event()

    def verify():
        try:
            host.uploads.finish(slow)
        except BaseException as error:
            failures.append(error)
        done.set()

    thread = threading.Thread(target=verify)
    thread.start()
    n_others = 0
    while not done.is_set():
        n_others += 1
        host.push(make_file(n_others, n_bytes=500), name="other", version=n_others)
    thread.join()
    assert not failures
    assert n_others > 1
    assert ("net", 9) in host.names


def test_many_threads_announce_within_the_quota(make_host):
    host = make_host(quota_bytes=20_000, max_uploads=100)
    outcomes, start = [], threading.Barrier(8)

    def push(number):
        start.wait()
        for round_ in range(5):
            try:
                host.push(make_file(number), name=f"n{number}", version=round_ + 1)
                outcomes.append("pushed")
            except StorageFullError:
                outcomes.append("full")

    threads = [threading.Thread(target=push, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 40
    assert outcomes.count("pushed") == 4
    assert host.repository.used_bytes() == 20_000


def test_a_file_never_counts_twice(make_host, monkeypatch):
    """Between its becoming a version and its end as an upload, nobody looks for room."""
    host = make_host(quota_bytes=10_000)
    install, outcomes = host.repository.install, []

    def announce():
        outcomes.append(host.create(make_file(1), version=2))

    def install_slowly(upload, checked):
        stored = install(upload, checked)
        thread.start()
        time.sleep(0.1)
        return stored

    monkeypatch.setattr(host.repository, "install", install_slowly)
    thread = threading.Thread(target=announce)
    host.push()
    thread.join()
    assert [upload.version for upload in outcomes] == [2]


def test_one_of_many_writers_wins(host):
    upload = host.create()
    outcomes, start = [], threading.Barrier(8)

    def write():
        start.wait()
        try:
            host.send(upload, DATA)
            outcomes.append("written")
        except (UploadLockedError, UploadOffsetError, TooLargeError) as error:
            outcomes.append(error)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 8
    assert outcomes.count("written") == 1
    host.uploads.finish(upload)


class Machine(RuleBasedStateMachine):
    """Any sequence of calls and restarts against a simple account of what must be so."""

    def __init__(self):
        super().__init__()
        self.host = Host(
            tempfile.mkdtemp(prefix="inferonnx-test-"), quota_bytes=30_000, max_uploads=3
        )
        self.half, self.models = {}, {}  # upload: its file; version: its file

    def teardown(self):
        self.host.stop()
        shutil.rmtree(self.host.folder)

    @rule(version=st.integers(0, 4), number=st.integers(0, 5))
    def create(self, version, number):
        data = make_file(number, n_bytes=5000 + number)
        same = {u for u, d in self.half.items() if d == data and version in (0, u.version)}
        left = set(self.half) - same
        total = sum(map(len, self.models.values())) + sum(u.n_bytes for u in left)
        number = version or max([0, *self.models, *(u.version for u in left)]) + 1
        try:
            upload = self.host.create(data, version=version)
        except AlreadyExistsError:
            assert version in self.models
        except StorageFullError:
            assert total + len(data) > 30_000
        except BusyError:
            assert len(left) == 3
        else:
            assert upload.version == number
            assert number not in self.models
            assert total + len(data) <= 30_000
            assert len(left) < 3
            self.half[upload] = data
        for upload in same:
            del self.half[upload]

    @precondition(lambda self: self.half)
    @rule(data=st.data(), share=st.sampled_from([0, 0.3, 1, 1]))
    def send(self, data, share):
        upload = data.draw(st.sampled_from(list(self.half)))
        file, offset = self.half[upload], self.host.offset(upload)
        self.host.send(upload, file[offset : offset + round(share * (len(file) - offset))])

    @precondition(lambda self: self.half)
    @rule(data=st.data())
    def finish(self, data):
        upload = data.draw(st.sampled_from(list(self.half)))
        is_whole = self.host.offset(upload) == upload.n_bytes
        try:
            self.host.uploads.finish(upload)
        except UploadOffsetError:
            assert not is_whole
            return
        except AlreadyExistsError:
            assert upload.version in self.models
        else:
            assert is_whole
            self.models[upload.version] = self.half[upload]
        del self.half[upload]

    @precondition(lambda self: self.half)
    @rule(data=st.data())
    def delete(self, data):
        upload = data.draw(st.sampled_from(list(self.half)))
        self.host.uploads.delete(upload)
        del self.half[upload]

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def remove(self, data):
        version = data.draw(st.sampled_from(sorted(self.models)))
        self.host.repository.remove("net", version)
        del self.models[version]

    @rule()
    def restart(self):
        self.host.restart()

    @invariant()
    def all_is_as_accounted(self):
        found = {m.version: m for m in self.host.repository.scan()}
        assert set(found) == set(self.models)
        for version, data in self.models.items():
            assert Path(found[version].path).read_bytes() == data
        assert len(self.host.uploads) == len(self.half)
        for upload, data in self.half.items():
            path = self.host.folder / ".uploads" / upload.id / "model.sealed"
            have = path.read_bytes()
            assert data.startswith(have)
            assert self.host.offset(upload) == len(have)


TestAnySequence = Machine.TestCase
TestAnySequence.settings = settings(max_examples=20, stateful_step_count=30)


def test_errors_are_the_packages_own(host):
    """What endpoints answer with a status are errors of ours, none of the system's."""
    upload = host.create()
    host.send(upload, DATA[:10])
    shutil.rmtree(host.folder / ".uploads" / upload.id)
    with pytest.raises(InferonnxError):
        host.send(upload, DATA[10:])
    put(host.repository, announced(DATA), DATA)
