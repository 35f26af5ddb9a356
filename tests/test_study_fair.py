"""Fair arms without training: equal budgets, rows that nobody selected, what is refused, what is doubtful."""

import random
from dataclasses import replace

import pytest
from datasets import Dataset
from test_study import ARMS, RECIPE, study_file, write_seeds

from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.study import load_study, run_study
from tagevol_hf.study.trained.budgets import Pool, budget_of, draw, drawn_rows, saved_subset
from tagevol_hf.study.trained.comparing import Trained, check_sections
from tagevol_hf.study.trained.doubts import doubts_of_trained
from tagevol_hf.study.trained.evaluating import Means, is_there, key_of
from tagevol_hf.study.trained.options import Evaluate
from tagevol_hf.study.trained.pools import held_out_of
from tagevol_hf.study.trained.table import trained_lines
from tagevol_hf.study.trained.training import Training, message_of
from tagevol_hf.training.curated import load_curated
from tagevol_hf.training.record import write_json

TRAIN = "train: {sft: sft.yaml}\n"


def pool(arm, tokens, names=None):
    names = names or [f"{arm}{n}" for n in range(len(tokens))]
    rows = [
        {"id": name, "instruction": f"Do {name}", "input": "", "response": f"It is {name}.", "history": []}
        for name in names
    ]
    return Pool(arm, Dataset.from_list(rows), tuple(tokens), arm)


def names_of(one, subset):
    return [one.rows["id"][place] for place in subset.places]


def test_all_arms_get_as_many_rows_as_the_smallest_can_use():
    small, large = pool("a", [5, 0, 7, 9]), pool("b", [1] * 20)
    budget = budget_of("rows", [small, large])
    assert budget == 3  # the row without a learned token teaches nothing
    assert sorted(names_of(small, draw(small, "rows", budget, 0))) == ["a0", "a2", "a3"]
    assert len(draw(large, "rows", budget, 0).places) == 3
    assert budget_of("as_selected", [small, large]) is None
    assert len(draw(large, "as_selected", None, 0).places) == 20


