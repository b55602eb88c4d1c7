import pytest

from inferonnx.errors import (
    BusyError,
    EngineError,
    InfeasibleBudgetError,
    InferonnxError,
    ModelNotReadyError,
)

ERRORS = [
    InferonnxError("it is so", where="here", hint="do that"),
    InfeasibleBudgetError("too much", needed_bytes=2, budget_bytes=1, node="n", hint="less"),
    BusyError("later", retry_after_s=7),
    ModelNotReadyError("locked"),
    EngineError("failed"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_an_error_again_is_the_same_without_the_frames_that_raised_it(error):
    error.partition = 3
    with pytest.raises(type(error)):
        raise error
    again = error.again()
    assert again is not error
    assert type(again) is type(error)
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
    assert error.__traceback__ is not None
    assert again.__traceback__ is None
    again.message = "other"
    assert error.message != "other"
