"""Models in a folder: whole or absent, each name its owner's, whatever the host puts there."""

import errno
import gc
import os
import shutil
import socket
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inferonnx.control.names import MAX_VERSION
from inferonnx.errors import (
    InferonnxError,
    OwnerRefusedError,
    PinError,
    UnavailableError,
    UsageError,
)
from inferonnx.oip import AlreadyExistsError
from inferonnx.server.repository import Repository
from sealed_files import (
    GOLDEN,
    OTHER_OWNER,
    OTHER_SEED,
    OWNER,
    SEED,
    announced,
    bring,
    make_file,
    put,
    tree,
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def repository(folder):
    opened = Repository(str(folder))
    yield opened
    opened.close()


def place(folder, data, name="net", version="1"):
    """Put a file there as a host does, by hand."""
    path = Path(folder, name, version, "model.sealed")
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


def names(repository):
    return [(m.name, m.version) for m in repository.scan() if not m.problem]


def problems(repository):
    return {(m.name, m.version): m.problem for m in repository.scan() if m.problem}


# What is brought.


def test_a_file_that_is_brought_is_a_version(repository, folder):
    data = make_file()
    stored = bring(repository, data)
    assert (stored.name, stored.version, stored.problem) == ("net", 1, "")
    assert list(repository.scan()) == [stored]
    assert Path(stored.path).read_bytes() == data
    assert (folder / "net" / "owner").read_text() == OWNER.hex() + "\n"
    assert sorted(os.listdir(folder / "net")) == ["1", "owner"]
    assert os.listdir(folder / "net" / "1") == ["model.sealed"]


def test_a_file_of_the_command_line(repository, sealed_cnn):
    stored = bring(repository, sealed_cnn.read_bytes(), name="cnn", version=3)
    assert stored.release == 3
    assert names(repository) == [("cnn", 3)]


def test_versions_side_by_side_and_the_next(repository):
    assert repository.next_version("net") == 1
    for version in (1, 9, 10, MAX_VERSION - 1):
        bring(repository, make_file(version % 7), version=version)
        assert repository.next_version("net") == version + 1
    assert [version for _, version in names(repository)] == [1, 9, 10, MAX_VERSION - 1]


@pytest.mark.parametrize(
    "name", ["a..b", "...".join("ab"), "model.sealed", "owner", "1", "n" * 128]
)
def test_names_that_look_like_something_else(repository, folder, name):
    bring(repository, make_file(), name=name)
    bring(repository, make_file(1), name=name, version=2)
    assert names(repository) == [(name, 1), (name, 2)]
    repository.remove(name, 1)
    assert names(repository) == [(name, 2)]


def test_a_version_is_never_replaced(repository, folder):
    bring(repository, make_file())
    before = tree(folder / "net")
    upload = announced(make_file(1))
    put(repository, upload, make_file(1))
    checked = repository.check(upload)
    with pytest.raises(AlreadyExistsError, match="none is ever replaced"):
        repository.install(upload, checked)
    with pytest.raises(AlreadyExistsError):
        repository.check_free("net", 1, OWNER)
    assert tree(folder / "net") == before


def test_a_name_is_one_owners_for_ever(repository):
    bring(repository, make_file())
    for version in (1, 2):
        with pytest.raises((OwnerRefusedError, AlreadyExistsError)):
            bring(repository, make_file(seed=OTHER_SEED), version=version)
    repository.remove("net", 1)
    assert names(repository) == []
    with pytest.raises(OwnerRefusedError, match="'net' belongs to another owner"):
        bring(repository, make_file(seed=OTHER_SEED))
    with pytest.raises(OwnerRefusedError):
        repository.check_free("net", 5, OTHER_OWNER)
    bring(repository, make_file(1))
    assert names(repository) == [("net", 1)]


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        (make_file(release=2), {}),
        (make_file(seed=OTHER_SEED), {"owner": OWNER}),
        (make_file(), {"model_id": bytes(32)}),
        (make_file(), {"sha256": bytes(32)}),
        (make_file()[:-1], {}),
    ],
    ids=["release", "owner", "model", "digest", "short"],
)
def test_a_file_that_is_refused_leaves_no_name(repository, folder, data, changed):
    with pytest.raises(InferonnxError):
        bring(repository, data, **changed)
    assert list(repository.scan()) == []
    assert not (folder / "net").exists()


