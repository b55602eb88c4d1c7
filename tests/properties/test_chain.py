"""Any small graph, cut anywhere into plain ONNX files, computes the same bits as the whole."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from inferonnx.model.chain import (
    ChainSession,
    cut_chain,
    infer_value_types,
    load_chain,
    prepare_chain,
    read_original,
)

_spec = importlib.util.spec_from_file_location(
    "cutting", Path(__file__).with_name("test_cutting.py")
)
assert _spec is not None
assert _spec.loader is not None
cutting = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cutting)
tools = cutting.tools


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(case=cutting.cases())
def test_any_graph_cut_anywhere_computes_the_same_bits(case):
    model, samples, cuts, _ = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        path.write_bytes(model.SerializeToString())
        original = read_original(str(path))
        infer_value_types(original)
        n_operators = len(original.operators)
        session = tools.open_session(str(path), tools.options(optimise=False))
        for number, places in enumerate(
            ([c for c in cuts if c < n_operators], range(1, n_operators))
        ):
            target = Path(folder) / str(number)
            cut_chain(original, target, list(places), prefix="m", strategy="test")
            chain = ChainSession(load_chain(target, model_path=path), optimise="off", n_threads=1)
            for sample in samples:
                want = tools.run_whole(session, sample)
                got = chain.run(sample).outputs
                for name, value in want.items():
                    assert tools.same(got[name], value, 0), name


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(case=cutting.cases())
def test_any_chain_is_one_model_taken_apart_with_cuts_at_its_edges(case):
    model, samples, cuts, _ = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        path.write_bytes(model.SerializeToString())
        n_operators = len(read_original(str(path)).operators)
        places = [c for c in cuts if c < n_operators]
        chain = cut_chain(path, Path(folder) / "parts", places, prefix="m", strategy="test")
        prepared, edges = prepare_chain(chain, sample=samples[0], inline_bytes=100)
        with prepared:
            assert len(edges) <= len(places)
            for sample in samples:
                want = tools.run_plain(str(path), sample, prepack=False)
                got = tools.chain(prepared, edges, sample)
                for name, value in want.items():
                    assert tools.same(got[name], value, 1e-4), name
