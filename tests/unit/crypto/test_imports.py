from __future__ import annotations

import subprocess
import sys


def test_crypto_loads_no_second_openssl_and_no_passphrase_code():
    # hashlib maps the system's OpenSSL, 4 MiB beside the one in `cryptography`.
    code = (
        "import sys, inferonnx.crypto;"
        "print(*sorted(m for m in sys.modules if m in ('_hashlib', 'hashlib', 'hmac', 'ssl')"
        " or m.endswith('scrypt') or m.startswith('pyaegis')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
