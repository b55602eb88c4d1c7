"""What a scrape says, read by Prometheus' own parser."""

from prometheus_client.parser import text_string_to_metric_families

from inferonnx.server.metrics import ModelSample, ServerSample, exposition
from inferonnx.server.statistics import Failure, ModelStatistics, Timing


def sample() -> ServerSample:
    statistics = ModelStatistics()
    statistics.succeeded(Timing(1000, 2000, 3000, 4000, 1), rows=1, now_ms=5)
    statistics.failed(Failure.REJECTED, 0)
    statistics.executed(1, Timing(0, 2000, 3000, 4000, 1), streamed_bytes=77)
    model = ModelSample("a.b-c_1", 3, statistics, True, 10, 9, 0.25)
    return ServerSample([model], 1, 2, 3, 4, 5, 6, 7, 1.5, 2.5)


def test_prometheus_reads_every_family() -> None:
    families = {f.name: f for f in text_string_to_metric_families(exposition(sample()))}
    success = families["nv_inference_request_success"].samples[0]
    assert (success.labels, success.value) == ({"model": "a.b-c_1", "version": "3"}, 1.0)
    reasons = {
        s.labels["reason"]: s.value for s in families["nv_inference_request_failure"].samples
    }
    assert reasons == {"REJECTED": 1.0, "CANCELED": 0.0, "BACKEND": 0.0, "OTHER": 0.0}
    assert families["nv_inference_request_duration_us"].samples[0].value == 10
    assert families["inferonnx_streamed_bytes"].samples[0].value == 77
    assert families["process_cpu_seconds"].samples[0].value == 1.5


def test_a_server_without_models_still_names_its_families() -> None:
    text = exposition(sample()._replace(models=[]))
    assert "# TYPE nv_inference_count counter" in text
    assert "nv_inference_count{" not in text


def test_histograms_end_where_percentiles_do() -> None:
    statistics = ModelStatistics()
    assert statistics.histogram_ns() == []
    for ns in (4_000, 1_000_000, 1_000_000, 40_000_000):
        statistics.succeeded(Timing(ns, 0, 0, 0, 1), rows=1, now_ms=0)
    (first, _), (middle, n_middle), (last, _) = statistics.histogram_ns()
    assert n_middle == 2
    assert first <= 10_000 < 1_000_000 <= middle < 1_100_001 < 40_000_000 <= last < 44_000_001
    assert (statistics.percentile_ns(0.5), statistics.percentile_ns(0.99)) == (middle, last)
