"""A model's answers, turn by turn."""

from scripted import ScriptedEngine
from toy_task import problems, toy

from tagevol_hf.engines.base import Reply, failed
from tagevol_hf.engines.stored import stored
from tagevol_hf.evals.generate import generate


def talk(*turns):
    return {"sum": turns[0], "turns": turns, "answer": 0}


def test_later_turns_are_asked_with_the_answers_before():
    engine = ScriptedEngine(lambda request: f"{len(request.messages)}: {request.messages[-1].content}")
    answers = generate(stored(engine), toy(), problems([talk("a", "b"), talk("c")]))
    assert answers.outputs == [("1: a", "3: b"), ("1: c",)]
    second = engine.requests[-1].messages
    assert [(message.role, message.content) for message in second] == [
        ("user", "a"),
        ("assistant", "1: a"),
        ("user", "b"),
    ]


def test_an_answer_that_could_not_be_had_is_none_and_is_counted():
    def answer(request):
        text = request.messages[-1].content
        return failed("timeout") if text == "bad" else Reply("x", "length" if text == "long" else "stop")

    engine = ScriptedEngine(answer)
    answers = generate(stored(engine), toy(), problems([talk("bad", "never"), talk("good", "bad"), talk("long")]))
    assert answers.outputs == [None, None, ("x",)]
    assert (answers.cut_off, answers.failed) == (1, {"timeout": 2})
    assert "never" not in [request.messages[-1].content for request in engine.requests]


def test_drawn_answers_have_a_seed_of_their_own_and_greedy_ones_none():
    warm = toy(temperature=lambda problem: 0.7 if "w" in problem.turns[0] else 0.0, max_tokens=77)

    def seeds(order, seed=0):
        engine = ScriptedEngine(lambda request: "x")
        generate(stored(engine), warm, order, seed)
        return {request.messages[0].content: request.sampling for request in engine.requests}

    both = problems([talk("w1"), talk("w2"), talk("cold")])
    found = seeds(both)
    assert found == seeds(both[::-1])
    assert found["w1"].seed != found["w2"].seed
    assert found["w1"] != seeds(both, seed=1)["w1"]
    assert (found["cold"].seed, found["cold"].temperature, found["cold"].max_tokens) == (None, 0.0, 77)