def test_an_upload_that_is_gone_before_it_is_installed_leaves_no_name(repository, folder):
    upload = announced(make_file())
    put(repository, upload, make_file())
    checked = repository.check(upload)
    shutil.rmtree(folder / ".uploads" / upload.id)
    with pytest.raises(UnavailableError, match="storing the model failed"):
        repository.install(upload, checked)
    assert not (folder / "net").exists()
    bring(repository, make_file(1), version=2)
    with pytest.raises(UnavailableError, match="storing the model failed"):
        repository.install(upload, checked)
    assert names(repository) == [("net", 2)]  # and the name stays
    assert repository.used_bytes() == 5000


def test_threads_bring_the_same_version(repository):
    files = [make_file(n) for n in range(4)]
    uploads = [announced(data) for data in files]
    for upload, data in zip(uploads, files, strict=True):
        put(repository, upload, data)
    outcomes, start = [], threading.Barrier(len(files))

    def install(upload):
        checked = repository.check(upload)
        start.wait()
        try:
            outcomes.append(repository.install(upload, checked).model_id)
        except AlreadyExistsError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=install, args=(upload,)) for upload in uploads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if isinstance(outcome, bytes)]
    assert len(winners) == 1
    (stored,) = repository.scan()
    assert stored.model_id == winners[0]
    assert repository.used_bytes() == len(files[0])


# What is removed.


def test_a_version_that_is_removed_is_gone_and_others_stay(repository, folder):
    bring(repository, make_file())
    bring(repository, make_file(1), version=2)
    repository.remove("net", 1)
    repository.remove("net", 1)  # gone already
    repository.remove("other", 1)
    assert names(repository) == [("net", 2)]
    assert os.listdir(folder / ".trash") == []
    assert sorted(os.listdir(folder / "net")) == ["2", "owner"]


