"""The limit itself, on this machine: what runs inside is paged out, and nothing is left behind.

These tests make swap and cgroups. Where that can't be they are skipped, in CI too: a
container that may not is no machine that lacks a tool.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from inferonnx import epc
from inferonnx.epc import Label, book, cgroup, enforcing, swap, undoing
from inferonnx.errors import UnavailableError, UsageError
from machine import small_disk

MIB = 1 << 20
WHY_NOT = epc.obstacle(allow_system_changes=True)

needs_rights = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

FILL = """
import os
memory = [os.urandom(1 << 20) for _ in range(96)]
print(sum(block[0] for block in memory) >= 0, flush=True)
"""

HOLDER = """
import sys
from inferonnx import epc
with epc.enforce(32 << 20, allow_system_changes=True, scratch=sys.argv[1], swap_bytes=256 << 20,
                 zram=sys.argv[2] == "zram") as limit:
    code = "import time; print(1, flush=True); time.sleep(600)"
    inside = limit.spawn([sys.executable, "-c", code], stdout=-1)
    inside.stdout.readline()
    print(inside.pid, limit._group, flush=True)
    inside.wait()
"""


def facts():
    """What a measurement may change, as it is now."""
    controller = cgroup.find_controller()
    return {
        "swaps": [one.path for one in swap.active()],
        "zram": sorted(path.name for path in Path("/sys/block").glob("zram*")),
        "page_cluster": undoing.read_page_cluster(),
        "groups": sorted(path.name for path in Path(controller.folder).glob(f"{cgroup.PREFIX}*")),
        "states": book.leftovers(),
    }


@contextmanager
def alone():
    """Wait until nobody on this machine enforces a limit, and keep it so."""
    with book.Book() as own:
        deadline = time.monotonic() + 300
        while not own.take():
            assert time.monotonic() < deadline, "another measurement is under way"
            time.sleep(0.1)
        yield


@pytest.fixture
def machine(scratch):
    """Find the machine at the end as it was at the beginning."""
    with alone():
        before = facts()
    yield
    with alone():
        assert facts() == before
    assert not list(scratch.glob("*.swap"))


def traces(group):
    """Return what is left of the run that made a group; others may have theirs."""
    identity = os.path.basename(group).removeprefix(cgroup.PREFIX)
    swaps = [one.path for one in swap.active() if swap.header_identity(one.path) == identity]
    states = [path for path in book.leftovers() if identity in path]
    return [*swaps, *states, *([group] if os.path.exists(group) else [])]


def clean_up():
    """Do what `cleanup` does as soon as nobody else measures."""
    deadline = time.monotonic() + 300
    while True:
        try:
            return epc.cleanup()
        except UnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture
def holder(scratch):
    """Start a process that enforces a limit and waits; it and what it started end with the test."""
    started = []

    def start(kind="zram"):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(scratch), kind], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        pid, group = process.stdout.readline().split()
        return process, int(pid), group

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def supervisor_of(process):
    """Return the process that holds the machine's changes for another."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        for pid in map(int, file.read().split()):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"inferonnx.epc.supervisor" in command:
                return pid
    raise AssertionError("it has none")


