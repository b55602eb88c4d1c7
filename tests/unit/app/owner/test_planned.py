from inferonnx.app.owner import planned
from inferonnx.app.owner.planning import plan_model
from inferonnx.model import prepare
from inferonnx.sizes import MIB


def test_the_arena_of_the_least_peak_is_taken_wherever_it_holds_its_memory(cnn, monkeypatch):
    measure = planned.run_trial

    def with_an_arena_that_makes_floor_cheaper_and_pass_dearer(*arguments, arena_strategy, **more):
        trial = measure(*arguments, arena_strategy=arena_strategy, **more)
        return trial._replace(
            floor_bytes=(30 - 2 * arena_strategy) * MIB, pass_bytes=(60 + arena_strategy) * MIB
        )

    monkeypatch.setattr(
        planned, "run_trial", with_an_arena_that_makes_floor_cheaper_and_pass_dearer
    )
    with prepare(cnn) as prepared:
        assert plan_model(prepared, budget_bytes=200 * MIB).arena[0] == 1
