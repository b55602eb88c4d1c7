"""A live scrape, read by Prometheus' own parser."""

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

import inferonnx


@pytest.fixture(scope="module")
def server(start):
    server = start("cnn", "texts", options=("--allow-anonymous-infer",))
    yield server
    assert server.end() == 0, server.log.read_text()


@pytest.fixture
def scrape(server):
    def get():
        status, headers, body = server.asked("/metrics", role="metrics")
        assert status == 200
        assert headers["content-type"].startswith("text/plain")
        return list(parse(body.decode()))

    return get


def values(families):
    """Return the values by name and labels; the parser lets every counter end in `_total`."""
    return {
        (sample.name.removesuffix("_total"), *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def of(name, model, **labels):
    return (name, *sorted({"model": model, "version": "1", **labels}.items()))


def test_counters_count(server, scrape, image):
    before = values(scrape())
    with inferonnx.Client(server.url, ca=server.ca, insecure_no_attestation=True) as client:
        for _ in range(3):
            client.infer("cnn", {"image": image})
        client.infer("cnn", {"image": np.zeros((4, 3, 16, 16), np.float32)})
        with pytest.raises(inferonnx.InferonnxError):
            client.infer("cnn", {"image": np.zeros((500, 3, 16, 16), np.float32)})
    after = values(scrape())

    def grown(key):
        return after[key] - before.get(key, 0)

    assert grown(of("nv_inference_request_success", "cnn")) == 4
    assert grown(of("nv_inference_count", "cnn")) == 7
    assert 1 <= grown(of("nv_inference_exec_count", "cnn")) <= 4
    failures = {
        reason: grown(of("nv_inference_request_failure", "cnn", reason=reason))
        for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER")
    }
    assert sum(failures.values()) == 1
    for part in ("request", "queue", "compute_infer"):
        assert grown(of(f"nv_inference_{part}_duration_us", "cnn")) > 0
    assert after[of("nv_inference_request_success", "texts")] == 0
    assert after[of("nv_inference_pending_request_count", "cnn")] == 0


def test_each_family_says_what_it_is_and_is_there_once(scrape):
    families = scrape()
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert {family.type for family in families} <= {"counter", "gauge", "histogram"}
    assert all(family.documentation for family in families)
    assert all(name.startswith(("nv_", "inferonnx_", "process_")) for name in names)
    keys = [(s.name, *sorted(s.labels.items())) for f in families for s in f.samples]
    assert len(keys) == len(set(keys))


def test_memory_is_what_the_kernel_says(server, scrape):
    found = values(scrape())
    assert abs(found[("inferonnx_memory_resident_bytes",)] - server.status("VmRSS")) < 8 << 20
    assert found[("inferonnx_memory_peak_bytes",)] <= server.status("VmHWM")
    assert found[("inferonnx_memory_budget_bytes",)] == server.facts["memory_bytes"]
    assert found[("inferonnx_connections",)] >= 1


def test_only_by_the_role(server):
    assert server.asked("/metrics")[0] == 401
    assert server.asked("/metrics", role="infer")[0] == 403
    assert server.asked("/metrics", role="manage")[0] == 403
    status, headers, _ = server.asked("/metrics", "-X", "POST", role="metrics")
    assert (status, headers["allow"]) == (405, "GET")
