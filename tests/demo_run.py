"""A run folder in the form of the quickstart's, made by hand: what the report's tests read."""

from __future__ import annotations

import json
from collections import Counter
from math import cos, exp, pi, sin, sqrt
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value

from tagevol_hf.rows import ROW_FEATURES, rejection

FEATURES = Features(
    {
        **ROW_FEATURES,
        "seed_id": Value("string"),
        "seed_instruction": Value("string"),
        "budget": Value("int64"),
        "candidates": List(Value("string")),
        "chosen_tags": List(Value("string")),
        "plan": Value("string"),
        "open_tags": List({"tag": Value("string"), "explanation": Value("string")}),
        "labels": List(Value("string")),
        "cluster": Value("int64"),
        "score": Value("float64"),
        "comparisons": Value("int64"),
        "rank": Value("int64"),
        "why": Value("string"),
    }
)

SEEDS = [
    (
        "A train travels 180 km in 2 hours and 15 minutes. What is its average speed in km/h?",
        {
            1: (
                "A train travels 180 km in 2 hours and 15 minutes, including a stop of 15 minutes at a junction. "
                "What is its average speed in km/h, with and without the stop?",
                ["idle time"],
            ),
            3: (
                "A train travels 180 km in 2 hours and 15 minutes. It uses 1,450 kWh at 0.21 euros per kWh. What "
                "is its average speed in km/h, what does the energy cost per kilometre, and how large is the "
                "error of the speed if the clock is accurate to one minute?",
                ["unit cost", "measurement error", "energy use"],
            ),
            5: (
                "A train travels 180 km in 2 hours and 15 minutes. Model its journey as a piecewise function with"
                " an acceleration phase, a constant phase and a braking phase of equal distance. What is its "
                "average speed in km/h, what is the least possible top speed, and how would a timetable planner "
                "add a buffer so that 95 % of the trains arrive on time?",
                ["piecewise function", "optimisation", "queueing", "percentile", "scheduling"],
            ),
        },
    ),
    (
        "Explain the difference between a list and a tuple in Python.",
        {
            1: (
                "Explain the difference between a list and a tuple in Python, and show by an example how each "
                "behaves as a dictionary key.",
                ["hash table"],
            ),
            3: (
                "Explain the difference between a list and a tuple in Python to a class of musicians, by an "
                "analogy with a set list and a chord, and compare the memory that both take.",
                ["analogy", "music theory", "memory profile"],
            ),
            5: (
                "Explain the difference between a list and a tuple in Python for a legal contract archive in "
                "which signed records must never change: propose a schema, an audit trail and a unit test, and "
                "estimate the memory for one million records.",
                ["contract law", "audit trail", "unit test", "estimation", "schema design"],
            ),
        },
    ),
    (
        "Suggest a vegetarian dinner that I can make from these ingredients in under 30 minutes.",
        {
            1: (
                "Suggest a vegetarian dinner that I can make from these ingredients in under 30 minutes for two "
                "children who dislike onions.",
                ["picky eaters"],
            ),
            3: (
                "Suggest a vegetarian dinner that I can make from these ingredients in under 30 minutes, as a "
                "table with the time of each step, the cost a portion and the protein in grams.",
                ["time table", "unit cost", "nutrition"],
            ),
            5: (
                "Suggest a vegetarian dinner that I can make from these ingredients in under 30 minutes on a "
                "single camping stove at an altitude of 2,500 m: explain how the lower boiling point changes the "
                "cooking time, plan the order of the steps, and give a version for a guest with a nut allergy.",
                ["boiling point", "critical path", "altitude", "allergy", "outdoor cooking"],
            ),
        },
    ),
    (
        "Erkläre einem Kind, warum der Himmel tagsüber blau ist.",
        {
            1: ("Erkläre einem Kind in Reimen, warum der Himmel tagsüber blau ist.", ["rhyme"]),
            3: (
                "Erkläre einem Kind, warum der Himmel tagsüber blau und abends rot ist, und schlage einen Versuch"
                " mit Milch und einer Taschenlampe vor.",
                ["experiment", "light scattering", "household items"],
            ),
            5: (
                "Erkläre einem Kind, warum der Himmel tagsüber blau ist, auf dem Mars aber rötlich: als Dialog "
                "zwischen zwei Raumfahrern, mit einem Versuch für zu Hause und einer Frage am Ende.",
                ["dialogue", "planetary atmosphere", "experiment", "open question", "comparison"],
            ),
        },
    ),
]

