"""The command in one process, `load_dataset` in another, both with a Hub on loopback."""

import json
import subprocess
import sys

import pytest
from hub_runs import TOKEN, hub_environment
from stand_in_hub import stand_in_hub

from tagevol_hf.hub.configs import configs_of
from tagevol_hf.rows import iterate

COMMAND = "from tagevol_hf.cli import app; import tagevol_hf.cli_hub as h; {}; app()"
LOAD = """
import json, sys
from datasets import load_dataset
for config in sys.argv[2:]:
    data = load_dataset(sys.argv[1], config, split="train")
    print(json.dumps([config, data.features.to_dict(), list(data)]))
"""


@pytest.mark.slow  # three processes
def test_pushed_by_the_command_and_loaded(whole_run, tmp_path):
    add = "any(c.callback is h.push for c in app.registered_commands) or h.add_to(app)"

    def command(*words):
        return process(COMMAND.format(add), *words)

    def process(code, *words):
        environment = hub_environment(hub, tmp_path)
        words = [sys.executable, "-c", code, *map(str, words)]
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)

    with stand_in_hub() as hub:
        done = command("push", whole_run, "me/whole")
        assert done.returncode == 0, done.stderr
        assert f"pushed to {hub.url}/datasets/me/whole" in done.stdout
        assert TOKEN not in done.stdout + done.stderr
        assert hub.private == {"me/whole"}
        expected = configs_of(whole_run)
        loaded = process(LOAD, "me/whole", *expected)
        assert loaded.returncode == 0, loaded.stderr
        for line in loaded.stdout.splitlines():
            config, features, rows = json.loads(line)
            assert features == json.loads(json.dumps(expected[config].features.to_dict())), config
            assert rows == json.loads(json.dumps(list(iterate(expected.pop(config))))), config
        assert expected == {}
        assert command("verify", "me/whole").returncode == 0
        path = next(path for path in hub.files["me/whole"] if path.startswith("data/tags/"))
        del hub.files["me/whole"][path]
        done = command("verify", "me/whole")
        assert done.returncode == 2
        assert f"{path}: missing" in done.stdout
