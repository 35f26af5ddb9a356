"""The model card: what it tells, what it must not tell, and the person's text beside it."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st

from tagevol_hf.training.card import model_card, refresh_card, run_of, write_card
from tagevol_hf.training.card_file import marked, renewed
from tagevol_hf.training.card_text import code, fenced, plain, scrub

TRAIN = {
    "data_digest": "ea94",
    "model": "mistralai/Mistral-7B-v0.1",
    "format": "llama2",
    "end_token": "</s>",
    "rows": 9000,
    "tokens": 1234567,
    "learned_tokens": 654321,
    "over_long": 31,
    "dropped": 0,
    "longest": 5017,
    "rows_without_response": 2,
    "steps": 210,
    "first_loss": 1.53,
    "last_loss": 0.91,
    "loss_history": [{"step": n, "epoch": n / 70, "loss": 1.53 - n / 339} for n in range(0, 211, 5)],
    "versions": {"trl": "1.16.0", "torch": "2.13.0"},
    "arguments": {"curated": "runs/poems", "learning_rate": "1e-5", "use_peft": "True", "lora_r": "16"},
}
RUN = {
    "name": "poems",
    "digest": "9564a7efd064",
    "seed": 42,
    "version": "0.1.0",
    "status": "complete",
    "engines": {
        "default": {"spec": "vllm:org/judge", "identity": "org/judge@main", "language_model": True},
        "answers": {"spec": "builtin", "identity": "builtin@c0", "language_model": False},
    },
    "steps": [{"name": "tag_evol", "rows_in": 4000, "added": 8000, "rows_out": 11900, "rejected": {"too_long": 100}}],
    "totals": {"read": 4000, "added": 8000, "selected": 9000, "not_chosen": 2900, "rejected": {"too_long": 100}},
}
MARK = re.compile(r"<!-- tagevol card \w+:.*<!-- tagevol card: end -->", re.DOTALL)
PEFT_FORM = "---\nlibrary_name: peft\n---\n\n# Model Card for Model ID\n\n[More Information Needed]\n"


def saved_run(folder, run=RUN, recipe="name: poems\nseed: 42\n"):
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "recipe.yaml").write_text(recipe)
    return folder


def head_of(card):
    return ModelCard(card).data.to_dict()


def test_what_a_card_tells(tmp_path):
    run = saved_run(tmp_path / "run", recipe="name: poems\nsteps:\n- select:\n    n: 9000\n")
    evaluation = {"n": 64, "n_tokens": 9876, "held_out_means": "rows not chosen"}
    losses = {"before": {"loss": 1.5, "perplexity": 4.4817}, "after": {"loss": 0.9, "perplexity": 2.4596}}
    card = model_card(TRAIN, run, evaluation={**evaluation, **losses}, name="poet")
    for told in (
        "# poet\n",
        "A LoRA adapter for [mistralai/Mistral-7B-v0.1](https://huggingface.co/mistralai/Mistral-7B-v0.1)",
        "| data run | `poems` |",
        "| digest of its recipe | `9564a7efd064` |",
        "| SHA-256 of its texts | `ea94` |",
        "| seed | 42 |",
        "| engine default | `org/judge@main` (a language model) |",
        "| engine answers | `builtin@c0` (rules, no language model) |",
        "| rows read | 4,000 |",
        "| rows added by evolving | 8,000 |",
        "| rows selected | 9,000 |",
        "| rows not chosen | 2,900 |",
        "| rows rejected | 100 (too\\_long 100) |",
        "| tag\\_evol | 4000 | 8000 | 100 | 11900 |",
        "```yaml\nname: poems\nsteps:\n- select:\n    n: 9000\n```",
        "| learned tokens | 654,321 |",
        "| over-long rows | 31 with more than max\\_length, cut at their end; the longest has 5,017 tokens |",
        "| end token, learned with each response | `</s>` |",
        "| training loss, first to last | 1.5300 → 0.9100 |",
        "| `lora_r` | `16` |",
        "rows not chosen: 64 rows with 9,876 response tokens.",
        "| before | 1.5000 | 4.48 |",
        "AutoPeftModelForCausalLM",
        "- trl 1.16.0",
        "2505.24165",
        "2507.03673",
    ):
        assert told in card, told
    history = re.findall(r"^\| (\d+) \| \d\.\d\d \|", card, re.MULTILINE)
    assert (len(history), history[0], history[-1]) == (12, "0", "210")
    assert "without a language model" not in card
    assert head_of(card) == {
        "base_model": "mistralai/Mistral-7B-v0.1",
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["trl", "sft", "tagevol", "lora"],
    }


def test_a_full_model_of_rules_alone_and_a_set_on_the_hub(tmp_path):
    engines = {"default": {"spec": "builtin", "identity": "builtin@c0", "language_model": False}}
    arguments = {"curated": "org/poems", "model_revision": "v0.1"}
    tiny = {**TRAIN, "model": "tiny:llama", "arguments": arguments}
    card = model_card(tiny, saved_run(tmp_path / "run", {**RUN, "engines": engines}))
    assert "The data was made by rules, without a language model" in card
    assert "tiny one with random weights" in card
    assert "AutoModelForCausalLM.from_pretrained" in card
    assert "Peft" not in card
    assert "base_model" not in head_of(card)
    on_the_hub = head_of(model_card({**TRAIN, "arguments": arguments}, None))
    assert (on_the_hub["datasets"], on_the_hub["library_name"]) == (["org/poems"], "transformers")
    assert (on_the_hub["base_model_relation"], "lora" in on_the_hub["tags"]) == ("finetune", False)


def test_a_card_of_what_is_hardly_known(tmp_path):
    broken = saved_run(tmp_path / "run", recipe="{not: [yaml")
    (broken / "run.json").write_text("{")
    assert "## How to load" in model_card({}, broken)
    assert "## How to load" in model_card({"arguments": {}, "loss_history": []}, None, evaluation={})


SECRETS = {
    "home": f"{Path.home()}/models/judge",
    "user": "/home/alice_q/runs/x",
    "spaced": "/Users/Alice Quill/My Models/judge",
    "windows": r"C:\Users\alice_q\judge",
    "tilde": "~alice_q/models/judge",
    "up": "../../alice_q/models/judge",
    "engine": "vllm:/scratch/alice_q/judge?lora=/scratch/alice_q/poet&dtype=float16",
    "server": "https://alice_q:pa55word@host.example:8000/v1?api_key=k3y-of-alice#judge",
    "file": "file:///home/alice_q/judge",
    "hf": "hf_AbCdEfGhIjKlMnOp",
    "command": "curate --token hf_AbCdEfGhIjKlMnOp /home/alice_q/recipe.yaml api_key=k3y-of-alice",
    "api_key": "k3y-of-alice",
    "hub_token": "t0ken-of-alice",
    "HF_TOKEN": "t0ken-of-alice",
    "password": "pa55word",
}


def test_no_place_name_or_key_gets_out(tmp_path):
    recipe = yaml.safe_dump({"engines": SECRETS, "steps": [{"respond": SECRETS}], **SECRETS})
    engines = {name: {"spec": text, "identity": text, "language_model": True} for name, text in SECRETS.items()}
    run = saved_run(tmp_path / "alice_q" / "run", {**RUN, "engines": engines, "command": SECRETS["command"]}, recipe)
    arguments = {**SECRETS, "curated": str(run), "max_tokens": "9", "eos_token": "</s>"}
    for place in ("home", "user", "spaced", "windows"):
        train = {**TRAIN, "model": SECRETS[place], "arguments": arguments, "resumed_from": SECRETS["user"]}
        card = model_card(train, run)
        for secret in ("alice", "Alice", "Quill", "pa55word", "k3y", "t0ken", "AbCdEf", str(Path.home()) + "/"):
            assert secret not in card, secret
        assert "base_model" not in head_of(card)
        for kept in ("…/judge", "dtype=float16", "https://host.example:8000/v1#judge", "| `eos_token` | `</s>` |"):
            assert kept in card, kept


def test_what_is_no_place_stays():
    for text in ("org/model", "and/or", "</tag>", "read / write", "https://host/v1#m", "runs/poems", "1e-5", "a: b"):
        assert scrub(text) == text
    assert scrub({"max_tokens": 3, "pad_token": "x", "tokenizer": ["a/b"]}) == {
        "max_tokens": 3,
        "pad_token": "x",
        "tokenizer": ["a/b"],
    }


EVIL = "```\n---\nlicense: mit\n---\n<!-- tagevol card: end -->\n# Owned | x\n````js\n<script>{{ 7*7 }}{% raw %}"


def test_text_of_the_data_cannot_break_the_card(tmp_path):
    recipe = yaml.safe_dump({"name": EVIL, "steps": [{"respond": {"prompt": EVIL}}]})
    run = {**RUN, "name": EVIL, "totals": {"read": 1, "rejected": {EVIL: 3}}, "steps": [{"name": EVIL}]}
    train = {**TRAIN, "format": EVIL, "end_token": EVIL, "model": EVIL, "arguments": {EVIL: EVIL, "curated": EVIL}}
    card = model_card(train, saved_run(tmp_path / "run", run, recipe), name=EVIL)
    assert head_of(card) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["trl", "sft", "tagevol"],
    }
    assert card.count("<!-- tagevol card: end -->") == 1
    assert card.count("\n# ") == 1
    assert "{{ 7*7 }}" in card
    outside, fence = [], ""
    for line in card.splitlines():
        if found := re.match("`{3,}", line):
            fence = "" if fence and set(line) == {"`"} and len(line) >= len(fence) else fence or found[0]
        elif not fence:
            outside.append(line)
    assert not fence
    assert not any(re.search(r"(?<!`)<script>", line) for line in outside if "`" not in line)
    assert outside[-1] == "<!-- tagevol card: end -->"


@given(st.text(alphabet="`|\\\n<!->a {}%~", max_size=40))
def test_any_text_stays_in_its_place(text):
    for inline in (plain(text), code(text)):
        assert "\n" not in inline
        assert not re.search(r"(?<!\\)\|", inline)
        assert "<!--" not in inline
    block = fenced(text).splitlines()
    assert len(block[0]) >= 3
    assert all(len(found[0]) < len(block[0]) for line in block[1:-1] for found in re.finditer("`+", line))


def card_of(rows, folder, **more):
    write_card(folder, {**TRAIN, "rows": rows, **more}, None)
    return (folder / "README.md").read_text()


def test_a_persons_text_stays(tmp_path):
    tmp_path = tmp_path / "poet"
    tmp_path.mkdir()
    first = card_of(1111, tmp_path)
    assert "# poet\n" in first
    assert card_of(1111, tmp_path) == first, "the same again changes nothing"
    section = MARK.search(first)[0]
    mine = first.replace("tags:", "license: apache-2.0\ntags:").replace(section, f"My poet.\n\n{section}\n\nThanks!\n")
    (tmp_path / "README.md").write_text(mine)
    second = card_of(2222, tmp_path, model="org/other")
    assert "| rows trained on | 2,222 |" in second
    assert "1,111" not in second
    assert second.replace(MARK.search(second)[0], "") == mine.replace(section, "")
    assert head_of(second)["license"] == "apache-2.0"
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]


def test_a_card_without_our_section_gets_one_at_its_end(tmp_path):
    (tmp_path / "README.md").write_text("---\ntags:\n- mine  # kept\n---\n# Poet\nMy text.\n")
    text = card_of(1111, tmp_path)
    assert text.startswith("---\ntags:\n- mine  # kept\nbase_model: mistralai/Mistral-7B-v0.1\n")
    assert "\n---\n# Poet\nMy text.\n\n<!-- tagevol card " in text
    assert head_of(text)["tags"] == ["mine"]
    (tmp_path / "README.md").write_text("no head at all")
    assert "---\nno head at all\n\n<!-- tagevol card " in card_of(1111, tmp_path)
    (tmp_path / "README.md").write_text("---\n{no: yaml: at all\n---\nMine.\n")
    assert card_of(1111, tmp_path).startswith("---\n{no: yaml: at all\n---\nMine.\n")


def test_what_peft_writes_is_replaced(tmp_path):
    assert renewed(PEFT_FORM, model_card(TRAIN, None)) == model_card(TRAIN, None)
    place = "/home/alice_q/model"
    local = model_card({**TRAIN, "model": place}, None)
    tags = "tags:\n- mine\n- base_model:adapter:/home/alice_q/model"
    by_peft = local.replace("tags:", tags).replace("---\n", f"---\nbase_model: {place}\n", 1)
    by_peft += "### Framework versions\n\n- PEFT 0.21.2"
    again = renewed(by_peft, local)
    assert "alice_q" not in again
    assert "PEFT 0.21" not in again
    assert head_of(again)["tags"] == ["trl", "sft", "tagevol", "lora", "mine"]
    assert renewed(marked("a: 1", "old"), marked("a: 2", "new")) == marked("a: 2", "new")


def test_an_evaluation_is_shown_if_it_is_of_this_training(tmp_path):
    measured = {"after": {"loss": 0.9, "perplexity": 2.46}, "n": 64, "n_tokens": 9876, "training": "d1"}
    (tmp_path / "eval.json").write_text(json.dumps(measured))
    assert "| after | 0.9000 | 2.46 |" in card_of(1, tmp_path, digest="d1")
    assert "Held-out" not in card_of(1, tmp_path, digest="d2")
    (tmp_path / "train.json").write_text(json.dumps({**TRAIN, "digest": "d1", "rows": 2222}))
    refresh_card(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "| after | 0.9000 | 2.46 |" in text
    assert "| rows trained on | 2,222 |" in text


def test_the_run_of_a_model(tmp_path):
    run = saved_run(tmp_path / "run")
    assert run_of(run / "model", {}) == run
    assert run_of(tmp_path / "model", {"arguments": {"curated": str(run)}}) == run
    assert run_of(tmp_path / "model", TRAIN) is None


@pytest.mark.slow
def test_the_trainer_writes_our_card_and_saves_no_token(tmp_path, tiny_llama, monkeypatch):
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig

    from tagevol_hf.training.trainer import CuratedTrainer, hide_token

    monkeypatch.setenv("HF_TOKEN", "")
    options = {"use_cpu": True, "bf16": False, "report_to": "none", "max_steps": 2, "save_steps": 1}
    config = SFTConfig(str(tmp_path / "poet"), hub_token="hf_SeCrEtSeCrEt", **options)
    hide_token(config)
    assert (config.hub_token, os.environ["HF_TOKEN"]) == (None, "hf_SeCrEtSeCrEt")
    rows = Dataset.from_dict({"input_ids": [[5, 6, 7]] * 4, "labels": [[-100, 6, 7]] * 4})
    trainer = CuratedTrainer(str(tiny_llama), config, train_dataset=rows, peft_config=LoraConfig(r=2))
    trainer.record_so_far = lambda: {**TRAIN, "model": str(tiny_llama), "steps": trainer.state.global_step}
    trainer.train()
    readme = tmp_path / "poet" / "README.md"
    assert "| steps | 2 |" in readme.read_text()
    trainer.save_model(str(tmp_path / "poet"))
    assert str(tiny_llama) in readme.read_text(), "peft puts the base's place into the head"
    trainer.create_model_card("poet")
    assert str(tiny_llama.parent) not in readme.read_text()
    assert "| steps | 2 |" in readme.read_text()
    assert readme.read_text().count("\n# ") == 1
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"SeCrEtSeCrEt" in file.read_bytes()]
