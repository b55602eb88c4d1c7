import subprocess
import sys


def test_the_port_costs_no_more_imports_than_it_needs():
    # Each is memory of the enclave. X.509 is loaded when a key is born, zlib when a
    # client compresses.
    code = (
        "import sys, inferonnx.server.http, inferonnx.server.listener, inferonnx.server.identity;"
        "print(*(m for m in ('numpy', 'onnx', 'onnxruntime', 'hashlib', 'cryptography.x509',"
        " 'zlib', 'http.client', 'urllib.request', 'multiprocessing') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
