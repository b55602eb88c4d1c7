"""Who may what: nobody anything by default, and a token what its roles say."""

import json

import numpy as np
import pytest

from served import command

INFER, MANAGE, METRICS = "infer", "manage", "metrics"
ANY = (INFER, MANAGE, METRICS)

TURN = json.dumps({"inputs": [{"name": "turns", "shape": [], "datatype": "INT64", "data": [1]}]})

# method, path, body, roles that may; docs/serve-config.md says the same in words.
TABLE = [
    ("GET", "/v2", None, ANY),
    ("GET", "/v2/models/patient", None, (INFER,)),
    ("GET", "/v2/models/patient/ready", None, (INFER,)),
    ("GET", "/v2/models/patient/config", None, (INFER,)),
    ("POST", "/v2/models/patient/infer", TURN, (INFER,)),
    ("POST", "/v2/models/patient/versions/1/infer", TURN, (INFER,)),
    ("GET", "/v2/models/patient/stats", None, (INFER, METRICS)),
    ("GET", "/v2/models/stats", None, (INFER, METRICS)),
    ("GET", "/v2/systemsharedmemory/status", None, (INFER,)),
    ("POST", "/v2/repository/index", "", ANY),
    ("POST", "/v2/repository/models/patient/load", "", (MANAGE,)),
    ("GET", "/v2/trace/setting", None, (MANAGE,)),
    ("GET", "/v2/logging", None, (MANAGE,)),
    ("GET", "/inferonnx/v1/models", None, ANY),
    ("GET", "/inferonnx/v1/csr", None, (MANAGE,)),
    ("GET", "/inferonnx/v1/status", None, (METRICS,)),
    ("GET", "/metrics", None, (METRICS,)),
]

REFUSED_TO_ALL = [
    ("POST", "/v2/repository/models/patient/unload", "", (MANAGE,)),
    ("PUT", "/inferonnx/v1/certificate", "no certificate", (MANAGE,)),
]
"""What would leave its mark: asked for by those who may not, alone."""

_KEYS = (("owner", 64), ("model-id", 64))

OPEN = [
    ("GET", "/v2/health/live", None),
    ("GET", "/v2/health/ready", None),
    ("GET", "/", None),
    ("POST", "/inferonnx/v1/nonce", ""),
]


@pytest.fixture(scope="module")
def closed(start):
    """A server as it is without a word about who may what."""
    server = start("patient")
    yield server
    assert server.end() == 0, server.log.read_text()


def ask(server, method, path, body=None, *, role=None, more=()):
    options = () if method == "GET" else ("-X", method, "-d", body)
    status, headers, content = server.asked(path, *options, *more, role=role)
    if status >= 400:
        assert headers["content-type"] == "application/json"
        assert list(json.loads(content)) == ["error"]
    return status, headers, content


@pytest.mark.parametrize(("method", "path", "body", "roles"), TABLE + REFUSED_TO_ALL)
def test_each_role_opens_its_doors_alone(closed, method, path, body, roles):
    status, headers, content = ask(closed, method, path, body)
    assert status == 401
    assert headers["www-authenticate"] == "Bearer"
    assert b"patient" not in content
    for role in ANY:
        if role not in roles:
            status, _, content = ask(closed, method, path, body, role=role)
            assert status == 403
            assert f"role {roles[0]}".encode() in content or b" or " in content
        elif (method, path, body, roles) in TABLE:
            assert ask(closed, method, path, body, role=role)[0] == 200


@pytest.mark.parametrize(("method", "path", "body"), OPEN)
def test_doors_that_are_open_tell_nothing(closed, method, path, body):
    status, _, content = ask(closed, method, path, body)
    assert status == 200
    assert b"patient" not in content


def test_what_is_not_there_is_not_there_for_anybody(closed):
    for role in (None, *ANY):
        assert ask(closed, "GET", "/v2/nothing", role=role)[0] == 404
        assert ask(closed, "DELETE", "/v2", "", role=role)[0] == 405


def test_whether_a_model_is_there_is_told_to_those_who_may(closed):
    assert ask(closed, "GET", "/v2/models/none")[0] == 401
    assert ask(closed, "GET", "/v2/models/none", role=METRICS)[0] == 403
    assert ask(closed, "GET", "/v2/models/none", role=INFER)[0] == 404