CLUSTERS = [
    ["travel time", "unit conversion"],
    ["python", "data structures", "explanation"],
    ["cooking", "planning"],
    ["e-mail", "polite style"],
    ["history", "chronology"],
    ["physics", "light"],
    ["sleep", "health habits"],
    ["law basics", "contracts"],
]


TAGS = {
    "format": 2,
    "entries": [
        {
            "tag": "sorting",
            "count": 7,
            "key": "sort",
            "canonical": "sorting",
            "step": "kept",
            "why": "the most frequent",
        },
        {
            "tag": "Sorting",
            "count": 3,
            "key": "sort",
            "canonical": "sorting",
            "step": "rule",
            "why": "the same but for",
        },
        {
            "tag": "bubble sort",
            "count": 2,
            "key": "bubble sort",
            "canonical": "sorting",
            "step": "association",
            "why": "2 of the 2 rows with 'bubble sort' have 'sorting', too",
        },
        {"tag": "music", "count": 4, "key": "music", "canonical": "music", "step": "kept", "why": "most frequent"},
        {"tag": "odd", "count": 1, "key": "odd", "canonical": None, "step": "frequency", "why": "fewer than 2 rows"},
    ],
}

SELECTIONS = {
    "format": 1,
    "figures": {
        "pool": {"n": 185, "label_coverage": 1.0, "characters_mean": 412.5},
        "selected": {"n": 48, "label_coverage": 0.62, "characters_mean": 530.0},
        "random": {"n": 48, "label_coverage": 0.41, "characters_mean": 404.0},
    },
    "deviations": {"random": {"label_coverage": 0.03, "characters_mean": 12.0}},
    "draws": {"selected": 1, "random": 3},
    "overlap": {"selected": {"random": 0.25}, "random": {"selected": 0.25, "random": 0.27}},
    "definitions": {"label_coverage": "Share of the pool's labels that some row has."},
    "notes": ["Cluster coverage is not measured: the pool has no column cluster."],
}


def build_demo_run(folder: Path) -> Path:
    """A run folder in the form of the quickstart's: 64 seeds, three budgets, 48 selected, trained and evaluated."""
    rows = [_demo_row(number, budget) for number in range(64) for budget in (1, 3, 5)]
    lost = [row for place, row in enumerate(rows) if place % 29 == 17]
    kept = [row for row in rows if row not in lost]
    order = sorted(kept, key=lambda row: (-row["score"], row["id"]))
    per_cluster: Counter[int] = Counter()
    selected, other = [], []
    for row in order:
        per_cluster[row["cluster"]] += 1
        row["rank"] = per_cluster[row["cluster"]]
        (selected if row["rank"] <= 6 else other).append(row)
    for row in selected:
        row["why"] = f"rank {row['rank']} of its cluster; 6 places"
    for place, row in enumerate(lost):
        reason, raw = [
            ("not_json", "Sure! Here is the rewritten instruction:\n\n1. First, think about the tags …"),
            ("wrong_count", '{"chosen": [4, 4, 9], "plan": "Weave in all of them.", "evolved": "…"}'),
            ("truncated", '{"chosen": [2, 7, 11, 13, 20], "plan": "' + "Think about it once more. " * 60),
        ][place % 3]
        row.update(
            rejection=rejection("tag_evol", reason, "expected 3 distinct numbers, got 2", raw, 3),
            score=None,
            cluster=None,
        )
    save(folder, selected=selected, not_chosen=other, rejected=lost)
    write(folder / "run.json", demo_record(len(selected), len(other), Counter(r["rejection"]["reason"] for r in lost)))
    write(folder / "tag_pool.json", {"format": 1, "tags": _demo_tags()})
    write(folder / "clusters.json", {"format": 1, "names": CLUSTERS})
    write(folder / "cluster_map.json", demo_map(kept))
    write(folder / "selections.json", SELECTIONS)
    write(folder / "tags.json", TAGS)
    (folder / "recipe.yaml").write_text(
        "name: quickstart\nseed: 42\nengines:\n  default: builtin\nsteps:\n- aspect_tags: {}\n"
    )
    history = [
        {"step": step, "epoch": step / 10, "loss": 2.1 + 5.4 * exp(-step / 22) + 0.08 * (step % 3)}
        for step in range(5, 121, 5)
    ]
    write(
        folder / "sft-tiny" / "train.json",
        {
            "model": "tiny:llama",
            "rows": 48,
            "tokens": 9120,
            "epochs": 12.0,
            "seconds": 21.4,
            "loss_history": history,
            "first_loss": history[0]["loss"],
            "last_loss": history[-1]["loss"],
        },
    )
    write(
        folder / "sft-tiny" / "eval.json",
        {
            "task": "held_out_loss",
            "n": 24,
            "n_tokens": 1802,
            "before": {"loss": 7.62, "perplexity": 2038.6},
            "after": {"loss": 4.13, "perplexity": 62.2},
            "held_out_means": "rows that were not chosen",
            "samples": [
                {"instruction": SEEDS[0][0], "before": "qz ##ta ## ta ## ta lo lo", "after": "The train travels 80 km."}
            ],
        },
    )
    return folder


