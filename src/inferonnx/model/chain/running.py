"""A chain of plain ONNX files, run one after another on plain onnxruntime."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from inferonnx.errors import ModelError
from inferonnx.model.onnxruntime_door import open_session, reason, refusal, session_options
from inferonnx.model.values import fetch, numpy_value, tensor_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inferonnx.model.chain.index import Chain, Link


class ChainRun(NamedTuple):
    """What a run gave.

    Attributes:
        outputs: The model's outputs by name, as Python and numpy have them.
        seconds: Of each link, loading included where files are loaded again.
    """

    outputs: dict[str, Any]
    seconds: tuple[float, ...]


class ChainSession:
    """Sessions over the files of a chain; values are dropped behind their last reader."""

    def __init__(
        self,
        chain: Chain,
        *,
        reload: bool = False,
        optimise: str = "all",
        n_threads: int = 0,
        sessions: Sequence[Any] | None = None,
    ) -> None:
        """Open the files.

        Args:
            chain: Its files are there.
            reload: Load each file again on each run and keep none, as the paper's engine
                does from disk.
            optimise: Level of onnxruntime's optimiser, as `session_options` has it.
            n_threads: Threads of a session; zero leaves onnxruntime's default.
            sessions: Over the files, where they are open already.

        Raises:
            ModelError: onnxruntime refuses a file.
        """
        self._chain = chain
        self._settings = (optimise, n_threads)
        self._sessions = sessions
        if not reload and sessions is None:
            self._sessions = [self._open(link) for link in chain.links]
        n_links = len(chain.links)
        self._last_use = {name: i for i, link in enumerate(chain.links) for name in link.inputs}
        self._last_use |= dict.fromkeys(chain.outputs, n_links)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the model's outputs, in order; one may be listed twice."""
        return self._chain.outputs

    def run(
        self,
        inputs: Mapping[str, Any],
        *,
        watch: Callable[[Link, Mapping[str, Any]], None] = lambda _link, _values: None,
    ) -> ChainRun:
        """Run the whole chain.

        Args:
            inputs: Arrays (lists, dicts for sequences and maps) by name; inputs that have
                a default may be among them.
            watch: Told what each link is given, before it runs.

        Raises:
            ModelError: An input is missing, or onnxruntime fails.
        """
        for name in self._chain.inputs:
            if inputs.get(name) is None:
                raise ModelError(f"input {name!r} has no value", where=name)
        live = {name: tensor_value(value) for name, value in inputs.items()}
        seconds = []
        for index, link in enumerate(self._chain.links):
            watch(link, {name: live[name] for name in link.inputs})
            began = time.perf_counter()
            live |= self._run(index, link, live)
            seconds.append(time.perf_counter() - began)
            live = {n: v for n, v in live.items() if n in inputs or self._lasts(n, index)}
        outputs = {name: numpy_value(live[name]) for name in self._chain.outputs}
        return ChainRun(outputs, tuple(seconds))

    def _lasts(self, name: str, index: int) -> bool:
        return self._last_use.get(name, -1) > index

    def _run(self, index: int, link: Link, live: Mapping[str, Any]) -> dict[str, Any]:
        session = self._sessions[index] if self._sessions is not None else self._open(link)
        feeds = {name: live[name] for name in link.inputs}
        overridable = (value.name for value in session.get_overridable_initializers())
        feeds |= {name: live[name] for name in overridable if name in live}
        opaque = any(not v.type.startswith("tensor(") for v in session.get_outputs())
        try:
            if not opaque:
                return fetch(session, link.outputs, feeds)
            results = session.run(list(link.outputs), feeds)
            return {n: tensor_value(v) for n, v in zip(link.outputs, results, strict=True)}
        except Exception as error:
            raise ModelError(
                f"onnxruntime fails on {link.file!r}: {reason(error)}", where=link.file
            ) from error

    def _open(self, link: Link) -> Any:
        optimise, n_threads = self._settings
        path = self._chain.path(link)
        try:
            return open_session(
                path, session_options(optimise=optimise, n_threads=n_threads, spin=False)
            )
        except Exception as error:
            raise refusal(error, path) from error
