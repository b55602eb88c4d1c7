"""A model cut at every possible place, sealed in memory and streamed with nothing resident.

The hardest way to run a model that the engine knows: each node alone in its
partition wherever values can cross, each weight opened anew in every pass.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inferonnx.app.host.keys import Key
from inferonnx.app.host.opening import open_unplanned
from inferonnx.app.owner.manifests import manifest_of
from inferonnx.app.owner.writing import SealDraft, seal_into
from inferonnx.crypto import SUITES
from inferonnx.plan import MemoryModel, Rates, assess

if TYPE_CHECKING:
    from inferonnx.app.host.session import Session
    from inferonnx.model import Prepared

# Nothing is weighed here, every cut is given; the plan only has to be one.
_NO_COSTS = MemoryModel(floor_bytes=0, session_bytes=0, node_bytes=0, weight_input_bytes=0)
_ANY_RATES = Rates(stream_bytes_per_s=1e9, partition_overhead_s=0.0, stream_overhead_s=0.0)


def stream_everywhere(prepared: Prepared, *, suite: str = "aes-256-gcm") -> Session:
    """Return an open session of the model, one node a partition where cuts are possible.

    The sealed file has no name and the key is thrown away: both end with the session.

    Raises:
        EngineError: onnxruntime refuses a partition.
    """
    n_nodes = len(prepared.graph.nodes)
    plan = assess(
        prepared.graph,
        [cut for cut in range(1, n_nodes) if cut not in prepared.uncuttable],
        memory=_NO_COSTS,
        rates=_ANY_RATES,
        budget_bytes=None,
        strategy="everywhere",
    )
    draft = SealDraft.of(prepared, plan)
    key = Key.generate()
    with os.fdopen(os.memfd_create("inferonnx"), "w+b") as file:
        seal_into(
            file,
            draft,
            manifest_of(draft, name="everywhere"),
            key=key.owner,
            suite=SUITES[suite],
            release=0,
        )
        file.flush()
        # Nothing is measured here, and dropping pages would take most of the time.
        return open_unplanned(f"/proc/self/fd/{file.fileno()}", key=key, page_drop=False)
