"""What `inspect` shows of a sealed file, as plain values that JSON can hold.

Without the key: what the header says. With it: what the manifest says, without
skeletons, probe values and tags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.sealed.constants import FORMAT_VERSION, HEADER_BYTES
from inferonnx.sealed.segments import SegmentTable

if TYPE_CHECKING:
    from inferonnx.sealed.header import VerifiedHeader
    from inferonnx.sealed.manifest import Manifest, ValueInfo


def describe_header(verified: VerifiedHeader, *, file_bytes: int) -> dict[str, object]:
    """Return what anyone may know of a file of `file_bytes`; all of it is signed but `key_id`.

    Raises:
        SealedFormatError: The file is too short to hold its manifest.
    """
    header = verified.header
    return {
        "format_version": FORMAT_VERSION,
        "suite": header.suite.name,
        "model_id": verified.model_id.hex(),
        "owner": header.owner.hex(),
        "release": header.release,
        "key_id": header.slot.key_id.hex(),
        "root": header.root.hex(),
        "file_bytes": file_bytes,
        "segments_bytes": header.manifest_offset(file_bytes) - HEADER_BYTES,
        "manifest_bytes": header.manifest_bytes,
    }


def describe_manifest(manifest: Manifest) -> dict[str, object]:
    """Return what the holder of the key may know."""
    memory, arena, target = manifest.memory, manifest.arena, manifest.target
    return {
        "name": manifest.name,
        "producer": manifest.producer,
        "strategy": manifest.strategy,
        "inputs": [_describe_value(value) for value in manifest.inputs],
        "outputs": [_describe_value(value) for value in manifest.outputs],
        "metadata": dict(manifest.metadata),
        "notes": list(manifest.notes),
        "planned_shapes": {name: list(shape) for name, shape in manifest.planned_shapes.items()},
        "rows_independent": manifest.rows_independent,
        "target": {
            "onnxruntime": target.onnxruntime,
            "layout": target.layout,
            "arch": target.arch,
        },
        "memory": {
            "budget_bytes": memory.budget_bytes,
            "least_bytes": memory.least_bytes,
            "floor_bytes": memory.floor_bytes,
            "session_bytes": memory.session_bytes,
            "call_bytes": memory.call_bytes,
        },
        "arena": {
            "strategy": arena.strategy,
            "initial_bytes": arena.initial_bytes,
            "peak_bytes": arena.peak_bytes,
        },
        "n_segments": SegmentTable.of_manifest(manifest).n_segments,
        "weight_bytes": sum(partition.block_bytes for partition in manifest.partitions),
        "has_probe": manifest.probe is not None,
        "has_check": manifest.check is not None,
        "partitions": [
            {
                "n_nodes": partition.n_nodes,
                "n_weights": len(partition.weights),
                "weight_bytes": partition.block_bytes,
                "activation_bytes": partition.activation_bytes,
                "skeleton_bytes": len(partition.skeleton),
                "time_us": partition.time_us,
            }
            for partition in manifest.partitions
        ],
    }


def _describe_value(value: ValueInfo) -> dict[str, object]:
    return {
        "name": value.name,
        "type": value.type,
        "shape": None if value.shape is None else list(value.shape),
    }
