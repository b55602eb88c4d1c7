"""An owner's models on a host's server, by the commands that the documents show."""

import io
import json
import os
import shutil
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest

import inferonnx
from inferonnx.cli import main
from inferonnx.client import manage
from inferonnx.control import Action
from inferonnx.crypto import Secret
from serving import models
from serving.asking import signed
from serving.certificates import Authority


@pytest.fixture
def own(tmp_path, key, sealed, image, monkeypatch):
    """Commands of an owner, in a folder with key, sealed model and input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    key.save(tmp_path / "owner.key")
    shutil.copy(sealed["cnn"], tmp_path / "cnn.sealed")
    np.savez(tmp_path / "in.npz", image=image)

    def run(*arguments, code=0):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            found = main([*map(str, arguments)])
        assert found == code, err.getvalue()
        return out.getvalue() if code == 0 else err.getvalue()

    return run


def other_owner(folder, model):
    """Return key and sealed model of somebody else."""
    key = inferonnx.Key.generate()
    key.save(folder / "other.key")
    (folder / "others").mkdir()
    return key, models.seal(model, folder / "others", key)


def with_client(server, work, role="all"):
    with inferonnx.Client(
        server.url, ca=server.ca, token=server.token(role), insecure_no_attestation=True
    ) as client:
        return work(client)


def test_a_life_by_the_command_line(own, start, tmp_path, image, key):
    server = start()
    at, mine = (server.url, *server.trust), ("--key", "owner.key")
    token = ("--token-file", server.tokens["all"])
    ask = ("infer", *at[:1], "cnn", "--input", "in.npz", *at[1:], *token)

    assert own("list", *at, *token) == "no models yet\n"
    assert own("push", at[0], "cnn.sealed", *mine, *at[1:]) == "cnn 1\n"
    assert "is not ready" in own(*ask, code=5)
    assert own("push", at[0], "cnn.sealed", *mine, *at[1:]) == "cnn 2\n"
    assert "version 2 already" in own(
        *("push", at[0], "cnn.sealed", "--version", "2", *mine), *at[1:], code=4
    )
    assert own("unlock", at[0], "cnn", "--version", "1", *mine, *at[1:]) == "cnn 1 ready\n"
    listed = json.loads(own("list", *at, *token, "--json"))["models"]
    assert [(m["version"], m["state"]) for m in listed] == [(1, "ready"), (2, "locked")]
    first = own(*ask)
    assert "version 2 is not ready" in own(*ask, "--version", "2", code=5)
    assert own("unlock", at[0], "cnn", *mine, *at[1:], *token) == "cnn 2 ready\n"
    assert own(*ask, "--version", "2") == own(*ask) == first

    own("unload", at[0], "cnn", *at[1:], *token)
    assert "is not ready" in own(*ask, code=5)
    assert "owner has not unlocked it" in own("load", at[0], "cnn", *at[1:], *token, code=5)
    own("unlock", at[0], "cnn", "--version", "1", *mine, *at[1:])
    own("load", at[0], "cnn", *at[1:], *token)
    assert own(*ask) == first

    own("delete", at[0], "cnn", "--version", "1", *mine, *at[1:], "--model", "cnn.sealed")
    own("delete", at[0], "cnn", "--version", "2", *mine, *at[1:], *token)
    assert own("list", *at, *token) == "no models yet\n"
    assert [p.name for p in (server.repository / "cnn").iterdir()] == ["owner"]
    assert (server.repository / "cnn" / "owner").read_text() == key.public_key + "\n"
    assert server.end() == 0


def test_a_cas_certificate_changes_nothing_for_the_owner(own, start, tmp_path):
    server = start()
    authority = Authority(tmp_path / "ca")
    manage_token = ("--token-file", server.tokens["manage"])
    own("csr", server.url, *server.trust, *manage_token, "-o", "s.csr")
    authority.sign(tmp_path / "s.csr", tmp_path / "s.pem")
    own("install-cert", server.url, "s.pem", *server.trust, *manage_token)
    trust = ("--ca", authority.pem, "--insecure-no-attestation")
    mine = ("--key", "owner.key", *trust)
    own("push", server.url, "cnn.sealed", *mine)
    own("unlock", server.url, "cnn", "--version", "1", *mine)
    infer = ("--token-file", server.tokens["infer"])
    own("infer", server.url, "cnn", "--input", "in.npz", *trust, *infer)
    assert server.end() == 0


def test_without_an_owner_nobody_brings_anything(own, start):
    server = start(owner=None)
    refused = "started without an owner"
    mine = ("--key", "owner.key", *server.trust)
    assert refused in own("push", server.url, "cnn.sealed", *mine, code=4)
    assert not list(server.repository.glob("[!.]*"))
    assert server.end() == 0
    assert "no --owner" in server.log.read_text()


def test_a_model_that_the_host_brought_is_not_unlocked_without_an_owner(own, start):
    server = start("cnn", owner=None)  # its --key has unlocked it: the host's own doing
    mine = ("--key", "owner.key", *server.trust)
    assert "started without an owner" in own(
        "unlock", server.url, "cnn", "--version", "1", *mine, code=4
    )
    assert "started without an owner" in own(
        *("delete", server.url, "cnn", "--version", "1", "--model", "cnn.sealed"), *mine, code=4
    )
    assert server.end() == 0


def test_the_first_who_comes(own, start, cnn, tmp_path):
    """For development: --owner-first-come."""
    server = start(owner=None, options=("--owner-first-come",))
    _, others = other_owner(tmp_path, cnn)
    theirs = ("--key", "other.key", *server.trust)
    own("push", server.url, "cnn.sealed", "--key", "owner.key", *server.trust)
    assert "another owner" in own("push", server.url, others, *theirs, code=4)
    assert server.end() == 0


def test_a_key_at_the_start_that_opens_nothing_is_told_where_models_are_listed(
    own, start, tmp_path
):
    inferonnx.Key.generate().save(tmp_path / "other.key")
    server = start("cnn", options=("--key", tmp_path / "other.key"))
    (model,) = with_client(server, lambda client: client.models())
    assert (model.name, model.state) == ("cnn", "locked")
    assert model.reason.startswith("it could not be unlocked: the model is sealed for key")
    status, _, body = server.asked("/v2/repository/index", "-d", "{}", role="all")
    (found,) = json.loads(body)
    assert (status, found["state"], found["reason"]) == (200, "UNAVAILABLE", model.reason)
    own("unlock", server.url, "cnn", "--version", "1", "--key", "owner.key", *server.trust)
    (model,) = with_client(server, lambda client: client.models())
    assert (model.state, model.reason) == ("ready", "")
    assert server.end() == 0


def test_two_owners(own, start, cnn, tmp_path):
    server = start()
    mine, theirs = ("--key", "owner.key"), ("--key", "other.key")
    own("push", server.url, "cnn.sealed", *mine, *server.trust)
    other, others = other_owner(tmp_path, cnn)
    at = server.trust
    assert "another owner" in own("push", server.url, others, *theirs, *at, code=4)
    for verb in ("unlock", "delete"):
        asked = (verb, server.url, "cnn", "--version", "1", *theirs, *at)
        assert "another owner" in own(*asked, "--model", others, code=4)
        # Their key does not open the file, and they sign for no file that is not theirs.
        assert "is sealed for key" in own(*asked, "--model", "cnn.sealed", code=3)

    def by_hand(client):
        """As a client of the other owner's would that checks nothing."""
        (model,) = client.models()
        return client.perform(
            manage.delete("cnn", 1, model_id=bytes.fromhex(model.model_id), key=other.owner)
        )

    with pytest.raises(inferonnx.InferonnxError, match="another owner"):
        with_client(server, by_hand)
    assert [m.state for m in with_client(server, lambda c: c.models())] == ["locked"]
    assert server.end() == 0


