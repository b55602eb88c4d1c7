"""The server's disk: one process has it, and its errors are the server's."""

import errno
import os
import subprocess
import sys

import pytest

from inferonnx.errors import UnavailableError, UsageError
from inferonnx.oip import StorageFullError
from inferonnx.runtime.folders import open_folder
from inferonnx.server.disk import disk_errors, lock_folder
from inferonnx.server.replies import failure

TAKE = """
import sys
from inferonnx.runtime.folders import open_folder
from inferonnx.server.disk import lock_folder
lock_folder(open_folder(sys.argv[1]), sys.argv[1])
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_507(number):
    with pytest.raises(StorageFullError, match="disk is full") as caught, disk_errors("storing"):
        raise OSError(number, os.strerror(number), "/secret/path")
    assert failure(caught.value).status == 507


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOENT, errno.ENOTDIR, errno.EACCES])
def test_other_errors_of_the_disk_are_no_clients_fault_and_name_no_path(number):
    with pytest.raises(UnavailableError, match="storing failed") as caught, disk_errors("storing"):
        raise OSError(number, os.strerror(number), "/secret/path")
    assert "/secret" not in caught.value.message
    assert failure(caught.value).status == 503


def test_errors_of_ours_pass():
    with pytest.raises(UsageError, match="ours"), disk_errors("storing"):
        raise UsageError("ours")


def test_a_folder_is_locked_until_its_process_ends_however_it_ends(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", TAKE, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout.readline() == "taken\n"
        folder = open_folder(str(tmp_path))
        with pytest.raises(UnavailableError, match="another server uses") as caught:
            lock_folder(folder, str(tmp_path))
        assert caught.value.hint
        child.kill()
    os.close(lock_folder(folder, str(tmp_path)))
    os.close(folder)
