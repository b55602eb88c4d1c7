"""What the enclave asks the system for: only what a library OS has.

The tracer answers every other system call with "not implemented", as Gramine and
Occlum do, and the model still has to give its answer.
"""

import platform
import re
import subprocess
import sys

import pytest

import inferonnx
from machine import tool

IN_EVERY_LIBRARY_OS = {
    *("access", "close", "dup", "fcntl", "fstat", "fstatfs", "getcwd", "getdents64", "ioctl"),
    *("lseek", "lstat", "newfstatat", "open", "openat", "pread64", "read", "readlink"),
    *("readlinkat", "readv", "stat", "statfs", "write", "writev"),
    *("brk", "madvise", "mmap", "mprotect", "munmap"),
    *("clone", "exit", "exit_group", "futex", "get_robust_list", "getcpu", "gettid"),
    *("sched_getaffinity", "sched_setaffinity", "sched_yield", "set_robust_list"),
    "set_tid_address",
    *("clock_getres", "clock_gettime", "clock_nanosleep", "gettimeofday", "nanosleep", "time"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "tgkill"),
    *("arch_prctl", "execve", "getegid", "geteuid", "getgid", "getpid", "getppid", "getrandom"),
    *("getrlimit", "getuid", "prlimit64", "setrlimit", "sysinfo", "umask", "uname"),
}
"""Implemented by both Gramine (libos/src/arch/x86_64/libos_table.c, June 2025) and Occlum
(src/libos/src/syscall/mod.rs, 0.31), and of use to an interpreter that computes: files to read,
memory, threads, clocks, signals, facts about itself. No sockets, no shared memory, no
processes, nothing that makes or removes a file."""

TRIED_BEFORE_SOMETHING_ELSE = {
    "clone3": "glibc then takes clone",
    "faccessat2": "glibc then looks at the mode itself",
    "mremap": "Occlum has it; without it realloc copies",
    "prctl": "Python 3.14 names its threads, and goes on without",
    "rseq": "glibc then goes without restartable sequences",
    "statx": "glibc then takes newfstatat",
}
"""Missing in Gramine or in both; who calls them does without when the system has none."""

RUN = """
import hashlib, sys, threading
import inferonnx
from inferonnx.tensors import DType, Tensor

path, key = sys.argv[1:]
image = Tensor(
    dtype=DType.FLOAT, shape=(1, 3, 16, 16), data=memoryview(bytes(range(256)) * 12)
)
answers = set()
with inferonnx.open(
    path, key=inferonnx.Key.load(key), memory="100MiB", threads=3, concurrency=2, as_numpy=False
) as session:
    def call():
        (scores,) = session.run(None, {"image": image})
        answers.add(bytes(scores.data))
    call()
    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
(answer,) = answers
print(hashlib.sha256(answer).hexdigest())
"""


@pytest.fixture(scope="module")
def generic(cnn, key_path, tmp_path_factory):
    """The small model, sealed for any machine."""
    path = tmp_path_factory.mktemp("generic") / "generic.sealed"
    key = inferonnx.Key.load(key_path)
    inferonnx.seal(cnn, path, key=key, memory="85MiB", target="generic")
    return path


@pytest.fixture
def command(generic, key_path):
    return [sys.executable, "-B", "-c", RUN, str(generic), str(key_path)]


def answer(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the lists are those of x86-64")
def test_the_enclave_runs_with_the_system_calls_of_a_library_os(command, tmp_path):
    trace = tmp_path / "trace"
    refuse = f"inject=!{','.join(sorted(IN_EVERY_LIBRARY_OS))}:error=ENOSYS"
    traced = answer([tool("strace"), "-f", "-o", str(trace), "-e", refuse, *command])
    assert traced == answer(command)
    called = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE))
    refused = set(re.findall(r"^\d+ +(\w+)\(.*\(INJECTED\)$", trace.read_text(), re.MULTILINE))
    assert {"pread64", "mmap", "futex", "clone"} <= called  # it has read, and on three threads
    assert called - IN_EVERY_LIBRARY_OS == refused
    assert refused <= set(TRIED_BEFORE_SOMETHING_ELSE)


def test_what_the_trace_refuses_does_stop_a_process(tmp_path):
    # Else the test above would pass whatever happens.
    trace = tmp_path / "trace"
    refuse = f"inject=!{','.join(sorted(IN_EVERY_LIBRARY_OS))}:error=ENOSYS"
    for code in ("import socket; socket.socket()", "import os; os.mkdir('x')"):
        done = subprocess.run(
            [tool("strace"), "-f", "-o", str(trace), "-e", refuse, sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 1
        assert "not implemented" in done.stderr