def test_equal_tokens_are_missed_by_half_a_row_at_most():
    chance = random.Random(0)
    pools = [pool(name, [chance.randint(20, 400) for _ in range(80)]) for name in "abcd"]
    budget = budget_of("tokens", pools)
    assert budget == min(sum(one.tokens) for one in pools)
    for one in pools:
        for seed in (0, 1):
            subset = draw(one, "tokens", budget // 2, seed)
            assert subset.tokens == sum(one.tokens[place] for place in subset.places)
            assert abs(subset.tokens - budget // 2) <= 200
    smallest = min(pools, key=lambda one: sum(one.tokens))
    assert len(draw(smallest, "tokens", budget, 0).places) == 80
    assert len(draw(pool("e", [500, 500]), "tokens", 10, 0).places) == 1  # never none


def test_rows_are_drawn_by_their_ids_whatever_their_order():
    names = [f"r{n}" for n in range(40)]
    shuffled = random.Random(1).sample(names, 40)
    one, other = pool("a", [1] * 40, names), pool("b", [1] * 40, shuffled)
    drawn = names_of(one, draw(one, "rows", 10, 0))
    assert names_of(other, draw(other, "rows", 10, 0)) == drawn
    assert drawn != sorted(drawn, key=names.index)  # not in stored order
    assert names_of(one, draw(one, "rows", 10, 1)) != drawn
    assert names_of(one, draw(one, "rows", 12, 0))[:10] == drawn


def test_a_subset_is_saved_once_and_again_only_when_it_changed(tmp_path):
    one = pool("a", [3] * 6)
    subset = draw(one, "rows", 4, 0)
    first = saved_subset(one, subset, tmp_path)
    assert (first["rows"], first["tokens"]) == (4, 12)
    rows, _ = load_curated(str(tmp_path / "data"))
    assert list(rows["id"]) == names_of(one, subset)
    before = (tmp_path / "data" / "state.json").stat().st_mtime_ns
    assert saved_subset(one, subset, tmp_path) == first
    assert (tmp_path / "data" / "state.json").stat().st_mtime_ns == before
    changed = saved_subset(one, draw(one, "rows", 5, 0), tmp_path)
    assert changed["digest"] != first["digest"]
    assert len(load_curated(str(tmp_path / "data"))[0]) == 5
    (tmp_path / "subset.json").write_text("{")  # killed in the middle
    assert saved_subset(one, draw(one, "rows", 5, 0), tmp_path) == changed


def run_of(folder, selected, not_chosen):
    folder.mkdir()
    (folder / "run.json").write_text('{"status": "complete"}')
    for name, ids in (("selected", selected), ("not_chosen", not_chosen)):
        rows = [
            {
                "id": one,
                "instruction": f"Do {one}",
                "input": "",
                "response": "" if "x" in one else f"It is {one}.",
                "history": [],
                "seed_id": one.partition("/")[0],
            }
            for one in ids
        ]
        Dataset.from_list(rows).save_to_disk(folder / name)
    return folder


def test_held_out_rows_are_those_that_no_training_sees(tmp_path):
    runs = {
        "a": run_of(tmp_path / "a", ["1/b1", "2/b1"], ["3/b1", "4/b1", "1/b2", "5/x"]),
        "b": run_of(tmp_path / "b", ["3/b1", "7/b1"], ["1/b1", "4/b1", "6/b1", "2/b2"]),
    }
    drawn = {arm: load_curated(str(folder))[0] for arm, folder in runs.items()}
    drawn["b"] = drawn["b"].filter(lambda row: row["id"] == "3/b1")
    found = held_out_of(runs, drawn, 9, tmp_path / "place")
    assert "from seeds of which none saw a row" in found.kind
    # Each once; 7/b1 was selected, and still no training draws it.
    assert sorted(load_curated(str(found.folder))[0]["id"]) == ["4/b1", "6/b1", "7/b1"]
    again = held_out_of(dict(reversed(runs.items())), drawn, 9, tmp_path / "place")
    assert again.digest == found.digest
    full = {"a": run_of(tmp_path / "c", ["1/b1"], ["5/x"])}
    with pytest.raises(DataError, match="no row with a response that no training sees; name other rows as evaluate"):
        held_out_of(full, {"a": load_curated(str(full["a"]))[0]}, 9, tmp_path / "place")


def test_held_out_rows_of_another_place(tmp_path):
    runs = {"a": run_of(tmp_path / "a", ["0"], ["1"])}
    drawn = {"a": load_curated(str(runs["a"]))[0]}
    names = ("0", "1", "2")
    rows = [{"id": name, "instruction": f"Do {name}" if name == "0" else "Sing", "response": "La."} for name in names]
    Dataset.from_list(rows).save_to_disk(tmp_path / "other")
    found = held_out_of(runs, drawn, 9, tmp_path / "place", str(tmp_path / "other"))
    assert sorted(load_curated(str(found.folder))[0]["id"]) == ["1", "2"]  # the first one's text is trained on
    assert found.kind == f"rows of {tmp_path / 'other'}"
    Dataset.from_list([*rows, rows[2]]).save_to_disk(tmp_path / "twice")
    with pytest.raises(DataError, match="2 rows have the id '2'; scores are compared by id"):
        held_out_of(runs, drawn, 9, tmp_path / "place", str(tmp_path / "twice"))


def test_drawn_rows_are_those_of_all_seeds_and_budgets():
    pools = [pool("a", [5] * 4), pool("b", [1] * 30)]
    found = drawn_rows(pools, ["rows", "tokens"], [0, 1])
    drawn = {
        name
        for equal in ("rows", "tokens")
        for seed in (0, 1)
        for name in names_of(pools[1], draw(pools[1], equal, budget_of(equal, pools), seed))
    }
    assert set(found["b"]["id"]) == drawn
    assert 20 < len(drawn) < 30
    assert list(found["a"]["id"]) == ["a0", "a1", "a2", "a3"]


@pytest.fixture
def place(tmp_path):
    write_seeds(tmp_path / "seeds.jsonl")
    (tmp_path / "curate.yaml").write_text(RECIPE)
    (tmp_path / "sft.yaml").write_text("model_name_or_path: tiny:llama\n")
    (tmp_path / "gsm8k.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n')
    return tmp_path


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ("train: {sft: sft.yaml, seed: [1]}", r'study.yaml.train.seed is not a field; did you mean "seeds"\?'),
        ("train: {sft: none.yaml}", "train.sft: none.yaml: no such training recipe"),
        ("train: {sft: sft.yaml, seeds: []}", "train.seeds: List should have at least 1 item"),
        ("train: {sft: sft.yaml, seeds: [1, 1]}", "train.seeds: expected different values"),
        ("train: {sft: sft.yaml, seeds: [-1]}", "train.seeds: expected seeds of at least 0"),
        ("train: {sft: sft.yaml, equal: [row]}", "train.equal.0: Input should be 'rows', 'tokens' or 'as_selected'"),
        ("train: {sft: sft.yaml, set: {seed: 3}}", "train.set: seed is the study's own matter"),
        ("evaluate: {tasks: [gsm8k]}", "evaluate: expected a section train"),
        (TRAIN + "evaluate: {task: [gsm8k]}", r'evaluate.task is not a field; did you mean "tasks"\?'),
        (TRAIN + "evaluate: {tasks: [gsm9k]}", r"evaluate.tasks: gsm9k is not a task; did you mean \"gsm8k\"\?"),
        (TRAIN + "evaluate: {against: tow}", r'evaluate.against: tow is not an arm of this study; did you mean "two"'),
        (TRAIN + "evaluate: {engine: builtin}", "evaluate.engine: expected one of vllm, vllm-serve, transformers"),
        (TRAIN + "evaluate: {tasks: [gsm8k], data: {mbpp: x}}", "evaluate.data: mbpp is not one of its tasks"),
        (
            TRAIN + "evaluate: {tasks: [gsm8k], data: {gsm8k: no.jsonl}}",
            "gsm8k: no.jsonl: no such file; it",
        ),
    ],
)
def test_sections_that_are_wrong_are_refused_in_one_line(place, sections, message):
    with pytest.raises(RecipeError, match=message) as caught:
        load_study(study_file(place, ARMS + sections))
    assert "\n" not in str(caught.value)


def test_sections_are_read_and_paths_count_from_the_study(place):
    sections = TRAIN + "evaluate: {tasks: [gsm8k], data: {gsm8k: gsm8k.jsonl}}"
    study, _ = load_study(study_file(place, ARMS + sections))
    assert (study.train.seeds, study.train.equal) == ([0], ["rows"])
    assert study.train.sft == str((place / "sft.yaml").resolve())
    assert study.evaluate.data == {"gsm8k": str((place / "gsm8k.jsonl").resolve())}
    assert study.evaluate.against == "one"


def test_settings_of_the_sections_come_before_the_file(place):
    (place / "loss").mkdir()
    settings = [
        "train.seeds=[4, 5]",
        "train.set.max_steps=3",
        "evaluate.tasks=[held_out_loss]",
        "evaluate.data.held_out_loss=loss",
        "tag_evol.budgets=[2]",
    ]
    study, _ = load_study(study_file(place, ARMS + TRAIN), settings)
    assert study.train.seeds == [4, 5]
    assert study.train.set_ == {"max_steps": 3}
    assert study.evaluate.data == {"held_out_loss": str(place / "loss")}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train=1", r"--set train=1: name a field of the section, as train.seeds=\[0\]"),
        ("train.seed=[1]", r'train.seed is not a field; did you mean "seeds"\?'),
        ("train.seeds.first=1", "--set train.seeds.first=1: seeds holds no fields"),
        ("evaluate.references={gsm8k: x}", "evaluate.references: gsm8k is not one of its tasks"),
        ("evaluate.max_requests=0", "evaluate.max_requests: Input should be greater than or equal to 1"),
    ],
)
def test_settings_of_the_sections_that_are_wrong(place, setting, message):
    sections = "train: {sft: sft.yaml, seeds: [1]}\nevaluate: {tasks: [held_out_loss]}"
    with pytest.raises(RecipeError, match=message):
        load_study(study_file(place, ARMS + sections), [setting])


