"""How an environment ends and another begins, in processes where nobody else holds one."""

import os
import subprocess
import sys

BEGIN = """
import threading
from inferonnx.errors import EngineError
from inferonnx.runtime import ort

def new():
    return ort.Environment.acquire(n_threads=1, spin=False, arena_strategy=1, arena_bytes=0)
"""

ENDING = """
class SlowToRelease:
    def __init__(self, api):
        self.api, self.began, self.going_on = api, threading.Event(), threading.Event()

    def release(self, kind, pointer):
        self.began.set()
        assert self.going_on.wait(10)
        self.api.release(kind, pointer)

ending, had = [new()], []
slow = ending[0]._native.api = SlowToRelease(ending[0].api)
end = threading.Thread(target=ending.clear)
end.start()
assert slow.began.wait(10)
take = threading.Thread(target=lambda: had.append(new()))
take.start()
take.join(0.2)
# Neither the one that ends, whose memory goes, nor another beside it.
assert not had
slow.going_on.set()
end.join(10)
take.join(10)
assert had[0].version
"""

FAILING = """
good, kept = ort._SESSION_SETTINGS, []
ort._SESSION_SETTINGS = {b"": b"1"}
try:
    new()
except EngineError as error:
    kept.append(error)  # and with it all that its frames hold
ort._SESSION_SETTINGS = good
assert kept
assert new().version
"""


def in_a_process(script):
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script],
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_an_environment_that_ends_is_never_had_and_the_next_waits_for_its_end():
    in_a_process(ENDING)


def test_an_environment_that_could_not_be_made_keeps_nobody_waiting():
    in_a_process(FAILING)
