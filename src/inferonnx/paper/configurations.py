"""What is measured: the paper's configurations and our own, one table.

"On disk" reads all weights again on each inference while sessions are kept; "TEE" is a
sealed file, TLS that ends in the process, and the memory limit. Those without a TEE are
in the clear and without a limit; scripts/benchmarks/unsealed has what runs them.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from inferonnx.sizes import MIB


class Form(Enum):
    """How the model lies on disk."""

    ENTIRE = "entire"  # one partition, the original graph
    PARTITIONS = "partitions"  # the paper's
    STREAM = "stream"  # the plan of `inferonnx seal`


class Door(Enum):
    """How the engine is asked."""

    SEALED = "inferonnx serve"
    CLEAR = "the benchmarks' own server"
    PROCESS = "no server"


class Configuration(NamedTuple):
    """One way to run a model.

    Attributes:
        id: As results name it.
        form: The file that is run.
        door: How it is asked.
        stays: Weights stay in memory between inferences, as far as the budget holds them.
        is_limited: Inside the limit.
        is_tls: Asked over TLS.
        is_cold: The file's pages are dropped from the page cache before each run.
        is_within: The engine has a budget below the limit; else it plans as if there were none.
    """

    id: str
    form: Form
    door: Door
    stays: bool
    is_limited: bool = False
    is_tls: bool = True
    is_cold: bool = False
    is_within: bool = False


_SEALED, _CLEAR, _PROCESS = Door.SEALED, Door.CLEAR, Door.PROCESS

CONFIGURATIONS = (
    Configuration("entire-disk-tee", Form.ENTIRE, _SEALED, stays=False, is_limited=True),
    Configuration("entire-memory-tee", Form.ENTIRE, _SEALED, stays=True, is_limited=True),
    Configuration("entire-disk-plain", Form.ENTIRE, _CLEAR, stays=False, is_tls=False),
    Configuration("entire-disk-plain-tls", Form.ENTIRE, _CLEAR, stays=False),
    Configuration("partitions-disk-tee", Form.PARTITIONS, _SEALED, stays=False, is_limited=True),
    Configuration("stream-tee", Form.STREAM, _SEALED, stays=True, is_limited=True, is_within=True),
    Configuration("stream-free", Form.STREAM, _SEALED, stays=True, is_within=True),
    Configuration("memory-plain", Form.STREAM, _PROCESS, stays=True, is_tls=False),
    Configuration("disk-plain", Form.STREAM, _PROCESS, stays=False, is_tls=False),
    Configuration(
        "disk-plain-cold", Form.STREAM, _PROCESS, stays=False, is_tls=False, is_cold=True
    ),
)
BY_ID = {one.id: one for one in CONFIGURATIONS}

ALTERNATING = (
    ("entire-disk-tee",),
    ("entire-memory-tee",),
    ("partitions-disk-tee",),
    ("stream-tee", "stream-free"),
    ("entire-disk-plain", "entire-disk-plain-tls"),
    ("memory-plain", "disk-plain"),
    ("disk-plain-cold",),
)
"""What is open at the same time and asked in turns, so that the noise of the machine meets all of
it: those whose ratio is what matters. Never two inside the limit."""

DEFAULT_LIMIT_BYTES = 85 * MIB

TIGHT_LIMIT_BYTES = 72 * MIB
TIGHT_MODELS = ("resnet152-v2-7", "efficientnet-v2-l-18")
TIGHT_GROUPS = (("entire-memory-tee",), ("stream-tee", "stream-free"))
"""Measured inside a second limit too, which is ours and not the paper's."""


class Job(NamedTuple):
    """Configurations that are measured in turns, of one model.

    Attributes:
        model: Its name.
        configurations: By id.
        limit_bytes: The limit of those that have one.
    """

    model: str
    configurations: tuple[str, ...]
    limit_bytes: int

    @property
    def is_limited(self) -> bool:
        """Whether one of them runs inside the limit."""
        return any(BY_ID[one].is_limited for one in self.configurations)


def jobs(models: tuple[str, ...], limit_bytes: int) -> list[Job]:
    """Return all jobs, those of one limit together, those of one model together in them."""
    found = [Job(model, group, limit_bytes) for model in models for group in ALTERNATING]
    if limit_bytes > TIGHT_LIMIT_BYTES:
        found += [
            Job(model, group, TIGHT_LIMIT_BYTES)
            for model in models
            if model in TIGHT_MODELS
            for group in TIGHT_GROUPS
        ]
    return found