def test_a_delete_that_the_disk_does_not_keep_deletes_nothing(repository, folder, monkeypatch):
    bring(repository, make_file())
    before, n_bytes = tree(folder / "net"), repository.used_bytes()

    def fails(_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(UnavailableError, match="deleting the model failed"):
            repository.remove("net", 1)
    assert (tree(folder / "net"), repository.used_bytes()) == (before, n_bytes)
    repository.remove("net", 1)
    assert names(repository) == []


def test_bytes_are_counted_once_and_then_kept(repository, folder):
    place(folder, b"no header, but bytes" * 100, "by-hand")
    place(folder, make_file(), "net", "7")
    assert repository.used_bytes() == 7000
    bring(repository, make_file(n_bytes=3000), name="new")
    assert repository.used_bytes() == 10_000
    repository.remove("net", 7)
    assert repository.used_bytes() == 5000
    shutil.rmtree(folder / "by-hand")  # behind its back: nobody reads the disk at each upload
    assert repository.used_bytes() == 5000
    (folder / "new" / "1" / "model.sealed").write_bytes(b"x" * 9000)
    repository.remove("new", 1)
    assert repository.used_bytes() == 0  # never below


# What a start finds.


def test_a_start_clears_what_was_on_its_way_out(folder):
    Repository(str(folder)).close()
    (folder / ".trash" / "0123").mkdir()
    (folder / ".trash" / "0123" / "model.sealed").write_bytes(make_file())
    Repository(str(folder)).close()
    assert os.listdir(folder / ".trash") == []


def test_a_folder_is_one_servers(folder, repository):
    (folder / ".trash" / "on its way").mkdir()
    with pytest.raises(UnavailableError, match="another server uses"):
        Repository(str(folder))
    assert os.listdir(folder / ".trash") == ["on its way"]  # the other one's work
    repository.close()
    repository.close()
    Repository(str(folder)).close()


def test_nothing_changes_after_close(folder):
    repository = Repository(str(folder))
    bring(repository, make_file())
    upload = announced(make_file(1), version=2)
    put(repository, upload, make_file(1))
    checked = repository.check(upload)
    repository.close()
    with pytest.raises(UnavailableError, match="about to end"):
        repository.install(upload, checked)
    with pytest.raises(UnavailableError, match="about to end"):
        repository.remove("net", 1)
    again = Repository(str(folder))
    assert names(again) == [("net", 1)]
    again.close()


def test_what_is_no_folder_is_none_for_models(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises((UsageError, UnavailableError)):
        Repository(str(tmp_path / "file"))
    with pytest.raises((UsageError, UnavailableError)):
        Repository(str(tmp_path / "file" / "below"))


@pytest.mark.parametrize("entry", [".uploads", ".trash", ".lock"])
@pytest.mark.parametrize("target", ["outside", "outside/file", "new"])
def test_a_link_in_place_of_ours_is_not_followed(folder, tmp_path, entry, target):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"not ours")
    folder.mkdir()
    (folder / entry).symlink_to(tmp_path / target)
    with pytest.raises((UsageError, UnavailableError)):
        Repository(str(folder))
    assert tree(tmp_path / "outside") == {"file": b"not ours"}
    assert not (tmp_path / "new").exists()


def test_a_folder_that_fails_to_open_stays_closed(folder, tmp_path):
    folder.mkdir()
    (folder / ".uploads").symlink_to(tmp_path)
    gc.collect()  # of earlier tests
    n_open = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises((UsageError, UnavailableError)):
            Repository(str(folder))
    assert len(os.listdir("/proc/self/fd")) == n_open
    (folder / ".uploads").unlink()
    Repository(str(folder)).close()


# What the host puts there.


def test_models_that_the_host_put_there(repository, folder):
    place(folder, GOLDEN.read_bytes(), "golden", "7")
    place(folder, make_file(), "net", "1")
    place(folder, make_file(1), "net", "2")
    assert names(repository) == [("golden", 7), ("net", 1), ("net", 2)]


def test_the_name_of_models_that_the_host_put_there_is_their_owners(repository, folder):
    place(folder, b"damaged", "net", "1")
    place(folder, make_file(), "net", "2")
    place(folder, make_file(seed=OTHER_SEED), "net", "3")
    assert names(repository) == [("net", 2)]
    assert "another owner" in problems(repository)["net", 3]
    with pytest.raises(OwnerRefusedError):
        repository.check_free("net", 4, OTHER_OWNER)
    with pytest.raises(OwnerRefusedError):
        bring(repository, make_file(seed=OTHER_SEED), version=4)
    assert not (folder / "net" / "owner").exists()
    bring(repository, make_file(1), version=4)
    assert (folder / "net" / "owner").read_text() == OWNER.hex() + "\n"


def test_an_empty_folder_of_the_hosts_is_anybodys(repository, folder):
    (folder / "net").mkdir()
    assert list(repository.scan()) == []
    bring(repository, make_file(seed=OTHER_SEED))
    assert (folder / "net" / "owner").read_text() == OTHER_OWNER.hex() + "\n"


BAD_OWNERS = [b"", b"\n", b"00" * 31, b"00" * 33, b"x" * 64, b"\xff" * 64, b"AA" * 32, b" " * 64]


@pytest.mark.parametrize("content", [*BAD_OWNERS, b"ab " * 64, OWNER.hex().encode() + b"\nx"])
def test_a_damaged_owner_is_nobodys_and_hides_nothing(repository, folder, content):
    place(folder, make_file(), "net", "1")
    place(folder, b"damaged", "net", "2")
    place(folder, make_file(), "other", "1")
    (folder / "net" / "owner").write_bytes(content)
    found = problems(repository)
    assert found["net", 1] == "the file 'owner' of model 'net' is damaged"
    assert "not a sealed file" in found["net", 2]
    assert names(repository) == [("other", 1)]
    with pytest.raises(UnavailableError, match="damaged"):
        repository.check_free("net", 3, OWNER)
    with pytest.raises(UnavailableError, match="damaged"):
        bring(repository, make_file(), version=3)
    assert (folder / "net" / "owner").read_bytes() == content


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "loop"])
def test_an_owner_that_is_no_file(repository, folder, tmp_path, kind):
    place(folder, make_file(), "net", "1")
    owner = folder / "net" / "owner"
    if kind == "folder":
        owner.mkdir()
    elif kind == "pipe":
        os.mkfifo(owner)
    elif kind == "link":
        (tmp_path / "elsewhere").write_text(OWNER.hex())
        owner.symlink_to(tmp_path / "elsewhere")
    else:
        owner.symlink_to(owner)
    assert "damaged" in problems(repository)["net", 1]
    with pytest.raises(UnavailableError, match="damaged"):
        bring(repository, make_file(), version=2)


def test_the_owner_file_may_lack_its_newline(repository, folder):
    bring(repository, make_file())
    for content in (OWNER.hex(), OWNER.hex() + "\r\n"):
        (folder / "net" / "owner").write_text(content)
        assert names(repository) == [("net", 1)]


def test_entries_that_are_no_models_are_none(repository, folder):
    for name in (".hidden", "a b", "ä", "n" * 129):
        place(folder, make_file(), name, "1")
    for version in ("0", "01", "-1", "v1", "1.0", "١", str(MAX_VERSION + 1), ".1", "owner.old"):
        place(folder, make_file(), "net", version)
    (folder / "a-file").write_bytes(b"x")
    os.mkdir(os.fsencode(folder) + b"/\xff")
    assert list(repository.scan()) == []
    assert repository.next_version("net") == 1
    assert repository.used_bytes() == 0


