"""tract, the paper's engine, as a peer: whole or in partitions, kept or loaded on each inference.

tract computes on one thread. A plain file it reads itself; an encrypted one is
decrypted into memory and handed to it from there, by the function of its C API that
its Python package leaves out.
"""

from __future__ import annotations

import ctypes
from importlib import import_module
from typing import TYPE_CHECKING, Any

from inferonnx.bench.encrypted_files import OpenedFile
from inferonnx.errors import ModelError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inferonnx.crypto import Secret

STORAGES = ("memory", "disk", "disk-encrypted")
"""Where the model is between two inferences."""

_TYPES = {"float": "f", "int": "i", "uint": "u", "bool": "bool"}
_CLIP = 160


class PeerLink:
    """One file of a chain: what is read, what it takes and gives.

    Attributes:
        path: The ONNX file, encrypted or not.
        inputs: Values that it takes, by the graph's names.
        outputs: Values that it gives, in the graph's order.
    """

    __slots__ = ("inputs", "outputs", "path")

    def __init__(self, path: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Keep them."""
        self.path = path
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)


class TractChain:
    """A model on tract, in one file or several that are run in order."""

    def __init__(self, links: Sequence[PeerLink], *, storage: str, key: Secret | None) -> None:
        """Load nothing yet: shapes are known with the first inputs.

        Args:
            links: In order.
            storage: One of `STORAGES`; "memory" keeps what the first run has loaded.
            key: Of "disk-encrypted".

        Raises:
            UnavailableError: tract is not installed.
        """
        self._tract = tract_module()
        self._links = tuple(links)
        self._keeps = storage == "memory"
        self._key = key
        self._loaded: dict[int, Any] = {}
        self._facts: dict[str, str] = {}
        last = {name: i for i, link in enumerate(links) for name in (*link.inputs, *link.outputs)}
        self._dead = [[n for n, at in last.items() if at == i] for i in range(len(links))]

    def run(self, sample: Mapping[str, Any], outputs: Sequence[str]) -> list[Any]:
        """Return outputs by name, as numpy has them.

        Raises:
            ModelError: tract can't load or run one of the files.
        """
        values: dict[str, Any] = dict(sample)
        found: dict[str, Any] = {name: sample[name] for name in outputs if name in sample}
        for i, link in enumerate(self._links):
            values.update(zip(link.outputs, self._step(i, link, values), strict=True))
            found.update((n, values[n].to_numpy()) for n in link.outputs if n in outputs)
            for name in self._dead[i]:
                values.pop(name, None)
        return [found[name] for name in outputs]

    def _step(self, i: int, link: PeerLink, values: dict[str, Any]) -> list[Any]:
        try:
            runnable, order = self._loaded.get(i) or self._load(link, values)
            if self._keeps:
                self._loaded[i] = runnable, order
            results: list[Any] = runnable.run([values[name] for name in order])
        except self._tract.TractError as error:
            raise refusal(self._tract, link.path, str(error)) from None
        return results

    def _load(self, link: PeerLink, values: dict[str, Any]) -> tuple[Any, list[str]]:
        model = self._open(link.path)
        order = [model.input_name(i) for i in range(model.input_count())]
        if set(order) != set(link.inputs):
            raise ModelError(f"tract finds the inputs {order} in {link.path!r}, not {link.inputs}")
        for i in range(model.output_count()):
            # What a file says of its outputs may name a size, which tract would not take for
            # the number that follows from the inputs. Before the inputs: one may be both.
            model.set_output_fact(i, None)
        for i, name in enumerate(order):
            model.set_input_fact(i, self._fact(name, values[name]))
        return model.into_model().into_runnable(), order

    def _open(self, path: str) -> Any:
        tract, onnx = self._tract, self._tract.onnx()
        if self._key is None:
            return onnx.load(path)
        opened, model = OpenedFile(path, self._key), ctypes.c_void_p()
        code = tract.bindings.lib.tract_onnx_load_buffer(
            onnx.ptr,
            ctypes.c_void_p(opened.address),
            ctypes.c_size_t(opened.n_bytes),
            ctypes.byref(model),
        )
        tract.bindings.check(code)
        return tract.InferenceModel(model)

    def _fact(self, name: str, value: Any) -> str:
        """Return type and shape of a value in tract's words; shapes are those of the first run."""
        if name not in self._facts:
            array = value.to_numpy() if isinstance(value, self._tract.Tensor) else value
            self._facts[name] = fact(array)
        return self._facts[name]


def fact(array: Any) -> str:
    """Return type and shape of an array as tract writes them: "1,3,224,224,f32"."""
    word = _TYPES.get(array.dtype.name.rstrip("0123456789"))
    if word is None:
        raise ModelError(f"tract has no elements of type {array.dtype.name}")
    kind = word if word == "bool" else f"{word}{array.dtype.itemsize * 8}"
    return ",".join([*map(str, array.shape), kind])


def tract_module() -> Any:
    """Return tract's package.

    Raises:
        UnavailableError: It is not installed.
    """
    try:
        return import_module("tract")
    except ImportError:
        raise UnavailableError(
            "tract, the engine of the paper, is not installed",
            hint="Install it with: pip install 'inferonnx[paper]'",
        ) from None


def refusal(tract: Any, path: str, text: str) -> ModelError:
    """Return the error of a file that tract does not take; its text goes on with a backtrace."""
    first = " ".join(text.partition("Stack backtrace")[0].split())
    return ModelError(f"tract {tract.version()} can't run {path!r}: {first[:_CLIP]}")