@pytest.mark.parametrize(
    ("tasks", "message"),
    [("mt_bench", "mt_bench: needs a judge"), ("humaneval", "humaneval: runs code that the model wrote")],
)
def test_what_a_task_lacks_is_told_before_anything_is_asked(place, tasks, message):
    study, _ = load_study(study_file(place, ARMS + TRAIN + f"evaluate: {{tasks: [{tasks}]}}"))
    with pytest.raises(RecipeError, match=message):
        run_study(study, [], place / "out")
    assert not (place / "out").exists()
    if tasks == "humaneval":
        check_sections(study.train, study.evaluate, run_code=True)


def test_a_training_recipe_without_a_model_is_told_before_anything_is_asked(place):
    (place / "sft.yaml").write_text("format: alpaca\n")
    study, _ = load_study(study_file(place, ARMS + TRAIN))
    with pytest.raises(RecipeError, match="model_name_or_path is missing"):
        run_study(study, [], place / "out")


def trained(arm, **changes):
    body = {"arm": arm, "equal": "rows", "seed": 0, "rows": 40, "tokens": 900, "status": "complete", "message": ""}
    return {**body, **changes}


def evaluated(arm, **changes):
    return {**trained(arm), "task": "gsm8k", "metric": "accuracy", "n": 50, "n_expected": 50, **changes}


def contrast(arm, **changes):
    body = {"task": "gsm8k", "metric": "accuracy", "better": "higher", "equal": "rows", "against": "a", "arm": arm}
    body |= {"n": 50, "seeds": [0, 1, 2], "mean": 0.5, "interval": [0.4, 0.6], "sd_over_seeds": 0.01}
    return {**body, "difference": None, "difference_interval": None, **changes}