def test_a_version_that_is_no_folder_is_broken_and_taken(repository, folder, tmp_path):
    (folder / "net").mkdir()
    (folder / "net" / "1").write_bytes(make_file())
    (folder / "net" / "2").symlink_to("nowhere")
    (folder / "net" / "3").mkdir()
    assert set(problems(repository)) == {("net", 1), ("net", 2), ("net", 3)}
    assert repository.next_version("net") == 4
    for version in (1, 2, 3):
        with pytest.raises(AlreadyExistsError):
            bring(repository, make_file(), version=version)
        repository.remove("net", version)
    assert os.listdir(folder / "net") == []


def test_a_name_that_is_a_file(repository, folder):
    (folder / "net").write_bytes(b"mine")
    assert list(repository.scan()) == []
    assert repository.next_version("net") == 1
    with pytest.raises(UnavailableError, match="'net' in the folder of models is no folder"):
        repository.check_free("net", 1, OWNER)
    with pytest.raises(UnavailableError, match="is no folder"):
        bring(repository, make_file())
    with pytest.raises(UnavailableError, match="is no folder"):
        repository.remove("net", 1)
    assert (folder / "net").read_bytes() == b"mine"


def test_links_of_the_hosts_lead_to_reading_never_to_writing(repository, folder, tmp_path):
    place(tmp_path / "outside", make_file(), "net", "1")
    (folder / "net").symlink_to(tmp_path / "outside" / "net")
    before = tree(tmp_path / "outside")
    assert names(repository) == [("net", 1)]
    with pytest.raises(UnavailableError, match="is no folder"):
        bring(repository, make_file(1), version=2)
    with pytest.raises(UnavailableError, match="is no folder"):
        repository.remove("net", 1)
    assert tree(tmp_path / "outside") == before


def test_of_a_version_that_is_a_link_the_link_is_removed(repository, folder, tmp_path):
    place(tmp_path / "outside", make_file(), "net", "1")
    outside = tmp_path / "outside" / "net" / "1"
    before = tree(tmp_path / "outside")
    (folder / "net").mkdir()
    (folder / "net" / "1").symlink_to(outside)
    (folder / "net" / "2").mkdir()
    (folder / "net" / "2" / "model.sealed").symlink_to(outside / "model.sealed")
    (folder / "net" / "2" / "more").symlink_to(outside)
    assert names(repository) == [("net", 1), ("net", 2)]
    for version in (1, 2):
        repository.remove("net", version)
    assert os.listdir(folder / "net") == []
    assert os.listdir(folder / ".trash") == []
    assert tree(tmp_path / "outside") == before


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_upload_that_the_host_replaced_by_a_link_is_not_taken(repository, tmp_path, kind):
    data = make_file()
    upload = announced(data)
    put(repository, upload, data)
    place(tmp_path / "outside", data)
    ours = Path(repository.folder, ".uploads", upload.id)
    theirs = tmp_path / "outside" / "net" / "1"
    if kind == "folder":
        shutil.rmtree(ours)
        ours.symlink_to(theirs)
    else:
        (ours / "model.sealed").unlink()
        (ours / "model.sealed").symlink_to(theirs / "model.sealed")
    with pytest.raises(UnavailableError):
        repository.check(upload)
    assert tree(tmp_path / "outside") == {"net/1/model.sealed": data}


def test_loops_of_links_hide_nothing_else(repository, folder):
    bring(repository, make_file())
    (folder / "loop").symlink_to("loop")
    (folder / "net" / "2").symlink_to("2")
    assert names(repository) == [("net", 1)]
    assert set(problems(repository)) == {("loop", 0), ("net", 2)}
    with pytest.raises(UnavailableError):
        bring(repository, make_file(), name="loop")


