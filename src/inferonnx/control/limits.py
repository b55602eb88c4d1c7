"""Defaults and bounds of the server's settings, each with its reason.

Sizes in bytes, times in seconds. docs/serve-config.md has the same values.
"""

from __future__ import annotations

from inferonnx.sizes import GIB, KIB, MIB

DEFAULT_PORT = 8443
"""Where TLS without root's rights is looked for; 8000 would be tried with plain HTTP."""

# Memory.
DEFAULT_MEMORY_BYTES = GIB
"""What a machine has to spare. In an enclave, the budget is always given."""

LEAST_MEMORY_BYTES = 32 * MIB
"""Interpreter and onnxruntime alone take more; how much a model needs is said at start."""

MAX_BYTES = (1 << 53) - 1
"""Sizes stand in JSON, where every reader keeps integers exact up to here."""

# Connections.
DEFAULT_CONNECTIONS = 64
"""What an idle one holds, the budget pays for all of them from the start. More clients
share connections through a proxy."""

MOST_CONNECTIONS = 1 << 16
"""File descriptors of a process."""

DEFAULT_HANDSHAKE_TIMEOUT_S = 10
"""A handshake is two round trips; slow lines take one second."""

DEFAULT_HEADER_TIMEOUT_S = 10
"""Headers fit into one packet; who sends them byte by byte holds a connection for nothing."""

DEFAULT_IDLE_TIMEOUT_S = 90
"""Clients keep idle connections for up to 75 seconds and don't retry a POST that meets a
closing one, so they have to be the first to close."""

DEFAULT_BODY_TIMEOUT_S = 300
"""A body of the largest size at 2 Mbit/s."""

DEFAULT_BODY_RATE_BYTES = KIB
"""Bytes a second below which a body is no slow line but an attack."""

DEFAULT_REPLY_TIMEOUT_S = 60
"""Without a byte taken: the reply holds memory that others wait for."""

MOST_TIMEOUT_S = 86_400
"""A day: longer is as good as never."""

# What one request may bring.
DEFAULT_HEADER_BYTES = 16 * KIB
"""Of all headers together; clients send less than 1 KiB, a large token makes 4."""

DEFAULT_HEADERS = 64
"""Clients send up to a dozen."""

DEFAULT_BODY_BYTES = 64 * MIB
"""100 images of 224x224 as FP32; Triton has the same limit. Never more than the budget."""

DEFAULT_CHUNKS = 1 << 16
"""Chunks of a chunked body, as in Triton: 1 KiB each makes the largest body."""

MOST_HEADERS = 1024
"""More would take longer to look through than to read."""

MOST_CHUNKS = 1 << 30
"""A limit that is none; nobody needs more."""

# Work.
DEFAULT_CONCURRENCY = 8
"""Calls that share a pass over a model's weights; more gain little and hold memory."""

MOST_CONCURRENCY = 256
"""Beyond, memory of activations grows and nothing gets faster."""

DEFAULT_BATCH = 8
"""Requests that run as one batch; on a few cores larger ones are no faster."""

MOST_BATCH = 1024
"""Beyond, no processor gets faster."""

DEFAULT_BATCH_DELAY_US = 2_000
"""What the first request of a batch waits for others: less than a small model computes."""

MOST_BATCH_DELAY_US = 1_000_000
"""A second: who waits longer wants batches of his own."""

DEFAULT_QUEUE = 64
"""Requests that wait for one model; more of them would time out at their clients."""

MOST_QUEUE = 1 << 16
"""Each waits on a connection, and there are no more of those."""

DEFAULT_REQUEST_TIMEOUT_S = 300
"""From the last byte of a request to its answer; large models in little memory take seconds."""

DEFAULT_DRAIN_TIMEOUT_S = 25
"""After SIGTERM; Kubernetes kills after 30."""

MOST_THREADS = 1024
"""Cores of the largest machines."""

# Models and uploads.
DEFAULT_QUOTA_BYTES = 64 * GIB
"""Of all models and half uploads together: dozens of large models, not a whole disk."""

DEFAULT_UPLOAD_EXPIRY_S = 86_400
"""A half upload that nobody goes on with for a day was given up."""

MOST_UPLOAD_EXPIRY_S = 30 * 86_400
"""A month: by then its owner has started another."""

DEFAULT_UPLOADS = 8
"""Half uploads at one time; one owner pushes few models at once."""

MOST_UPLOADS = 1024
"""Each is a file and a folder entry that start reads."""

# TLS.
DEFAULT_CERTIFICATE_DAYS = 90
"""Validity of the certificate that the server signs itself; a restart draws a new key anyway."""

MOST_CERTIFICATE_DAYS = 825
"""Some clients refuse longer ones, also from a CA of their own."""

MOST_TOKENS = 1024
"""Entries of tokens, each of which a request is compared with."""

MOST_CONFIG_CHARS = 1 << 20
"""Of the configuration's text: a thousand tokens take a quarter of it."""
