"""The trace and logging extensions: what is set, which nobody changes over the network.

The host sets its log when it starts the server. Tracing would show tensors to it.
"""

from __future__ import annotations

from inferonnx.oip.errors import UnsupportedError
from inferonnx.oip.json_text import parse_document
from inferonnx.oip.parameters import as_members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from inferonnx.oip.messages import Document


def trace_settings() -> Document:
    """Return the settings of tracing: off."""
    return {
        "trace_level": ["OFF"],
        "trace_rate": "1000",
        "trace_count": "-1",
        "log_frequency": "0",
        "trace_file": "",
        "trace_mode": "triton",
    }


def log_settings() -> Document:
    """Return the settings of the log, in Triton's terms."""
    return {
        "log_file": "",
        "log_info": True,
        "log_warning": True,
        "log_error": True,
        "log_verbose_level": 0,
        "log_format": "default",
    }


def check_settings(wanted: Mapping[str, Any], settings: Document) -> None:
    """Refuse to change a setting; to ask for what is set already is no change.

    Raises:
        UnsupportedError: A setting is asked to be another than it is.
    """
    for name, value in wanted.items():
        if value is not None and (name not in settings or settings[name] != value):
            raise UnsupportedError("trace and log settings can't be changed over the network")


def parse_settings(body: bytes | memoryview) -> Document:
    """Return the settings that a request asks for; an empty body asks for none."""
    return as_members(parse_document(body) if len(body) else None, "settings")
