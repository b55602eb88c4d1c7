"""`inferonnx top`: what a server is doing, live in a terminal."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from inferonnx.cli import interrupts
from inferonnx.cli.options import add_json, verb
from inferonnx.cli.servers import add_server, connect
from inferonnx.cli.terminal import Screen, can_be_live
from inferonnx.errors import ExitCode, InferonnxError
from inferonnx.report.live import Window, parse_status
from inferonnx.report.paint import Look
from inferonnx.report.screen import SORTS, View, clamp_first, screen

if TYPE_CHECKING:
    from collections.abc import Callable

    from inferonnx.cli.main import Verbs
    from inferonnx.client.client import Client
    from inferonnx.report.live import Activity, ServerStatus

    Seen = tuple[ServerStatus, Activity | None]

LEAST_INTERVAL_S = 0.1
"""Faster than this nobody reads, and the server has better things to do."""

PIPED_WIDTH = 100
"""Columns where the output is no terminal that has a width."""


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `top`."""
    parser = verb(
        verbs,
        name,
        "Show what a server is doing: models, requests a second, latencies, memory against\n"
        "its budget. Live in a terminal; elsewhere, and with --once, one table. Takes a token\n"
        "with the role metrics. Rates and percentiles are of the last ten seconds.\n\n"
        "keys: q quit, s sort by another column, up and down (j, k) scroll",
        "  inferonnx top https://models:8443 --ca server.pem --token-file metrics.token\n"
        "  inferonnx top https://models:8443 --ca server.pem --once --interval 10\n"
        "  inferonnx top https://models:8443 --ca server.pem --json",
    )
    add_server(parser)
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_interval,
        default=2.0,
        help="time between two looks (default: 2)",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="look twice, --interval apart, print one table and end",
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not LEAST_INTERVAL_S <= seconds < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds from {LEAST_INTERVAL_S} up"
        )
    return seconds


def _run(options: argparse.Namespace) -> int:
    with connect(options) as client:
        if options.json:
            status = client.status()
            parse_status(status)
            print(json.dumps(status))
        elif options.once or not can_be_live():
            _print_once(client, options.interval)
        else:
            _Live(client, options.interval).run()
    return ExitCode.DONE


def _print_once(client: Client, interval_s: float) -> None:
    window = Window()
    window.add(parse_status(client.status()))
    time.sleep(interval_s)
    status = parse_status(client.status())
    view = _view(client, shutil.get_terminal_size((PIPED_WIDTH, 24)).columns)
    print("\n".join(screen(status, window.add(status), view)))


def _view(client: Client, width: int, height: int | None = None) -> View:
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    look = Look(
        has_colours=is_terminal and not os.environ.get("NO_COLOR"),
        has_unicode=(sys.stdout.encoding or "").lower().startswith("utf"),
    )
    return View(title=client.address.authority, width=width, height=height, look=look)


class _Watch(threading.Thread):
    """Asks the server again and again, so that keys never wait for an answer.

    Attributes:
        seen: The last answer, with what happened before it.
        problem: Why there was none since, if there was none.
        since: When that began, as a person reads it.
    """

    def __init__(self, client: Client, interval_s: float, first: Seen, window: Window) -> None:
        super().__init__(name="inferonnx-top", daemon=True)
        self.seen = first
        self.problem: InferonnxError | None = None
        self.since = ""
        self.changed: Callable[[], None] = lambda: None
        self.over = threading.Event()
        self._client, self._interval_s, self._window = client, interval_s, window

    def run(self) -> None:
        while not self.over.wait(self._interval_s):
            try:
                status = parse_status(self._client.status())
            except InferonnxError as error:
                self.since = self.since or time.strftime("%H:%M:%S")
                self.problem = error
            else:
                self.seen = status, self._window.add(status)
                self.problem, self.since = None, ""
            self.changed()


class _Live:
    """The screen, its keys, and the thread that asks."""

    def __init__(self, client: Client, interval_s: float) -> None:
        self._client = client
        self._interval_s = interval_s
        self._first, self._sort = 0, SORTS[0]

    def run(self) -> None:
        """Show the server until the person has seen enough.

        Raises:
            InferonnxError: What no waiting mends: the server is another one, or the
                token does not hold any more.
        """
        window = Window()
        status = parse_status(self._client.status())  # a mistake is told before the screen
        watch = _Watch(self._client, self._interval_s, (status, window.add(status)), window)
        with Screen() as terminal:
            watch.changed = terminal.wake
            watch.start()
            try:
                self._show(terminal, watch)
            finally:
                watch.over.set()
                watch.changed = lambda: None

    def _show(self, terminal: Screen, watch: _Watch) -> None:
        while True:
            interrupts.check()
            problem = watch.problem
            if problem is not None and problem.exit_code is not ExitCode.UNAVAILABLE:
                raise problem
            status, activity = watch.seen
            columns, lines = terminal.size()
            view = replace(
                _view(self._client, columns, lines),
                first=self._first,
                sort=self._sort,
                notice=f"since {watch.since}: {problem.message}; asked again" if problem else "",
            )
            self._first = clamp_first(len(status.models), view)
            terminal.show(screen(status, activity, view))
            if not all(self._take(key, lines) for key in terminal.read_keys()):
                return

    def _take(self, key: str, lines: int) -> bool:
        """Do what a key means; tell whether to go on."""
        page = max(1, lines // 2)
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -page, "page down": page}
        self._first += steps.get(key, 0)
        if key == "s":
            self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
            self._first = 0
        return key not in ("q", "Q")
