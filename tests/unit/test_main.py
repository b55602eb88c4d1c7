"""The first and the last moments of the process: an interrupt is one line and one code."""

import subprocess
import sys

import pytest

LINE = "inferonnx: interrupted; nothing unfinished was left behind\n"

EARLY = """
import os, runpy, signal, sys

sys.argv = ["inferonnx", "--version"]
left = {moment}
begun = False

def look(event, arguments):
    global begun, left
    if event == "import" and arguments[0] == "inferonnx.cli":
        begun = True
    if begun and event in ("import", "open", "exec"):
        if left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        left -= 1

sys.addaudithook(look)
runpy.run_module("inferonnx", run_name="__main__", alter_sys=True)
"""

LATE = """
import atexit, os, runpy, signal, sys

class Last:
    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.{name}):
        kill(pid, number)

sys.modules["last"] = last = Last()
atexit.register(lambda: os.kill(os.getpid(), signal.{name}))
sys.argv = ["inferonnx", *{arguments}]
runpy.run_module("inferonnx", run_name="__main__", alter_sys=True)
"""


def ended(program):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("moment", [*range(8), *range(8, 168, 8)])
def test_an_interrupt_while_everything_is_imported(moment):
    code, out, err = ended(EARLY.format(moment=moment))
    if code == 0:  # it came inside a last import, and waited until the work was done
        assert out.startswith("inferonnx ")
        assert err == ""
    else:
        assert (code, err) == (130, LINE)
        assert not out or moment > 40  # behind the work there may be one more import
    assert code == 130 or moment > 40


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["keygen"], 2)])
def test_an_interrupt_after_the_work_changes_nothing(name, arguments, code):
    found, out, err = ended(LATE.format(name=name, arguments=arguments))
    assert found == code
    assert "interrupted" not in err
    assert "Traceback" not in err
    assert (out if code == 0 else err).startswith("inferonnx")


def test_nothing_heavy_is_imported_before_an_interrupt_is_answered():
    code, out, _ = ended(
        "import sys; before = set(sys.modules); import inferonnx.__main__;"
        "print(sorted(set(sys.modules) - before))"
    )
    assert (code, out) == (0, "['__future__', 'inferonnx', 'inferonnx.__main__']\n")
