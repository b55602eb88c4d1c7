from __future__ import annotations

import itertools

import pytest

from inferonnx.control import Caller, How, Role, parse_roles, require, role_words
from inferonnx.errors import ForbiddenError, UnauthenticatedError, UsageError


def caller(*roles, how=How.TOKEN):
    return Caller(roles=frozenset(roles), how=how)


@pytest.mark.parametrize(("held", "wanted"), list(itertools.product(Role, Role)))
def test_no_role_includes_another(held, wanted):
    if held is wanted:
        require(caller(held), wanted)
    else:
        with pytest.raises(ForbiddenError, match=f"the role {wanted.value}"):
            require(caller(held), wanted)


def test_one_of_several_roles_is_enough():
    require(caller(Role.INFER), Role.MANAGE, Role.INFER)
    with pytest.raises(ForbiddenError, match="infer or manage"):
        require(caller(Role.METRICS), Role.MANAGE, Role.INFER)


@pytest.mark.parametrize("how", How)
def test_who_is_nobody_is_told_to_say_who(how):
    error = UnauthenticatedError if how is How.ANONYMOUS else ForbiddenError
    with pytest.raises(error):
        require(caller(Role.INFER, how=how), Role.MANAGE)


def test_no_role_at_all_is_refused_to_everybody():
    with pytest.raises(ForbiddenError):
        require(caller(*Role))


def test_roles_are_read_and_written():
    assert parse_roles(["metrics", "infer", "infer"]) == {Role.INFER, Role.METRICS}
    assert parse_roles([]) == frozenset()
    assert role_words([Role.METRICS, Role.INFER]) == ["infer", "metrics"]
    assert parse_roles(role_words(Role)) == set(Role)


@pytest.mark.parametrize("word", ["", "Infer", "admin", "infer ", "x" * 500])
def test_other_words_are_no_roles(word):
    with pytest.raises(UsageError, match="is no role") as caught:
        parse_roles(["infer", word])
    assert caught.value.hint == "Roles are infer, manage, metrics."
    assert len(caught.value.message) < 80
