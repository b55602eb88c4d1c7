"""Models that double their input, behind the server's ports: for races, not for answers.

They hold the server to what the engine relies on: nothing runs a closed model, nothing
opens one with a wiped key, and all that are open at a time keep to their sum.
"""

from inferonnx.crypto import Secret
from inferonnx.errors import ModelError, TensorError
from inferonnx.oip import make_signature
from inferonnx.sealed import ValueInfo
from inferonnx.server.ports import ModelFacts, Residency
from inferonnx.tensors import DType, Tensor

KEY_BYTES = b"k" * 32
WIPED = Secret(bytes(32))


def new_key():
    return Secret(KEY_BYTES)


def facts(*, least=50, full=100, passes=0, batchable=True):
    value = ValueInfo(name="x", type="tensor(int64)", shape=("batch", None))
    signature = make_signature((value,), (value,))
    return ModelFacts("doubles", signature, least, full, passes, batchable)


def numbers(*values, rows=None):
    """Return an int64 tensor (rows, values)."""
    data = b"".join(v.to_bytes(8, "little", signed=True) for v in values)
    n_rows = 1 if rows is None else rows
    return Tensor(dtype=DType.INT64, shape=(n_rows, len(values) // (n_rows or 1)), data=data)


class DoublingModel:
    """An open model.

    Attributes:
        fault: What `run` raises next time, None for nothing.
        fits_up_to: Rows that it says it has room for.
        by_rows: Whether outputs have the first axis of the inputs.
    """

    def __init__(self, opener, share_bytes, pass_bytes=0):
        self.opener, self.share_bytes, self.pass_bytes = opener, share_bytes, pass_bytes
        self.closed = False
        self.n_running = 0
        self.batches = []
        self.opened_bytes = 0
        self.fault = None
        self.fits_up_to = 1 << 30
        self.by_rows = True

    @property
    def residency(self):
        return Residency(1, 1, self.share_bytes - self.pass_bytes, 0, self.pass_bytes)

    def fits(self, shapes):
        if isinstance(self.fits_up_to, Exception):
            raise self.fits_up_to
        return shapes["x"][0] <= self.fits_up_to

    def run(self, inputs, stop):
        if self.closed:
            self.opener.wrongs.append("a closed model runs")
        values = inputs["x"].data.cast("q").tolist() if len(inputs["x"].data) else []
        self.batches.append(values)
        self.opened_bytes += 10
        if self.fault is not None:
            raise self.fault
        if self.opener.bad & set(values):
            raise TensorError("a bad input")
        doubled = Tensor(
            dtype=DType.INT64,
            shape=inputs["x"].shape,
            data=numbers(*(2 * v for v in values)).data,
        )
        if self.by_rows:
            return [doubled]
        return [Tensor(dtype=DType.INT64, shape=(1, *doubled.shape), data=doubled.data)]

    def close(self):
        if self.closed:
            self.opener.wrongs.append("closed twice")
        self.closed = True
        if not self.opener.open_models:
            self.opener.arena_bytes = 0
        if self.opener.close_fault is not None:
            raise self.opener.close_fault


class DoublingOpener:
    """Opens models by their path; what it knows of them is set by the test.

    Attributes:
        known: Facts by path.
        models: All that were ever opened.
        wrongs: What should never have been asked of it.
        fault: What `open` raises, None for nothing.
        bad: Values that no run takes.
    """

    def __init__(self, known, *, total=100):
        self.known, self.total = known, total
        self.models = []
        self.wrongs = []
        self.arena_bytes = 0
        self.fault = self.facts_fault = self.close_fault = None
        self.bad = set()

    def facts(self, path, data_key, *, concurrency, n_rows):
        if self.facts_fault is not None:
            raise self.facts_fault
        if path not in self.known:
            raise ModelError("there is no such model")
        return self.known[path]

    def open(self, path, data_key, *, share_bytes, concurrency, model_id):
        if data_key != Secret(KEY_BYTES):
            self.wrongs.append("a wiped key")
        if self.fault is not None:
            raise self.fault
        known = self.known[path]
        if not known.least_bytes <= share_bytes <= max(known.least_bytes, known.full_bytes):
            self.wrongs.append("a share outside of its limits")
        model = DoublingModel(self, share_bytes, known.pass_bytes)
        self.models.append(model)
        self.arena_bytes = max(self.arena_bytes, self.passes_bytes)
        if self.held_bytes > self.total:
            self.wrongs.append("more is open than there is memory for")
        return model

    @property
    def passes_bytes(self):
        return sum(model.pass_bytes for model in self.open_models)

    @property
    def held_bytes(self):
        """What the process holds: weights of open models, and an arena that only grows."""
        weights = sum(model.share_bytes - model.pass_bytes for model in self.open_models)
        return weights + self.arena_bytes

    @property
    def open_models(self):
        return [model for model in self.models if not model.closed]