@pytest.mark.parametrize("role", [None, *ANY])
def test_whether_a_model_is_there_is_told_to_its_owner_alone(closed, role):
    """By requests that the owner signs, and that need no role."""
    header = ", ".join(
        f"{name}={'a' * n}" for name, n in (*_KEYS, ("nonce", 64), ("signature", 128))
    )
    for method, action in (("DELETE", ""), ("POST", "/unlock")):
        for signature in ((), ("-H", f"Inferonnx-Owner: {header}"), ("-H", "Inferonnx-Owner: x")):
            found = [
                ask(
                    *(closed, method, f"/inferonnx/v1/models/{name}/versions/{n}{action}", ""),
                    role=role,
                    more=signature,
                )[::2]
                for name, n in (("patient", 1), ("patient", 2), ("none", 1))
            ]
            assert found[0] == found[1] == found[2]
            assert found[0][0] in (400, 401, 403)


@pytest.mark.parametrize(
    "credentials",
    ["Bearer ifx_000000000000_" + "A" * 43, "Bearer x", "Bearer", "Basic dTpw", "bearer", ""],
)
def test_a_token_that_does_not_hold_is_refused_also_where_none_is_needed(served, credentials):
    wrong = ("-H", f"Authorization: {credentials}" if credentials else "Authorization;")
    for path in ("/v2/models/cnn", "/v2/health/live"):
        assert ask(served, "GET", path)[0] == 200
        assert ask(served, "GET", path, more=wrong)[0] == 401


def test_two_tokens_are_none(closed):
    two = ("-H", f"Authorization: Bearer {closed.token(METRICS)}")
    assert ask(closed, "GET", "/v2/models/patient", role=INFER, more=two)[0] == 401


def test_everybody_infers_where_that_was_said_and_does_no_more(served):
    assert ask(served, "POST", "/v2/models/patient/infer", TURN)[0] == 200
    assert ask(served, "GET", "/v2/models/patient/stats")[0] == 200
    assert ask(served, "GET", "/metrics")[0] == 401
    assert ask(served, "POST", "/v2/repository/models/patient/load", "")[0] == 401
    assert ask(served, "GET", "/metrics", role=MANAGE)[0] == 403
    # Who shows a token for something else may still do what everybody may.
    assert ask(served, "GET", "/v2/models/patient", role=METRICS)[0] == 200


def test_tokens_by_the_command_line(start, tmp_path):
    """`token new`, its lines in the configuration, the token by a file and the environment."""
    made = {}
    lines = []
    for name, options in {
        "client": ("--role", INFER, "--expires", "1h"),
        "operator": ("--role", MANAGE, "--role", METRICS, "--expires", "never"),
        "late": ("--role", INFER),
    }.items():
        made[name] = tmp_path / f"{name}.token"
        done = command("token", "new", *options, "-o", made[name])
        assert done.returncode == 0, done.stderr
        assert made[name].stat().st_mode & 0o777 == 0o600
        assert made[name].read_text().strip() not in done.stdout + done.stderr
        lines.append(done.stdout)
    late = [
        "expires = 2020-01-01T00:00:00Z" if line.startswith("expires") else line
        for line in lines[2].splitlines()
    ]
    server = start("patient", settings="\n".join([*lines[:2], *late]) + "\n")
    np.savez(tmp_path / "in.npz", turns=np.array(1, np.int64))
    asked = ("infer", server.url, "patient", "--input", tmp_path / "in.npz", *server.trust)

    done = command(*asked, "--token-file", made["client"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sum: float []")
    token = made["client"].read_text().strip()
    assert command(*asked, environment={"INFERONNX_TOKEN": token}).returncode == 0

    for options, said in (
        ((), "role infer"),
        (("--token-file", made["operator"]), "role infer"),
        (("--token-file", made["late"]), "has expired"),
    ):
        done = command(*asked, *options)
        assert done.returncode == 4, done.stderr
        assert said in done.stderr

    done = command("unload", server.url, "patient", *server.trust, "--token-file", made["operator"])
    assert done.returncode == 0, done.stderr
    assert server.end() == 0
    log = server.log.read_text()
    assert token.split("_")[1] in log  # who it was: the id
    assert token.split("_", 2)[2] not in log