def test_a_server_with_a_new_owner(own, start, cnn, tmp_path):
    """What the last owner left is not the new one's: neither to unlock, nor to delete."""
    other, others = other_owner(tmp_path, cnn)
    server = start(owner=other.public_key)
    own("push", server.url, others, "--key", "other.key", *server.trust)
    assert server.end() == 0
    left = server.repository

    server = start()
    shutil.copytree(left, server.repository, dirs_exist_ok=True)
    server.end()
    server.start()
    (found,) = with_client(server, lambda client: client.models())
    assert found.state == "unavailable"
    assert "another owner" in found.reason

    def by_hand(client):
        return client.perform(
            manage.delete("cnn", 1, model_id=bytes.fromhex(found.model_id), key=own_key.owner)
        )

    own_key = inferonnx.Key.load(tmp_path / "owner.key")
    with pytest.raises(inferonnx.InferonnxError, match="another owner"):
        with_client(server, by_hand)
    assert "another owner" in own(
        *("push", server.url, "cnn.sealed", "--version", "9"),
        *("--key", "owner.key", *server.trust),
        code=4,
    )
    assert (server.repository / "cnn" / "1" / "model.sealed").exists()
    assert server.end() == 0


@pytest.mark.parametrize("options", [(), ("--owner-first-come",)], ids=["owner", "first come"])
def test_a_model_that_is_damaged_is_not_unlocked_and_says_so(own, start, key, options):
    server = start("cnn", owner=None if options else key.public_key, options=options)
    server.end()
    path = server.repository / "cnn" / "1" / "model.sealed"
    whole = path.read_bytes()
    for data, state, sentence in (
        (b"x" + whole[1:], "unavailable", "not a sealed file"),
        (whole[:-1] + bytes([whole[-1] ^ 1]), "locked", "is damaged or was tampered with"),
    ):
        path.write_bytes(data)
        server.start()
        mine = ("--version", "1", "--key", "owner.key", *server.trust)
        said = own("unlock", server.url, "cnn", *mine, code=3)
        assert sentence in said
        assert "again later" not in said
        (model,) = with_client(server, lambda client: client.models())
        assert model.state == state
        assert sentence in model.reason
        assert server.end() == 0


