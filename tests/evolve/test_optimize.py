"""Auto Evol-Instruct's optimisation loop, step by step as published, and within its limits."""

import json

import pytest
from evolve.optimizing import DEV, World, draw_development_set, rows, run, section

from tagevol_hf.engines.base import Reply
from tagevol_hf.errors import DataError
from tagevol_hf.evolve.auto_evol import load_method
from tagevol_hf.evolve.method import OptimizedMethod


@pytest.fixture(autouse=True)
def _development_set():
    draw_development_set()


def test_the_loop_follows_the_published_algorithm():
    world = World([[7, 4], [9, 1], [1, 5]])
    found = run(world)
    log = iter(world.log)

    def took(*expected):
        assert [next(log) for _ in expected] == list(expected)

    # e_0 is the initial method; its failure rate is measured on the development set: evolve, then answer
    took(*[("evolve", "10")] * 10, *[("answer", "10")] * 10)
    # step 1: a mini-batch of ten is evolved with e_0 …
    took(*[("evolve", "10")] * 10)
    # … the optimiser analyses the ten trajectories, and writes m candidates from its feedback …
    took(("analyse", 10), ("write", 0), ("write", 0))
    # … each of which is tried on the development set; 4 fails less often than 7 and becomes e_1
    for method in ("7", "4"):
        took(*[("evolve", method)] * 10, *[("answer", method)] * 10)
    # step 2 starts from e_1; 1 becomes e_2
    took(*[("evolve", "4")] * 10, ("analyse", 10), ("write", 1), ("write", 1))
    for method in ("9", "1"):
        took(*[("evolve", method)] * 10, *[("answer", method)] * 10)
    # step 3: no candidate fails less often than e_2 (the first equals it, and costs nothing: it is known), so it ends
    took(*[("evolve", "1")] * 10, ("analyse", 10), ("write", 2), ("write", 2))
    took(*[("evolve", "5")] * 10, *[("answer", "5")] * 10)
    assert next(log, None) is None

    assert (found.method, found.failure_rate, found.ended) == (
        "Better method 1", 0.1, "no candidate of the last step fails less often",
    )  # fmt: skip
    assert (found.first.method, found.first.failure_rate) == (load_method("initial"), 1.0)
    assert [step.chosen for step in found.steps] == [2, 2, None]
    assert [[trial.failure_rate for trial in step.trials] for step in found.steps] == [
        [0.7, 0.4],
        [0.9, 0.1],
        [0.1, 0.5],
    ]
    assert found.steps[0].trials[0].failures == {"stagnant_complexity": 7}
    assert found.steps[0].found == ({"case": 1, "reason": "stands still"},)
    assert found.summary()["failure_rate_before"] == 1.0


def test_sampling_is_as_published():
    world = World([[4, 4], [4, 4]])
    run(world)
    temperatures = {
        (request.schema or {}).get("title", "answer"): request.sampling for request in world.evolver.requests
    }
    assert {name: sampling.temperature for name, sampling in temperatures.items()} == {"auto_evol": 0.0, "answer": 0.0}
    written = [r.sampling for r in world.optimizer.requests if r.schema["title"] == "method_optimization"]
    assert {(sampling.temperature, sampling.top_p) for sampling in written} == {(0.6, 0.95)}
    assert len({sampling.seed for sampling in written[:2]}) == 2


@pytest.mark.slow
def test_mini_batches_differ_and_stay_out_of_the_development_set():
    found = run(World([[8, 8], [6, 6], [4, 4], [2, 2], [2, 2]]))
    batches = [set(step.batch) for step in found.steps]
    assert all(len(batch) == 10 for batch in batches)
    assert len({frozenset(batch) for batch in batches}) == len(batches)
    assert not set().union(*batches) & {f"s{number}" for number in DEV}


def test_it_ends_at_its_limit_and_when_nothing_fails_any_more():
    limited = run(World([[9, 9], [8, 8], [7, 7]]), steps=2)
    assert (len(limited.steps), limited.ended, limited.failure_rate) == (2, "the limit of 2 steps", 0.8)
    perfect = run(World([[5, 0], [1, 1]]))
    assert (len(perfect.steps), perfect.failure_rate) == (1, 0.0)
    assert perfect.ended == "no instruction of the development set fails any more"


