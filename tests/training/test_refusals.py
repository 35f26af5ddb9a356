"""What is wrong with data, template, tokenizer or checkpoint is said before a device or a process group is touched."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from run_folders import RECIPE, ROOT, row, save_run

pytestmark = pytest.mark.slow

# Each case in one process, since loading TRL is what takes the time; `accelerate` keeps no state until a
# configuration is made, and that is when devices are set up.
RUN = """
import json, runpy, sys
sft = runpy.run_path("scripts/sft.py")
from accelerate.state import PartialState
import contextlib, io, torch
for name, argv in json.load(open(sys.argv[1])):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        status = sft["main"](argv)
    untouched = not PartialState._shared_state and not torch.cuda.is_initialized()
    print("case", json.dumps([name, status, untouched, said.getvalue().splitlines()[-1]]))
"""


def without(tiny, folder, *names):
    """The tiny model with a tokenizer that lacks special tokens."""
    shutil.copytree(tiny, folder)
    file = folder / "tokenizer_config.json"
    body = {key: value for key, value in json.loads(file.read_text()).items() if key not in names}
    file.write_text(json.dumps(body))
    return folder


def other_checkpoint(folder, tiny):
    shutil.copytree(tiny, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 128}))
    (folder / "trainer_state.json").write_text('{"global_step": 3}')
    return folder


def test_each_is_refused_in_one_line(run_folder, tiny_llama, tmp_path):
    rows = save_run(tmp_path / "rows", [row(1), row(2, response="x" * 3000)], [])
    early = [{"role": "assistant", "content": "Hello!"}, {"role": "system", "content": "Be brief."}]
    turns = save_run(tmp_path / "turns", [row(1), row(2, history=early)], [])
    empty = save_run(tmp_path / "empty", [], [row(1)])
    unfinished = save_run(tmp_path / "unfinished", [row(1)], [])
    (unfinished / "run.json").write_text('{"status": "running"}')
    (unfinished / "recipe.yaml").write_text(
        "name: x\ndata: {source: none.jsonl}\nengines: {default: builtin}\nsteps: [respond: {}]\n"
    )
    (tmp_path / "plain.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    endless = without(tiny_llama, tmp_path / "endless", "eos_token", "pad_token")
    other = other_checkpoint(tmp_path / "checkpoint-3", tiny_llama)
    unlike = tmp_path / "unlike"
    shutil.copytree(tiny_llama, unlike)
    config = json.loads((unlike / "config.json").read_text())
    (unlike / "config.json").write_text(json.dumps(config | {"vocab_size": 50}))

    cases = {
        "the curated set is empty, found no row": ["--curated", str(empty)],
        "the run in": ["--curated", str(unfinished), "--curate", "never"],
        "the template llama3 writes <|start_header_id|>, which is no token of this model": ["--format", "llama3"],
        "did you mean \"mistral\"?": ["--format", "messages", "--chat_template_path", "mistra"],
        "the template does not mark the replies": [
            "--format", "messages", "--chat_template_path", str(tmp_path / "plain.jinja"),
        ],
        "is for format: messages, and this is format: alpaca": ["--chat_template_path", "llama2"],
        "is not what the chat template ends a reply with, '<|im_end|>'": [
            "--format", "chatml", "--eos_token", "<|bos|>",
        ],
        "the tokenizer has no end-of-sequence token": ["--model_name_or_path", str(endless)],
        "is of another model than": ["--model_name_or_path", str(tiny_llama), "--resume_from_checkpoint", str(other)],
        "the model knows 50 tokens, its tokenizer gives token": ["--model_name_or_path", str(unlike)],
        "row 'r/2': the chat template cannot write its turns (assistant, system, user, assistant)": [
            "--curated", str(turns), "--format", "llama2",
        ],
        "all exceed max_length: 5 tokens": ["--max_length", "5", "--long_rows", "drop"],
        "packing: needs a max_length and packing_strategy: bfd": ["--packing", "--packing_strategy", "wrapped"],
        "curate: expected one of auto, never, got 'yes'": ["--curate", "yes"],
    }  # fmt: skip
    common = ["--config", str(RECIPE), "--model_name_or_path", str(tiny_llama), "--curated", str(rows)]
    argv = [(name, [*common, "--output_dir", str(tmp_path / "out"), *given]) for name, given in cases.items()]
    (tmp_path / "cases.json").write_text(json.dumps(argv))
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "cases.json")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    told = [json.loads(line[5:]) for line in done.stdout.splitlines() if line.startswith("case ")]
    assert [name for name, *_ in told] == list(cases), done.stderr[-2000:]
    for name, status, untouched, said in told:
        assert said.startswith("error: "), said
        assert name in said
        assert (status, untouched) == (2, True), said
    assert not (tmp_path / "out" / "started.json").exists()
