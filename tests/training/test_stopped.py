"""A training that ends early says what is true of it, and one with other settings leaves the first model whole."""

import json
import os
import signal
import subprocess
import sys

import pytest
from processes import wait_for
from run_folders import RECIPE, ROOT, load_script

from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.training.arguments import check_can_be_written, output_dir_to_be
from tagevol_hf.training.words import ends_in_words

SHORT = ["--max_steps", "2", "--per_device_train_batch_size", "4", "--logging_steps", "1"]


def arguments(run_folder, output, *more):
    return ["--config", str(RECIPE), "--curated", str(run_folder), "--output_dir", str(output), *more]


def said_of(folder, command, fault):
    with pytest.raises((KeyboardInterrupt, DataError)) as caught, ends_in_words(folder, command):
        raise fault
    return str(caught.value)


def test_what_is_said_depends_on_the_checkpoints(tmp_path):
    full = OSError(28, "No space left on device")
    anew = "the same command begins anew, for there is no checkpoint yet"
    assert said_of(tmp_path, "the same command", KeyboardInterrupt()) == f"stopped; {anew}"
    assert said_of(tmp_path, "the same command", full).endswith(f"No space left on device; when that is mended {anew}")
    checkpoint = tmp_path / "checkpoint-5"
    checkpoint.mkdir()
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": 5}))
    on = f"goes on from {checkpoint}"
    assert said_of(tmp_path, "the same command", KeyboardInterrupt()) == f"stopped; the same command {on}"
    assert said_of(tmp_path, "this without --retrain", full).endswith(f"is mended this without --retrain {on}")


def test_an_output_folder_is_tried_without_a_trace(tmp_path):
    check_can_be_written(tmp_path / "new" / "model")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(RecipeError, match=r"written to .*/file/model \(.*/file: it is a file\); give another"):
        check_can_be_written(tmp_path / "file" / "model")
    (tmp_path / "astray").symlink_to(tmp_path / "nowhere")
    with pytest.raises(RecipeError, match=r"astray: No such file or directory\); give another"):
        check_can_be_written(tmp_path / "astray" / "model")


def test_the_output_folder_is_known_before_the_run_folder_is_there():
    assert str(output_dir_to_be({"config": "a/sft-x.yaml"}, "runs/one")) == "runs/one/sft-x"
    assert str(output_dir_to_be({"config": "a/sft-x.yaml", "output_dir": "out"}, "runs/one")) == "out"
    with pytest.raises(RecipeError, match="output_dir is missing"):
        output_dir_to_be({}, "runs/one")


@pytest.mark.slow
def test_another_learning_rate_leaves_the_first_model_whole(run_folder, tmp_path, capsys):
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    script = load_script("sft")
    assert script.main(arguments(run_folder, tmp_path, *SHORT)) == 0, capsys.readouterr()
    first = load_file(tmp_path / "model.safetensors")
    record = json.loads((tmp_path / "train.json").read_text())
    (tmp_path / "eval.json").write_text("{}")
    with (tmp_path / "README.md").open("a") as card:
        card.write("\nwritten by hand\n")
    capsys.readouterr()
    changed = [*SHORT, "--learning_rate", "0.5"]
    assert script.main(arguments(run_folder, tmp_path, *changed)) == 0, capsys.readouterr()
    earlier = tmp_path / f"earlier-{record['digest'][:8]}"
    assert f"an earlier training's model was moved to {earlier}\n" in capsys.readouterr().out
    kept = load_file(earlier / "model.safetensors")
    assert all((kept[name] == weights).all() for name, weights in first.items())
    assert json.loads((earlier / "train.json").read_text()) == record
    assert (earlier / "eval.json").is_file()
    assert "written by hand" in (earlier / "README.md").read_text()
    assert "written by hand" in (tmp_path / "README.md").read_text(), "what a person wrote stays with the new card"
    assert (earlier / "README.md").read_text() != (tmp_path / "README.md").read_text()
    AutoModelForCausalLM.from_pretrained(earlier)
    assert AutoTokenizer.from_pretrained(earlier).chat_template == AutoTokenizer.from_pretrained(tmp_path).chat_template
    now = json.loads((tmp_path / "train.json").read_text())
    assert now["digest"] != record["digest"]
    assert now["resumed_from"] is None
    assert not (tmp_path / "eval.json").exists(), "it was about the first model"
    before = load_file(tmp_path / "model.safetensors")
    assert script.main(arguments(run_folder, tmp_path, *changed)) == 0
    assert "already trained: nothing to do" in capsys.readouterr().out
    assert all((load_file(tmp_path / "model.safetensors")[name] == weights).all() for name, weights in before.items())
    assert script.main(arguments(run_folder, tmp_path, *SHORT, "--model_name_or_path", str(tmp_path))) == 2
    assert "would be overwritten; give another --output_dir" in capsys.readouterr().err
    load_file(tmp_path / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(("every", "words"), [("100000", "begins anew"), ("5", "goes on from")])
def test_ctrl_c_says_whether_there_is_a_checkpoint(run_folder, tmp_path, every, words):
    more = ["--max_steps", "100000", "--logging_steps", "1", "--save_steps", every, "--save_total_limit", "2"]
    said = (tmp_path / "said").open("w+")
    training = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts/sft.py"), *arguments(run_folder, tmp_path / "out", *more)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=said,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_for(lambda: "step 12 of" in (tmp_path / "said").read_text() or training.poll() is not None, seconds=120)
        training.send_signal(signal.SIGINT)
        training.wait(timeout=60)
    finally:
        training.kill()
        training.wait()
        said.close()
    lines = (tmp_path / "said").read_text().splitlines()
    assert training.returncode == 130, lines
    assert lines[-1].startswith(f"stopped; the same command {words}"), lines[-5:]
    assert not any("Traceback" in line for line in lines)
