import asyncio
import os
import signal
import sys
import time

import pytest

from inferonnx.cli import interrupts


@pytest.fixture
def installed(monkeypatch):
    """The handlers in place; whatever was there before comes back."""
    told = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    interrupts.install()
    yield told
    interrupts.rest()
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    interrupts._seen.clear()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_a_finaliser_is_found_later_and_not_printed(number, installed, capsys):
    def fall(_self):
        os.kill(os.getpid(), number)

    interrupts.check()
    made = [type("Unlucky", (), {"__del__": fall})()]
    made.clear()
    with pytest.raises(KeyboardInterrupt):
        interrupts.check()
    assert capsys.readouterr().err == ""


def test_an_import_is_not_cut_short(installed, tmp_path, monkeypatch):
    (tmp_path / "unlucky_module.py").write_text(
        "import os, signal\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    cut = False\n"
        "except BaseException:\n    cut = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        import unlucky_module

        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            pass
    assert not unlucky_module.cut


def test_an_interrupt_that_waits_is_answered_once(installed, tmp_path, monkeypatch):
    (tmp_path / "last_module.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import last_module  # noqa: F401

    with pytest.raises(KeyboardInterrupt):
        interrupts.check()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_other_errors_of_finalisers_go_where_they_went(installed):
    made = [type("Broken", (), {"__del__": lambda _: 1 / 0})()]
    made.clear()
    interrupts.install()  # again changes nothing
    made = [type("Broken", (), {"__del__": lambda _: 1 / 0})()]
    made.clear()
    assert [hook.exc_type for hook in installed] == [ZeroDivisionError] * 2


def test_a_new_command_begins_without_an_interrupt(installed):
    interrupts._seen.append(signal.SIGINT)
    interrupts.install()
    interrupts.check()


def test_objects_that_an_interrupt_left_unfinished_are_not_told(installed, capsys):
    interrupts._seen.append(signal.SIGINT)
    made = [type("Unfinished", (), {"__del__": lambda self: self.never_set})()]
    made.clear()
    assert not installed
    assert capsys.readouterr().err == ""


def stopped_by(number, *, handler):
    """Tell whether what serves is to stop when a signal has come."""

    async def serve():
        stop = asyncio.Event()
        interrupts.stop_on_signals(asyncio.get_running_loop(), stop, "it ends")
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.01)
        return stop.is_set()

    before = signal.signal(signal.SIGHUP, handler)
    try:
        return asyncio.run(serve())
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_serves_stops_when_its_terminal_closes(installed, capsys):
    assert stopped_by(signal.SIGHUP, handler=signal.SIG_DFL)
    assert capsys.readouterr().err == "inferonnx: it ends\n"


def test_what_serves_under_nohup_goes_on(installed, capsys):
    assert not stopped_by(signal.SIGHUP, handler=signal.SIG_IGN)
    assert capsys.readouterr().err == ""