def demo_map(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Each cluster in a place of its own."""
    places = []
    for number, row in enumerate(rows):
        around, near, far = 2 * pi * row["cluster"] / 8, 2.4 * number, 0.12 * sqrt(number / len(rows))
        x, y = (0.5 + 0.36 * turn(around) + far * turn(near) for turn in (cos, sin))
        places.append([row["id"], round(x, 4), round(y, 4), row["cluster"]])
    return {"format": 1, "how": "t-SNE of the label vectors", "rows": len(rows), "points": places}


def _demo_row(number: int, budget: int) -> dict[str, Any]:
    seed, versions = SEEDS[number % len(SEEDS)]
    text, tags = versions[budget]
    head = "" if number < len(SEEDS) else f"({number + 1}) "
    score = 5 + 3.2 * (((number * 37 + budget * 11) % 50) / 50 - 0.5) + 0.25 * budget
    return {
        "id": f"seed-{number:02d}/b{budget}",
        "instruction": head + text,
        "input": "One onion, a tin of tomatoes, a tin of chickpeas, fresh spinach." if number % 4 == 2 else "",
        "response": "First state what is given, then what is asked. " * 6,
        "history": [],
        "rejection": None,
        "seed_id": f"seed-{number:02d}",
        "seed_instruction": head + seed,
        "budget": budget,
        "candidates": tags,
        "chosen_tags": tags,
        "plan": "Pick the tags that fit, bind each to one question, keep the language of the seed.",
        "open_tags": [{"tag": tag, "explanation": "what it asks for"} for tag in tags[:2]],
        "labels": CLUSTERS[number % 8],
        "cluster": number % 8,
        "score": round(score, 3),
        "comparisons": 4,
        "rank": None,
        "why": None,
    }


def _demo_tags() -> list[dict[str, Any]]:
    names = (
        "unit conversion|average|python|list|tuple|budget|recipe|polite tone|chronology|"
        "light scattering|proportion|summary|three points|verb tense|sleep hygiene|contract|"
        "probability|sorting|analogy|table|deadline|poem|rhythm|chord|offside|currency|"
        "immune system|cell|route|packing list|percentages|refraction|orbit|e-mail|translation|"
        "syllogism|river crossing|binary search|SQL join|copyright|interest|emergency fund|"
        "日本語"
    )
    aspects = ["topic", "skill", "format", "audience", "constraint", "domain knowledge"]
    return [
        {"tag": tag, "count": max(1, 24 - place // 2), "aspects": {aspects[place % 6]: max(1, 24 - place // 2)}}
        for place, tag in enumerate(names.split("|"))
    ]


def demo_record(selected: int, not_chosen: int, rejected: dict[str, int]) -> dict[str, Any]:
    lost = sum(rejected.values())
    kept = 192 - lost

    def step(number: int, name: str, kind: str, rows: int, **more: Any) -> dict[str, Any]:
        return {
            "number": number,
            "name": name,
            "kind": kind,
            "rows_in": rows,
            "added": 0,
            "rows_out": rows,
            "not_chosen": 0,
            "rejected": {},
            "asked": 0,
            "stored": 0,
            "failed": {},
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "cached_tokens": 0,
            "seconds": 0.1,
            "prompt": None,
            "summary": {},
            **more,
        }

    def model(name: str, asked: int, seconds: float) -> dict[str, Any]:
        return {
            "asked": asked,
            "stored": asked // 9,
            "prompt_tokens": asked * 612,
            "completion_tokens": asked * 148,
            "seconds": seconds,
            "cached_tokens": asked * 410,
            "prompt": {"name": name, "digest": "9f2c4be07d11a35e"},
        }

    steps = [
        step(1, "load", "load", 64, seconds=0.2),
        step(2, "aspect_tags", "map", 64, **model("aspect_tags", 64, 1.4)),
        step(3, "tag_pool", "fold", 64, summary={"tags": 412, "aspects": 37}),
        step(4, "tag_evol", "fan", 64, added=128, rows_out=kept, rejected=rejected, **model("tag_evol", 201, 3.8)),
        step(5, "respond", "map", kept, **model("respond", kept, 2.9)),
        step(6, "open_tags", "map", kept, **model("open_tags", kept, 2.2)),
        step(7, "normalize_tags", "map", kept, summary={"before": 530, "after": 188}),
        step(
            8,
            "cluster",
            "map",
            kept,
            summary={
                "k": 8,
                "quality": {
                    "silhouette": 0.21,
                    "sizes": [40, 30],
                    "single_row": 1,
                    "dominant": 0,
                    "dominant_above": 0.25,
                    "similarity_inside": 0.44,
                    "similarity_random": 0.12,
                },
            },
        ),
        step(
            9,
            "compare",
            "map",
            kept,
            **model("compare", 744, 6.1),
            summary={
                "pairs": 372,
                "n": 744,
                "both_orders": 372,
                "flip_rate": 0.124,
                "judge_position_bias": 0.013,
                "position_bias": 0.0004,
                "length_bias": 0.58,
                "tie_rate": 0.02,
                "transitivity": 0.9,
                "triads": 120,
                "agreement_with_single": 0.61,
            },
        ),
        step(10, "select", "pick", kept, rows_out=selected, not_chosen=not_chosen, summary={"n": selected}),
    ]
    return {
        "name": "quickstart",
        "status": "complete",
        "version": "0.1.0",
        "digest": "3f9a0c1b22de",
        "seed": 42,
        "started": "2026-02-03T14:05:09+00:00",
        "seconds": 17.2,
        "command": "tagevol run recipes/quickstart",
        "engines": {"default": {"spec": "builtin", "identity": "builtin:1", "language_model": False}},
        "versions": {"datasets": "5.2.0", "transformers": "5.3.0", "trl": "1.2.0", "torch": "2.9.1"},
        "steps": steps,
        "totals": {
            "read": 64,
            "added": 128,
            "selected": selected,
            "not_chosen": not_chosen,
            "rejected": rejected,
            **{
                key: sum(one[key] for one in steps)
                for key in ("asked", "stored", "prompt_tokens", "completion_tokens", "cached_tokens")
            },
        },
    }


def save(folder: Path, **parts: list[dict[str, Any]]) -> None:
    for name, rows in parts.items():
        columns = {key: [row.get(key) for row in rows] for key in FEATURES}
        Dataset.from_dict(columns, features=FEATURES).save_to_disk(folder / name)


def write(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")
