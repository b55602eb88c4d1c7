"""Where keys of a sealed file are in memory: nowhere once its session is closed."""

import subprocess
import sys

import inferonnx
from inferonnx.app.relying.owned import OwnedFile
from inferonnx.sealed.keys import sub_keys
from machine import EACH_SUITE

LOOK = """
import mmap, sys
import numpy as np
import inferonnx
from inferonnx.tensors import DType, Tensor

path, key, *masked = sys.argv[1:]
masked = [bytes.fromhex(text) for text in masked]
scratch = mmap.mmap(-1, 4 << 20)  # shared, so that it is told from what is looked at

def n_found():
    # How often each key is in memory. What looks for it must leave no copies behind: memory
    # is read into the scratch alone, and looked at through the mask.
    counts = [0] * len(masked)
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
        for place, rights, *_ in map(str.split, maps.read().splitlines()):
            start, stop = (int(text, 16) for text in place.split("-"))
            for at in range(start, stop if rights == "rw-p" else start, len(scratch) - 64):
                try:
                    memory.seek(at)
                    n = memory.readinto(memoryview(scratch)[: min(len(scratch), stop - at)])
                except OSError:
                    break  # it is gone
                shown = (np.frombuffer(scratch, np.uint8, n) ^ 0x5A).tobytes()
                counts = [count + shown.count(key) for count, key in zip(counts, masked)]
    return counts

key = inferonnx.Key.load(key)
image = Tensor(dtype=DType.FLOAT, shape=(1, 3, 16, 16), data=memoryview(bytes(3 * 1024)))
session = inferonnx.open(path, key=key, as_numpy=False)
session.run(None, {"image": image})
n_found()  # it takes what it needs
print(*n_found())
session.close()
print(*n_found())
"""


@EACH_SUITE
def test_keys_of_a_file_go_with_its_session(cnn, key_path, tmp_path, suite):
    key, path = inferonnx.Key.load(key_path), tmp_path / "m.sealed"
    inferonnx.seal(cnn, path, key=key, memory="85MiB", suite=suite.name)
    with OwnedFile(path, key) as owned:
        data_key = owned.data_key.copy()
    keys = [data_key, *sub_keys(data_key, suite)]
    masked = [bytes(byte ^ 0x5A for byte in key.reveal()).hex() for key in keys]
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOOK, str(path), str(key_path), *masked],
        capture_output=True,
        text=True,
        check=True,
    )
    running, ended = (list(map(int, line.split())) for line in done.stdout.splitlines())
    assert running[:2] == [0, 0]  # the manifest is open, and no other file will be
    assert running[2] > 0
    assert ended == [0, 0, 0]