@contextmanager
def without_rights():
    """Be nobody for a while, who has no more rights than a file's mode gives."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_to_all():
    """A folder that everybody reaches."""
    path = Path(tempfile.mkdtemp(prefix="inferonnx-test-"))
    path.chmod(0o777)
    yield path
    subfolders = [entry for entry in path.rglob("*") if entry.is_dir()]
    for entry in subfolders:
        entry.chmod(0o700)
    shutil.rmtree(path)


def test_folders_that_can_not_be_read_say_so(open_to_all):
    place(open_to_all, make_file(), "good", "1")
    place(open_to_all, make_file(), "closed", "1")
    place(open_to_all, make_file(), "half", "1")
    place(open_to_all, make_file(), "half", "2")
    for path in (open_to_all, *open_to_all.rglob("*")):
        path.chmod(0o777)
    (open_to_all / "closed").chmod(0)
    (open_to_all / "half" / "1").chmod(0)
    (open_to_all / "half" / "2" / "model.sealed").chmod(0)
    with without_rights():
        repository = Repository(str(open_to_all))
        found = problems(repository)
        assert names(repository) == [("good", 1)]
        assert "Permission denied" in found["closed", 0]
        assert "Permission denied" in found["half", 1]
        assert "Permission denied" in found["half", 2]
        with pytest.raises(UnavailableError):
            repository.next_version("closed")
        with pytest.raises(UnavailableError):
            bring(repository, make_file(), name="closed", version=2)
        assert repository.used_bytes() >= 5000
        repository.close()


def test_a_folder_that_can_not_be_written_is_refused(open_to_all):
    open_to_all.chmod(0o555)
    with without_rights(), pytest.raises(UnavailableError):
        Repository(str(open_to_all))
    open_to_all.chmod(0o777)


def test_special_files_hold_nothing_up(repository, folder, monkeypatch):
    for version, kind in enumerate(("pipe", "socket", "device"), start=1):
        home = folder / "net" / str(version)
        home.mkdir(parents=True)
        if kind == "pipe":
            os.mkfifo(home / "model.sealed")
        elif kind == "socket":
            monkeypatch.chdir(home)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind("model.sealed")
        else:
            (home / "model.sealed").symlink_to("/dev/zero")
    assert set(problems(repository)) == {("net", 1), ("net", 2), ("net", 3)}


def test_thousands_of_versions_come_one_by_one(repository, folder):
    file = place(folder, make_file(), "net", "1")
    for version in range(2, 3001):
        home = folder / "net" / str(version)
        home.mkdir()
        os.link(file, home / "model.sealed")
    found = repository.scan()
    assert next(found).problem == ""
    for version in range(1, 3001):  # so no other can have been read already
        (folder / "net" / str(version) / "model.sealed").unlink()
    assert {(m.version, m.problem) for m in found} == {
        (version, "there is no model.sealed in its folder") for version in range(2, 3001)
    }
    assert repository.next_version("net") == 3001


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: make_file()[:200] + tail))
def test_any_bytes_are_a_model_or_say_why_not(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    place(folder, data)
    repository = Repository(str(folder))
    (found,) = repository.scan()
    assert found.problem
    repository.close()


class Machine(RuleBasedStateMachine):
    """Any sequence of changes against what must be there, restarts in between."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="inferonnx-test-")
        self.repository = Repository(self.folder)
        self.versions, self.owners = {}, {}

    def teardown(self):
        self.repository.close()
        shutil.rmtree(self.folder)

    @rule(
        name=st.sampled_from(["a", "b"]),
        version=st.integers(1, 3),
        seed=st.booleans(),
        release=st.sampled_from([0, 0, 1, 2]),
        number=st.integers(0, 3),
    )
    def bring(self, name, version, seed, release, number):
        data = make_file(number, seed=OTHER_SEED if seed else SEED, release=release)
        owner = OTHER_OWNER if seed else OWNER
        if release not in (0, version):
            expected = PinError
        elif (name, version) in self.versions:
            expected = AlreadyExistsError
        elif self.owners.get(name, owner) != owner:
            expected = OwnerRefusedError
        else:
            bring(self.repository, data, name=name, version=version)
            self.versions[name, version] = data
            self.owners[name] = owner
            return
        with pytest.raises(expected):
            bring(self.repository, data, name=name, version=version)

    @precondition(lambda self: self.versions)
    @rule(data=st.data())
    def remove(self, data):
        name, version = data.draw(st.sampled_from(sorted(self.versions)))
        self.repository.remove(name, version)
        del self.versions[name, version]

    @rule()
    def restart(self):
        self.repository.close()
        self.repository = Repository(self.folder)

    @invariant()
    def all_is_there(self):
        found = {(m.name, m.version): m for m in self.repository.scan()}
        assert set(found) == set(self.versions)
        for key, stored in found.items():
            assert stored.problem == ""
            assert Path(stored.path).read_bytes() == self.versions[key]
        assert self.repository.used_bytes() == sum(map(len, self.versions.values()))
        for name, owner in self.owners.items():
            assert Path(self.folder, name, "owner").read_text() == owner.hex() + "\n"


TestAnySequence = Machine.TestCase
TestAnySequence.settings = settings(max_examples=15, stateful_step_count=25)