def wait_until(is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@needs_rights
@pytest.mark.parametrize("zram", [True, False], ids=["zram", "file"])
def test_what_does_not_fit_is_paged_out_and_runs(machine, scratch, zram):
    with epc.enforce(
        48 * MIB, allow_system_changes=True, scratch=scratch, swap_bytes=256 * MIB, zram=zram
    ) as enforced:
        assert enforced.label is Label.CGROUP
        assert enforced.page_cluster == 0
        if not zram:
            assert enforced.swap == "file"
        process = enforced.spawn([sys.executable, "-c", FILL], stdout=subprocess.PIPE)
        assert process.stdout.read() == b"True\n"
        usage = enforced.usage()
        assert process.wait() == 0
        process.stdout.close()
    assert usage.peak_bytes is None or usage.peak_bytes <= 48 * MIB
    assert usage.swapped_out * 4096 > 32 * MIB
    assert usage.major_faults > 0
    assert usage.oom_kills == 0


@needs_rights
def test_it_runs_inside_on_fresh_copies_from_its_first_instruction(machine, scratch):
    code = "print(open('/proc/self/cgroup').read() + open('/proc/self/maps').read())"
    with epc.enforce(64 * MIB, allow_system_changes=True, scratch=scratch) as enforced:
        process = enforced.spawn([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        text = process.stdout.read()
        process.wait()
        process.stdout.close()
    assert cgroup.PREFIX in text
    mapped = [line.split() for line in text.splitlines() if " r-xp " in line and ".so" in line]
    assert mapped
    for words in mapped:  # the same path, another file
        assert int(words[4]) != os.stat(words[5]).st_ino


@needs_rights
def test_a_fault_has_a_price(machine, scratch):
    with epc.enforce(32 * MIB, allow_system_changes=True, scratch=scratch) as enforced:
        cost = epc.fault_cost(enforced)
    assert cost.n_faults > 1000
    assert 100 < cost.median_ns < 10**8
    assert cost.swap == enforced.swap


@needs_rights
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["zram", "file"])
def test_any_death_of_the_measurement_puts_everything_back(machine, holder, kind, number):
    process, inside, group = holder(kind)
    assert os.path.isdir(group)
    assert undoing.read_page_cluster() == 0
    assert len(traces(group)) == 3
    process.send_signal(number)
    wait_until(lambda: not traces(group))
    assert not is_alive(inside)


@needs_rights
def test_a_supervisor_that_is_told_to_end_puts_everything_back(machine, holder):
    process, _inside, group = holder()
    os.kill(supervisor_of(process), signal.SIGTERM)
    wait_until(lambda: not traces(group))


@needs_rights
@pytest.mark.parametrize("kind", ["zram", "file"])
def test_what_a_killed_supervisor_left_is_undone_by_cleanup(machine, holder, kind):
    process, inside, group = holder(kind)
    os.kill(supervisor_of(process), signal.SIGKILL)
    process.kill()
    process.wait()
    assert os.path.isdir(group)
    assert book.leftovers()
    clean_up()
    assert not traces(group)
    assert not is_alive(inside)


@needs_rights
def test_what_a_killed_supervisor_left_is_undone_by_the_next_run(machine, holder, scratch):
    process, _inside, group = holder()
    os.kill(supervisor_of(process), signal.SIGKILL)
    process.kill()
    process.wait()
    with epc.enforce(32 * MIB, allow_system_changes=True, scratch=scratch):
        assert not traces(group)


@needs_rights
def test_a_measurement_whose_supervisor_was_killed_undoes_it_itself(machine, scratch):
    with epc.enforce(32 * MIB, allow_system_changes=True, scratch=scratch) as enforced:
        (own,) = enforcing._under_way
        own._process.kill()
    clean_up()  # unless another run was quicker, there is nothing to do
    assert not traces(enforced._group)


@needs_rights
def test_cleanup_leaves_a_measurement_that_lives_alone(machine, holder):
    _process, inside, group = holder()
    with pytest.raises(UnavailableError, match="under way"):
        epc.cleanup()
    assert len(traces(group)) == 3
    assert os.path.isdir(group)
    assert is_alive(inside)


@needs_rights
def test_a_second_measurement_waits_for_the_first(machine, holder, scratch):
    process, _inside, _group = holder()
    told = []

    def progress(text):
        told.append(text)
        if "waiting" in text:
            process.kill()

    with epc.enforce(
        32 * MIB, allow_system_changes=True, scratch=scratch, progress=progress
    ) as enforced:
        assert enforced.label is Label.CGROUP
    assert any("waiting" in text for text in told)


@needs_rights
def test_an_error_inside_the_block_puts_everything_back(machine, scratch):
    with (
        pytest.raises(ZeroDivisionError),
        epc.enforce(32 * MIB, allow_system_changes=True, scratch=scratch),
    ):
        raise ZeroDivisionError


@needs_rights
def test_a_second_limit_in_one_process_is_refused(machine, scratch):
    with (
        epc.enforce(32 * MIB, allow_system_changes=True, scratch=scratch),
        pytest.raises(UsageError, match="already"),
        epc.enforce(32 * MIB, allow_system_changes=True, scratch=scratch),
    ):
        pass


@needs_rights
def test_a_command_that_is_not_there_is_refused(machine, scratch):
    with epc.enforce(32 * MIB, allow_system_changes=True, scratch=scratch) as enforced:
        with pytest.raises(UsageError, match="no command"):
            enforced.spawn(["no-such-command-here"])


@needs_rights
def test_swap_that_is_full_is_told_as_what_it_is(machine, scratch):
    with epc.enforce(
        32 * MIB, allow_system_changes=True, scratch=scratch, swap_bytes=8 * MIB, zram=False
    ) as enforced:
        if len(swap.active()) > 1:
            pytest.skip("this machine has more swap than ours")
        process = enforced.spawn(
            [sys.executable, "-c", FILL], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        process.stdout.read()
        code = process.wait()
        process.stdout.close()
        assert code != 0
        assert enforced.usage().oom_kills >= 1


@needs_rights
def test_a_disk_without_room_for_swap_is_told_and_left_as_it_was(machine, tmp_path):
    with small_disk(tmp_path / "disk", n_bytes=4 * MIB, n_inodes=100) as disk:
        with (
            pytest.raises(UnavailableError, match="no space left"),
            epc.enforce(32 * MIB, allow_system_changes=True, scratch=disk / "s", zram=False),
        ):
            pass
        assert list((disk / "s").iterdir()) == []


@needs_rights
def test_a_disk_that_takes_no_swap_is_told_and_left_as_it_was(machine, tmp_path):
    with small_disk(tmp_path / "disk", n_bytes=64 * MIB, n_inodes=100) as disk:
        with (
            pytest.raises(UnavailableError, match="takes no swap"),
            epc.enforce(
                32 * MIB,
                allow_system_changes=True,
                scratch=disk / "s",
                swap_bytes=16 * MIB,
                zram=False,
            ),
        ):
            pass
        assert list((disk / "s").iterdir()) == []


def test_a_limit_in_which_nothing_runs_is_refused():
    with pytest.raises(UsageError), epc.enforce(1 * MIB, allow_system_changes=True):
        pass


def test_without_a_limit_it_spawns_counts_and_says_so():
    free = epc.unlimited()
    assert free.label is epc.label(None)
    process = free.spawn([sys.executable, "-c", "print(1)"], stdout=subprocess.PIPE)
    assert process.stdout.read() == b"1\n"
    assert free.usage().n_bytes == 0
    process.wait()
    process.stdout.close()
