"""Prove that a sealed model computes what its ONNX model does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inferonnx.app.host.comparing import Difference, compare
from inferonnx.app.host.opening import open_unplanned
from inferonnx.app.host.values import exported
from inferonnx.errors import DifferenceError, UsageError
from inferonnx.model.plain import PlainModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inferonnx.app.host.keys import Key
    from inferonnx.runtime.ort_values import Exported


def verify(
    model: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    key: Key,
    samples: Sequence[Mapping[str, object]] = (),
    n_samples: int = 3,
    progress: Callable[[str], None] = lambda _: None,
) -> Difference:
    """Compare plain onnxruntime on the whole model with the sealed stream.

    Args:
        model: The ONNX file.
        path: The sealed file.
        key: The owner's key.
        samples: Inputs by name; made up from the signature when there are none.
        n_samples: How many to make up.
        progress: Told what happens.

    Returns:
        The largest difference over all samples; `comparing.check_agreement` judges it.

    Raises:
        DifferenceError: Inputs or outputs have other names.
        UsageError: There is nothing to compare: no samples, or empty outputs.
    """
    if not samples and n_samples < 1:
        raise UsageError("nothing to compare: no samples", hint="Make up one or more.")
    total = Difference()
    plain = PlainModel(model)
    with open_unplanned(os.fspath(path), key=key) as session:  # every block is streamed
        if set(plain.input_names) != {value.name for value in session.get_inputs()}:
            raise _others("inputs")
        chosen: Sequence[Mapping[str, object]] = samples or [
            plain.made_up(session.planned_shapes, seed=seed) for seed in range(n_samples)
        ]
        kinds = {value.name: value.type for value in session.get_outputs()}
        names = [value.name for value in session.get_outputs()]
        for number, sample in enumerate(chosen, 1):
            progress(f"sample {number} of {len(chosen)}")
            known = plain.run(sample)
            if list(known) != list(dict.fromkeys(names)):  # one may be listed twice
                raise _others("outputs")
            mine: dict[str, Exported] = dict(
                zip(names, session.run(None, sample), strict=True)  # type: ignore[arg-type]
            )
            theirs = {name: exported(value, kinds[name]) for name, value in known.items()}
            total = total.joined(compare(theirs, mine))
    if not total.n_values and total.within:
        raise UsageError(
            "nothing was compared: all outputs are empty", hint="Give other inputs with --input."
        )
    return total


def _others(what: str) -> DifferenceError:
    return DifferenceError(
        f"model and sealed file have {what} of other names", hint="Was it sealed from this model?"
    )