def test_a_data_key_of_another_model(start, key, sealed):
    server = start()

    def work(client):
        client.push(sealed["cnn"], key=key)
        (model,) = client.models()
        for wrong in (bytes(32), os.urandom(32)):
            steps = manage.unlock(
                *("cnn", 1),
                model_id=bytes.fromhex(model.model_id),
                data_key=Secret(wrong),
                key=key.owner,
            )
            with pytest.raises(inferonnx.InferonnxError) as caught:
                client.perform(steps)
            assert caught.value.exit_code == 3
        (model,) = client.models()
        assert model.state == "locked"
        assert client.unlock("cnn", sealed["cnn"], key=key).state == "ready"

    with_client(server, work)
    assert server.end() == 0


def test_an_owners_request_is_good_once_and_for_one_server(start, key, sealed):
    servers = [start(), start()]
    for server in servers:
        with_client(server, lambda client: client.push(sealed["cnn"], key=key))
    first, second = servers
    (model,) = with_client(first, lambda client: client.models())
    path = "/inferonnx/v1/models/cnn/versions/1"
    what = (key, Action.DELETE, "cnn", 1, bytes.fromhex(model.model_id))
    header = ("-H", signed(first, *what))
    for wrong in (path + "/unlock", path[:-1] + "2"):
        method = "POST" if wrong.endswith("unlock") else "DELETE"
        assert first.asked(wrong, "-X", method, *header)[0] in (400, 403, 404)
    relayed = second.asked(path, "-X", "DELETE", *header)
    assert (relayed[0], b"signature" in relayed[2]) == (403, True)
    assert first.asked(path, "-X", "DELETE", *header)[0] == 204
    with_client(first, lambda client: client.push(sealed["cnn"], key=key, version=1))
    status, _, said = first.asked(path, "-X", "DELETE", *header)
    assert (status, b"used before" in said) == (401, True)
    other = ("-H", signed(second, *what))  # its nonce is not the first one's
    assert first.asked(path, "-X", "DELETE", *other)[0] == 403
    for server in servers:
        assert len(with_client(server, lambda client: client.models())) == 1
        assert server.end() == 0


def test_broken_files_beside_good_ones(start, sealed, key, unnumbered_cnn, sealed_cnn):
    """The good are served; each of the others says what is wrong with it."""
    server = start()
    server.end()
    repository = server.repository
    models.stock(repository, sealed["cnn"])
    whole = sealed["cnn"].read_bytes()

    def put(name, version, content):
        home = repository / name / str(version)
        home.mkdir(parents=True, exist_ok=True)
        (home / "model.sealed").write_bytes(content)

    put("other", 1, whole)  # sealed as cnn
    put("cnn", 2, sealed_cnn.read_bytes())  # its release is 3
    put("cut", 1, whole[:500])
    put("damaged", 1, whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    put("empty", 1, b"")
    put("text", 1, b"no sealed file at all, but longer than its header" * 100)
    (repository / "nothing" / "1").mkdir(parents=True)
    (repository / "a name with blanks" / "1").mkdir(parents=True)
    (repository / "a_file").write_text("x")
    server.start()

    def work(client):
        found = {(m.name, m.version): m for m in client.models()}
        states = {key: model.state for key, model in found.items()}
        assert states.pop(("cnn", 1)) == "locked"
        # What is sealed inside shows only when the owner unlocks it.
        assert states.pop(("other", 1)) == "locked"
        assert states.keys() == {
            *(("cnn", 2), ("cut", 1), ("damaged", 1), ("empty", 1), ("text", 1), ("nothing", 1)),
        }
        assert set(states.values()) == {"unavailable"}
        reasons = {key: model.reason for key, model in found.items()}
        assert "release is 3" in reasons["cnn", 2]
        assert "no model.sealed" in reasons["nothing", 1]
        assert client.unlock("cnn", sealed["cnn"], key=key, version=1).state == "ready"
        assert client.infer("cnn", {"image": np.zeros((1, 3, 16, 16), np.float32)})
        # The owner's own copy says its name; who asks for another one is refused there too.
        entry = found["other", 1]
        keys = inferonnx.app.relying.owned.OwnedFile(sealed["cnn"], key)
        with keys as owned, pytest.raises(inferonnx.InferonnxError, match="sealed in the model"):
            client.perform(
                manage.unlock(
                    *("other", 1),
                    model_id=bytes.fromhex(entry.model_id),
                    data_key=owned.data_key,
                    key=key.owner,
                )
            )
        assert {m.name: m.state for m in client.models()}["other"] == "unavailable"
        for name in ("cut", "empty", "nothing"):
            with pytest.raises(inferonnx.InferonnxError, match="is not ready"):
                client.infer(name, {"image": np.zeros((1, 3, 16, 16), np.float32)})

    with_client(server, work)
    assert server.end() == 0
    assert server.log.read_text().count("model_unavailable") == 6