def test_what_is_unequal_is_said():
    trainings = [trained("a"), trained("b", rows=39), trained("c", status="failed", message="no memory")]
    trainings += [trained("a", equal="tokens"), trained("b", equal="tokens", tokens=950)]
    evaluations = [evaluated("a"), evaluated("b", n=45), evaluated("a", seed=1, status="failed", message="no engine")]
    contrasts = [contrast("a", n=45), contrast("b", n=45, seeds=[0], interval=[0.0, 0.0])]
    doubts = list(doubts_of_trained(trainings, evaluations, contrasts, "a"))
    assert doubts == [
        "Training of c (equal rows, seed 0) failed: no memory",
        "gsm8k of b (equal rows, seed 0) is incomplete: 45 of 50 have a score.",
        "gsm8k of a (equal rows, seed 1) has no result: no engine",
        "With equal rows, the arms were trained on 39 (b (equal rows, seed 0)) to 40 (a (equal rows, seed 0)) rows.",
        "With equal tokens, the arms were trained on 900 (a (equal tokens, seed 0)) to 950 (b (equal tokens, seed 0)) "
        "learned tokens.",
        "gsm8k, equal rows: the arms are compared on the 45 of 50 problems that all have a score for.",
        "gsm8k, equal rows: the arms have different numbers of seeds: a: 3; b: 1.",
        "gsm8k, equal rows: b has the same score in all 45 problems; its interval says nothing.",
        "Trained with 1 seed: how much trainings of the same arm differ is not in the intervals.",
    ]
    rest = list(doubts_of_trained([trained("b", seed=n) for n in range(3)], [evaluated("b")], [contrast("b")], "a"))
    assert rest == ["gsm8k, equal rows: a, which the arms are compared with, has no result: there are no differences."]


def test_the_table_has_a_line_for_each_arm_and_budget():
    trainings = [trained("a"), trained("a", seed=1, tokens=910), trained("b"), trained("b", seed=1, status="failed")]
    better = contrast("b", mean=0.55, interval=None, difference=0.05, difference_interval=[-0.01, 0.11])
    head, first, second = trained_lines(Trained(tuple(trainings), (), (contrast("a"), better), ()))
    assert head == ["", "equal", "rows", "tokens", "gsm8k", "vs a", "seeds"]
    assert first == ["a", "rows", "40", "900–910", "50.0 % [40.0, 60.0]", "–", "2 of 2"]
    assert second == ["b", "rows", "40", "900", "55.0 %", "+5.0 % [-1.0, +11.0]", "1 of 2"]


def test_why_a_child_failed_is_its_own_last_error(tmp_path):
    log = tmp_path / "log"
    log.write_text("step 1\nerror: /m/a: no config\nnoise\nerror: /m/b: no weights\n")
    assert message_of(log, 2) == "/m/b: no weights"
    assert message_of(log, 2, "/m/a") == "no config"
    log.write_text("Killed\n")
    assert message_of(log, -9) == f"ended with status -9; see {log}"


def test_a_result_counts_while_model_options_and_data_are_the_same(tmp_path):
    job = Training("one", "rows", 0, tmp_path / "model", digest="0f")
    (tmp_path / "model" / "evals").mkdir(parents=True)
    write_json(tmp_path / "model" / "evals" / "gsm8k.json", {"task": "gsm8k"})
    (tmp_path / "sums.jsonl").write_text("1")
    means = Means(None, "", {}, 512, tmp_path / "store.sqlite", run_code=False)
    evaluate = Evaluate(tasks=["gsm8k", "ifeval"], data={"gsm8k": str(tmp_path / "sums.jsonl")}, limit=3)

    def counts(options=evaluate, model=job, task="gsm8k"):
        return is_there(model, task, key_of(options, task, model, means))

    assert not counts()
    write_json(tmp_path / "model" / "evals" / "evaluated.json", {"gsm8k": key_of(evaluate, "gsm8k", job, means)})
    assert counts()
    assert not counts(task="ifeval")
    assert not counts(model=replace(job, digest="10"))
    for change in ({"limit": 4}, {"engine": "transformers"}, {"max_new_tokens": 9}, {"judge": "builtin"}):
        assert not counts(evaluate.model_copy(update=change)), change
    assert counts(evaluate.model_copy(update={"held_out_rows": 9, "against": "two", "max_requests": 9}))
    (tmp_path / "sums.jsonl").write_text("2")
    assert not counts()
    (tmp_path / "sums.jsonl").write_text("1")
    assert counts()
    (tmp_path / "model" / "evals" / "gsm8k.json").unlink()
    assert not counts()
