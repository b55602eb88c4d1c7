import csv
import io

from inferonnx.paper.summary import inside_table, table2_line
from inferonnx.paper.table2 import HEAD, table2
from inferonnx.sizes import MIB


def row(model, configuration, total_ms, *, limit=None, faults=0, **more):
    return {
        "model": model,
        "configuration": configuration,
        "total_ms": total_ms,
        "limit_bytes": limit,
        "major_faults": [faults] * len(total_ms),
        "streamed_bytes": 1000,
        "label": "no limit enforced",
        "error": None,
        **more,
    }


ROWS = [
    row("squeezenet1.0-7", "memory-plain", [9.0, 10.0, 90.0]),
    row("squeezenet1.0-7", "disk-plain", [12.0]),
    row("squeezenet1.0-7", "disk-plain-cold", [20.0]),
    row("densenet-7", "memory-plain", [10.0]),
    row("densenet-7", "disk-plain", [11.0]),
    row("vgg16-7", "memory-plain", [10.0]),
    row("vgg16-7", "disk-plain", [], error="no"),
]


def parsed(rows, models):
    return list(csv.reader(io.StringIO(table2(rows, models))))


def test_medians_ratios_and_their_median():
    head, squeeze, dense, last = parsed(ROWS, ["squeezenet1.0-7", "densenet-7"])
    assert tuple(head) == HEAD
    assert squeeze[:6] == ["SqueezeNet 1.0", "10.00", "12.00", "1.200", "20.00", "2.000"]
    assert dense[1:6] == ["10.00", "11.00", "1.100", "", ""]
    assert last[3] == "1.150"
    assert last[5] == "2.000"


def test_what_failed_or_is_missing_has_empty_fields_and_no_part_in_the_median():
    _, vgg, none, last = parsed(ROWS, ["vgg16-7", "mobilenetv2-7"])
    assert vgg[1:4] == ["10.00", "", ""]
    assert none[1:] == [""] * (len(HEAD) - 1)
    assert last[3] == ""


def test_the_sentence():
    assert "1.15 in the median of 2 models" in table2_line(ROWS)
    assert "not measured" in table2_line([])


def test_the_stream_stands_beside_its_own_without_the_limit_of_the_same_job():
    tight, wide = 72 * MIB, 85 * MIB
    rows = [
        row("net", "entire-memory-tee", [1000.0], limit=wide, faults=60_000),
        row("net", "stream-tee", [110.0], limit=wide),
        row("net", "stream-free", [100.0]),
        row("net", "stream-tee", [120.0], limit=tight, faults=1),
        row("net", "stream-free", [60.0]),
    ]
    first, second = inside_table(rows)
    assert first == ["net", "85.0 MiB", "1000.0", "60000", "110.0", "0", "1.10", "9.09"]
    assert second == ["net", "72.0 MiB", "-", "-", "120.0", "1", "2.00", "-"]
