"""KServe's Python client, unmodified: in an environment of its own, since it is 450 MB.

`pytest -m slow` makes that environment once, in the cache folder of the user.
"""

import json
import subprocess

import numpy as np
import pytest

import inferonnx
from served import PATIENCE_S
from serving.environments import environment

pytestmark = pytest.mark.slow

VERSION = "0.21.0"

CLIENT = """
import asyncio, json, sys
import numpy as np
from kserve import InferInput, InferRequest, InferenceRESTClient
from kserve.inference_client import RESTConfig

url, ca, token, image = sys.argv[1:]
image = np.load(image)
headers = {"Authorization": f"Bearer {token}"}

async def refused(call):
    try:
        await call
    except Exception as error:
        return str(error)

def asking(model, *, binary):
    tensor = InferInput("image", list(image.shape), "FP32")
    tensor.set_data_from_numpy(image, binary_data=binary)
    return InferRequest(
        model_name=model, infer_inputs=[tensor], request_id="7",
        parameters={"binary_data_output": binary},
    )

async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2", verify=ca))
    said = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model": await client.is_model_ready(url, "cnn", headers=headers),
        "none": await client.is_model_ready(url, "none", headers=headers),
    }
    for binary in (False, True):
        answer = await client.infer(
            url, asking("cnn", binary=binary), model_name="cnn", headers=dict(headers)
        )
        said["binary" if binary else "json"] = answer.outputs[0].as_numpy().tolist()
        said["id"] = answer.id
    said["unknown"] = await refused(
        client.infer(url, asking("none", binary=False), model_name="none", headers=dict(headers))
    )
    said["nobody"] = await refused(
        client.infer(url, asking("cnn", binary=False), model_name="cnn")
    )
    print(json.dumps(said))

asyncio.run(main())
"""


GRPC_CLIENT = """
import asyncio, json, sys
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

url, ca, token, image = sys.argv[1:]
image = np.load(image)
headers = (("authorization", f"Bearer {token}"),)

async def refused(call):
    try:
        await call
    except Exception as error:
        return error.code().name

def asking(model, *, binary):
    tensor = InferInput("image", list(image.shape), "FP32")
    tensor.set_data_from_numpy(image, binary_data=binary)
    return InferRequest(model_name=model, infer_inputs=[tensor], request_id="7")

async def main():
    client = InferenceGRPCClient(url, use_ssl=True, root_certificates=ca)
    said = {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "model": await client.is_model_ready("cnn", headers=headers),
    }
    for binary in (False, True):
        answer = await client.infer(asking("cnn", binary=binary), headers=headers)
        said["raw" if binary else "lists"] = answer.outputs[0].as_numpy().tolist()
        said["id"] = answer.id
    said["unknown"] = await refused(client.infer(asking("none", binary=True), headers=headers))
    said["nobody"] = await refused(client.infer(asking("cnn", binary=True)))
    await client.close()
    print(json.dumps(said))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def python():
    """The interpreter of the client's environment."""
    return environment(f"kserve-{VERSION}", f"kserve=={VERSION}") / "bin" / "python"


def asked(client, folder, python, *arguments):
    """Return what a client says in its own environment."""
    done = subprocess.run(
        [python, "-c", client, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_grpc(python, start, sealed, key, image, tmp_path):
    server = start("cnn", options=("--grpc", "127.0.0.1:0"))
    np.save(tmp_path / "image.npy", image)
    url = "localhost:" + server.facts["grpc_addresses"][0].rpartition(":")[2]
    said = asked(
        *(GRPC_CLIENT, tmp_path, python, url, server.ca, server.token("infer"), "image.npy")
    )
    assert (said["live"], said["ready"], said["model"], said["id"]) == (True, True, True, "7")
    with inferonnx.open(sealed["cnn"], key=key, memory="8GiB") as session:
        (expected,) = session.run(None, {"image": image})
    for form in ("lists", "raw"):
        np.testing.assert_allclose(said[form], expected, rtol=1e-4, atol=1e-5)
    assert (said["unknown"], said["nobody"]) == ("NOT_FOUND", "UNAUTHENTICATED")
    assert server.end() == 0


def test_rest(python, start, sealed, key, image, tmp_path):
    server = start("cnn")
    np.save(tmp_path / "image.npy", image)
    said = asked(
        *(CLIENT, tmp_path, python, server.url, server.ca, server.token("infer"), "image.npy")
    )
    assert [said[what] for what in ("live", "ready", "model", "none")] == [True, True, True, False]
    with inferonnx.open(sealed["cnn"], key=key, memory="8GiB") as session:
        (expected,) = session.run(None, {"image": image})
    for form in ("json", "binary"):
        np.testing.assert_allclose(said[form], expected, rtol=1e-4, atol=1e-5)
    assert said["id"] == "7"
    assert said["unknown"].startswith("Request for unknown model: 'none' is not found, '404")
    assert "'401" in said["nobody"]
    assert server.end() == 0
