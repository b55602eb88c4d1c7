from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.control import NEVER_S, How, Role, ServerConfig, identify, new_token, require
from inferonnx.errors import InferonnxError, UnauthenticatedError

NOW_S = 1_790_000_000
TOKEN, ENTRY = new_token(bytes(38), roles=[Role.MANAGE], expires_s=NEVER_S)
OLD_TOKEN, OLD_ENTRY = new_token(bytes([1] * 38), roles=[Role.INFER], expires_s=NOW_S)


def config(**changed):
    return ServerConfig(models="m", tokens=(ENTRY, OLD_ENTRY), **changed)


def who(configuration, *authorization, certificate=False):
    return identify(
        configuration,
        authorization=authorization,
        has_client_certificate=certificate,
        now_s=NOW_S,
    )


def test_nobody_may_anything_by_default():
    caller = who(ServerConfig(models="m"))
    assert (caller.how, caller.roles) == (How.ANONYMOUS, frozenset())
    for role in Role:
        with pytest.raises(UnauthenticatedError):
            require(caller, role)


def test_anonymous_inference_opens_inference_alone():
    caller = who(config(allow_anonymous_infer=True))
    assert (caller.how, caller.roles) == (How.ANONYMOUS, {Role.INFER})


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
def test_a_token_brings_its_roles(scheme):
    caller = who(config(), scheme + TOKEN)
    assert (caller.how, caller.roles, caller.name) == (How.TOKEN, {Role.MANAGE}, ENTRY.id)


def test_a_certificate_alone_brings_nothing_until_roles_are_given():
    assert who(config(client_ca="ca"), certificate=True).roles == frozenset()
    caller = who(config(client_ca="ca", client_roles=frozenset({Role.METRICS})), certificate=True)
    assert (caller.how, caller.roles) == (How.CERTIFICATE, {Role.METRICS})


def test_roles_add_up():
    configuration = config(
        client_ca="ca", client_roles=frozenset({Role.METRICS}), allow_anonymous_infer=True
    )
    caller = who(configuration, f"Bearer {TOKEN}", certificate=True)
    assert (caller.how, caller.roles) == (How.TOKEN, set(Role))


def test_roles_of_certificates_are_for_those_who_have_one():
    configuration = config(client_ca="ca", client_roles=frozenset({Role.METRICS}))
    assert who(configuration, certificate=False).roles == frozenset()


@pytest.mark.parametrize(
    "authorization",
    [
        ("",),
        (TOKEN,),
        (f"Basic {TOKEN}",),
        ("Bearer",),
        ("Bearer ",),
        (f"Bearer{TOKEN}",),
        (f"Bearer\t{TOKEN}",),
        (f"Bearer {TOKEN} ",),
        (f" Bearer {TOKEN}",),
        (f"Bearer {TOKEN}, Bearer {TOKEN}",),
        (f"Bearer {TOKEN}", f"Bearer {TOKEN}"),
        (f"Bearer {OLD_TOKEN}",),
        (f"Bearer {ENTRY.sha256.hex()}",),
        ("Bearer " + "x" * 100_000,),
    ],
    ids=range(14),
)
@pytest.mark.parametrize("anonymous", [False, True])
def test_credentials_that_do_not_hold_are_refused_also_where_none_are_needed(
    authorization, anonymous
):
    configuration = config(
        allow_anonymous_infer=anonymous, client_ca="ca", client_roles=frozenset(Role)
    )
    with pytest.raises(UnauthenticatedError) as caught:
        who(configuration, *authorization, certificate=True)
    assert TOKEN[17:] not in caught.value.message + caught.value.hint


@given(st.lists(st.text(max_size=100), min_size=1, max_size=3))
def test_any_headers_give_our_errors(values):
    with pytest.raises(InferonnxError):
        who(config(), *values)