def test_a_candidate_that_cannot_be_read_is_noted_and_skipped():
    world = World([[None, 6], [9, 9]])
    found = run(world)
    first, second = found.steps[0].trials
    assert (first.method, first.failure_rate, first.note) == ("", None, "no method: not_json")
    assert (second.failure_rate, found.steps[0].chosen) == (0.6, 2)


class Moody(World):
    """The same, but the answers to method 6 are of another kind."""

    def __init__(self, reply):
        super().__init__([[6, 8], [9, 9]])
        self.reply = reply

    def answer(self, request):
        usual = super().answer(request)
        return self.reply if "method 6" in section(request, "instruction") else usual


@pytest.mark.parametrize(
    ("reply", "rate", "failures"),
    [
        (Reply("It falls since", "length"), 0.0, {}),
        (Reply("Please provide the fact, for", "length"), 1.0, {"loss_of_key_information": 10}),
        (Reply("", "error", reason="timeout"), 1.0, {"timeout": 10}),
    ],
)
def test_a_cut_off_answer_is_judged_and_a_missing_one_is_no_good_one(reply, rate, failures):
    trial = run(Moody(reply), steps=1).steps[0].trials[0]
    assert (trial.failure_rate, trial.failures) == (rate, failures)


def test_an_analysis_that_cannot_be_read_is_noted():
    class Mute(World):
        def optimise(self, request):
            if request.schema["title"] == "trajectory_analysis":
                return "Hm."
            assert section(request, "found") == "(nothing in particular)"
            return json.dumps({"method": "Better method 10"})

    found = run(Mute([]), steps=1)
    assert (found.steps[0].found, found.steps[0].note) == ((), "no analysis: not_json")
    assert found.summary()["note"] == "Step 1: no analysis: not_json."


def test_trajectories_have_as_many_stages_as_were_evolved():
    world = World([[10, 10]])
    run(world, evolutions=3, steps=1)
    cases = next(section(r, "cases") for r in world.optimizer.requests if r.schema["title"] == "trajectory_analysis")
    assert cases.count("Stage 0: Explain fact number") == 10
    assert cases.count("Stage 3: Explain fact number") == 10
    assert cases.count("By method 10. By method 10. By method 10.") == 10


def test_few_rows_are_shared_out_and_noted():
    found = run(World([[10, 10]]), rows(6), dev=50, steps=1)
    assert found.notes == ("6 instructions: 3 in the development set, 3 for mini-batches.",)
    with pytest.raises(DataError, match="optimize_method: expected at least 2 instructions, got 1"):
        run(World([]), rows(1))


@pytest.mark.parametrize("name", ["steps", "batch", "evolutions", "candidates", "dev"])
def test_numbers_out_of_range(name):
    with pytest.raises(DataError, match=rf"optimize_method\.{name}: expected at least 1, got 0"):
        run(World([]), **{name: 0})


def test_too_many_evolutions():
    with pytest.raises(DataError, match=r"optimize_method\.evolutions: expected 1 to 10, got 11"):
        run(World([]), evolutions=11)


@pytest.mark.slow
def test_the_order_of_the_rows_has_no_say():
    expected = run(World([[7, 4], [5, 5]]))
    assert run(World([[7, 4], [5, 5]]), rows().shuffle(seed=3)) == expected


def test_saved_and_read_again(tmp_path):
    found = run(World([[7, 4], [9, 9]]))
    found.save(tmp_path / "method.json")
    assert OptimizedMethod.load(tmp_path / "method.json") == found
    assert load_method(tmp_path / "method.json") == found.method
    (tmp_path / "half.json").write_text((tmp_path / "method.json").read_text()[:200])
    for name in ("half.json", "missing.json"):
        with pytest.raises(DataError, match=f"{name}: not an optimised method"):
            OptimizedMethod.load(tmp_path / name)
