"""The server's private key reaches no file: every system call that writes is looked at."""

import re
import subprocess
import sys

from machine import tool

SERVE = """
import asyncio, os, sys, time
from inferonnx.crypto import x509
from inferonnx.server.http import HttpService
from inferonnx.server.identity import TlsSettings, born_identity
from inferonnx.server.limits import ConnectionLimits, HttpLimits
from inferonnx.server.listener import Listener
from inferonnx.server.messages import Reply

async def hello(exchange):
    return Reply(status=200, pieces=(b"hello",))

async def main():
    identity = born_identity(
        ["localhost"], settings=TlsSettings(is_1_2_allowed=True), now_s=int(time.time()),
        random=os.urandom(16),
    )
    identity.csr()
    identity.install(identity.certificate_pem)
    service = HttpService(hello, limits=HttpLimits(), linger_s=1)
    listener = Listener(service, identity=identity, limits=ConnectionLimits())
    await listener.open("127.0.0.1", 0)
    curl = await asyncio.create_subprocess_exec(
        "curl", "-sk", f"https://localhost:{listener.addresses[0][1]}/",
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await curl.communicate()
    assert said == b"hello"
    await listener.drain()

asyncio.run(main())
"""

WRITES = "write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendfile,copy_file_range,splice"


def test_only_memory_is_written_with_the_private_key(tmp_path):
    tool("curl")
    trace = tmp_path / "trace"
    calls = f"trace={WRITES},openat,open,creat,memfd_create,mmap"
    command = [tool("strace"), "-f", "-y", "-s", "100000", "-o", str(trace), "-e", calls]
    done = subprocess.run(
        [*command, sys.executable, "-B", "-c", SERVE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = trace.read_text(errors="replace").splitlines()
    with_key = [line for line in lines if "PRIVATE KEY" in line]
    # Born, installed: it was written twice, and both times to memory.
    assert len(with_key) == 2
    assert all(re.search(r" pwrite64\(\d+</memfd:inferonnx\b", line) for line in with_key)
    opened = [
        line
        for line in lines
        if re.search(r"O_WRONLY|O_RDWR|O_CREAT|creat\(", line) and "curl" not in line
    ]
    assert all("/dev/null" in line for line in opened), opened
    # Nor is a file mapped such that memory would flow back into it.
    shared = [line for line in lines if "MAP_SHARED" in line and "PROT_WRITE" in line]
    assert all("MAP_ANONYMOUS" in line for line in shared), shared
