"""The report page: complete, closed to the network, and safe against text that wants to be markup."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from demo_run import build_demo_run, demo_record, save, write

import tagevol_hf.report
from tagevol_hf.errors import DataError
from tagevol_hf.recipe_steps import STEPS
from tagevol_hf.report import write_report
from tagevol_hf.rows import rejection

SCRIPT = (Path(tagevol_hf.report.__file__).parent / "page.js").read_text(encoding="utf-8")
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """A parsed page: its text, its attributes, and whether every tag is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a beginning"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).replace("\u00a0", " ").split())


def read_page(folder: Path) -> Page:
    file = write_report(folder)
    assert file == folder / "report.html"
    assert [path.name for path in folder.glob(".report*")] == []
    page = Page(file.read_text(encoding="utf-8"))
    assert page.tags["script"] == 1
    script = re.findall(r"<script>(.*)</script>\n</body>\n</html>", page.html, re.DOTALL)
    assert script == [SCRIPT]  # the same for every run: it holds no data
    digest = b64encode(sha256(script[0].encode()).digest()).decode()
    assert re.findall(r"script-src [^;\"]*", page.html) == [f"script-src 'sha256-{digest}'"]
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            assert value == "data:," or (value or "").startswith("#"), (tag, name, value)
    assert set(re.findall(r"url\(([^)]*)\)", page.html)) <= {
        f"#g-{kind}" for kind in ("kept", "added", "not-chosen", "rejected")
    }
    assert "@import" not in page.html
    assert len(page.ids) == len(set(page.ids))
    return page


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_demo_run(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def demo(demo_folder: Path) -> Page:
    return read_page(demo_folder)


@pytest.mark.parametrize(
    "words",
    [
        "64 instructions became 185 evolved ones; 48 were selected; held-out loss 7.62 → 4.13.",
        "Made by the built-in rule engine: no language model was used.",
        "64 read + 128 added = 48 selected + 137 not chosen + 7 rejected",
        "64 rows in, 128 added , 7 rejected (not_json 3, truncated 2, wrong_count 2), 185 out",
        "Together 1,379 151 0 843,948 565,390 204,092 17 s",
        "43 different tags 6 aspects",
        "6 of 24 chosen",
        "744 comparisons in this run, 372 pairs in both orders",
        "12 % Share of the pairs whose verdict changed",
        "58 % Share of the decided pairs that the longer response won",
        "+1.30 % By how much the first place wins more often than the second.",
        "Left in the scores: 0.04 points of 100.",
        "90 % Of three rows that all met each other, how often the verdicts make no circle (120 such threes).",
        "0.61 Kendall's tau-b of these scores",
        "5 different open tags: 2 kept as labels, 1 too rare, 1 the same but for case, signs or inflection, 1 nearly",
        "Before: 5 open tags",
        "music 4 a label Sorting 3 → sorting the same but for case, signs or inflection bubble sort 2 → sorting nearly",
        "odd 1 left out: too rare",
        "After: 2 labels",
        "sorting 12 Sorting , bubble sort music 4 itself",
        "Map of 185 rows in 8 clusters, 48 of them chosen. The clusters stand in the list below. Placed by t-SNE of",
        "All clusters",
        "No step of this run cleans",
        "0.21 silhouette of the labels",
        "0.44 cosine inside clusters, 0.12 in random groups",
        "Figure pool selected random (3 draws)",
        "label coverage Share of the pool's labels that some row has. 100 % 62 % 41 % ± 3 %",
        "random 25 % 27 %",
        "Cluster coverage is not measured: the pool has no column cluster.",
        "The first 20 of 48 rows",
        "rank 1 of its cluster; 6 places",
        "not_json the reply holds no JSON value",
        "tiny:llama : 48 rows, 9,120 tokens, 12 epochs, 21 s.",
        "Held out loss on 24 rows, 1,802 tokens: rows that were not chosen.",
        "Loss 7.62 4.13 −46 %",
        "3 February 2026, 14:05 UTC",
        "tagevol run recipes/quickstart",
        "9f2c4be07d11a35e",
        "engines: default: builtin",
    ],
)
def test_the_page_tells_the_run(demo: Page, words: str) -> None:
    assert words in demo.text


def test_evolution_stands_beside_its_seed_with_what_is_new_marked(demo: Page) -> None:
    assert demo.html.count('class="card seed"') == 4
    assert "<ins>, including a stop of 15 minutes at a junction</ins>" in demo.html
    assert "<li><bdi>idle time</bdi></li>" in demo.html


def test_the_page_is_small_and_ordered(demo: Page) -> None:
    assert len(demo.html.encode()) < 200_000
    assert demo.headings[0] == 1
    assert demo.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(demo.headings, demo.headings[1:], strict=False))
    assert demo.tags["th"] >= 20
    assert all(value in ("col", "row") for tag, name, value in demo.attributes if (tag, name) == ("th", "scope"))
    assert sum(tag == "th" and name == "scope" for tag, name, _ in demo.attributes) == demo.tags["th"]
    assert sum((tag, name, value) == ("svg", "role", "img") for tag, name, value in demo.attributes) == demo.tags["svg"]


def test_every_link_and_label_leads_somewhere(demo: Page) -> None:
    targets = {value for _, name, value in demo.attributes if name == "aria-labelledby"}
    targets |= {(value or "")[1:] for _, name, value in demo.attributes if name == "href" and value != "data:,"}
    assert targets <= set(demo.ids)


HOSTILE = [
    "<script>alert(1)</script>",
    "{{7*7}} {% include '/etc/passwd' %}",
    "</td></table></section></body></html><h1>gone</h1>",
    '"><img src="http://127.0.0.1:1/x" onerror="alert(2)">',
    "</style><style>body{display:none}</style>",
    "</details></summary></li></ol> ]]> --> <!--",
    "<svg><title></svg><a href='javascript:alert(3)'>press</a>",
    "\u202eמימין לשמאל\u202c 日本語の質問 👩‍👩‍👧‍👦 é \x00\x1b[31m",
    "x" * 100_000,
    "word " * 20_000,
]


def hostile_run(folder: Path, texts: list[str]) -> Path:
    rows = [
        {
            "id": text[:80],
            "instruction": text,
            "input": text,
            "response": text,
            "history": [],
            "seed_id": text[:80],
            "seed_instruction": text,
            "budget": 1,
            "candidates": [text],
            "chosen_tags": [text],
            "plan": text,
            "open_tags": [],
            "labels": [text],
            "cluster": number,
            "score": float(number),
            "comparisons": 1,
            "why": text,
        }
        for number, text in enumerate(texts)
    ]
    lost = [{**row, "rejection": rejection("tag_evol", "not_json", row["id"], row["response"], 3)} for row in rows]
    save(folder, selected=rows, not_chosen=[], rejected=lost)
    short = [text[:200] for text in texts]
    record = demo_record(10, 0, {"not_json": len(rows), short[0]: 3})
    record.update(name=short[0], command=short[2], digest=short[3], versions={short[4]: short[5]}, started=short[1])
    record["engines"] = {short[0]: {"spec": short[2], "identity": short[3], "language_model": True}}
    record["steps"][0].update(
        name=short[0], summary={short[3]: short[0], "warning": short[2]}, prompt={"name": short[0], "digest": short[3]}
    )
    write(folder / "run.json", record)
    write(folder / "tag_pool.json", {"tags": [{"tag": text, "aspects": {text: 2}, "count": 2} for text in short]})
    write(folder / "clusters.json", {"names": short})
    points = [[row["id"], number / len(rows), 0.5, number] for number, row in enumerate(rows)]
    write(folder / "cluster_map.json", {"how": short[0], "rows": len(rows), "points": points})
    raw = [{"tag": text, "count": 1, "canonical": text, "step": text, "why": text} for text in texts]
    write(folder / "tags.json", {"entries": raw})
    (folder / "recipe.yaml").write_text("\n".join(short), encoding="utf-8")
    write(
        folder / "model" / "train.json",
        {"base_model": short[0], "rows": "many", "loss_history": [[0, 2.0], [1, 1.0], [2, None], "x"]},
    )
    write(
        folder / "eval.json",
        {
            "task": short[3],
            "before": {short[0]: 1.0},
            "after": {short[0]: 2.0},
            "samples": [{"instruction": text, "before": text, "after": text} for text in texts],
        },
    )
    return folder


def test_text_of_the_data_never_becomes_markup(tmp_path: Path) -> None:
    page = read_page(hostile_run(tmp_path, HOSTILE))
    assert page.tags["h1"] == 1
    assert page.tags["style"] == 1
    assert page.tags["img"] == 0
    assert page.tags["a"] == 15
    for text in HOSTILE[:7]:
        assert " ".join(text.split()) in page.text
    assert "49" not in re.findall(r"\b49\b", page.text)
    assert "日本語の質問 👩‍👩‍👧‍👦" in page.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", page.html)
    assert max(map(len, page.texts)) < 4500
    assert len(page.html.encode()) < 1_500_000
    assert "96,000 more characters are in the data set" in page.text


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    record = demo_record(0, 0, {})
    record.update(status="running", totals={}, steps=record["steps"][:3])
    write(tmp_path / "run.json", record)
    text = read_page(tmp_path).text
    assert "This run has not ended. The page shows the 3 steps that are done." in text
    assert "The account is drawn up when the run ends." in text
    assert "64 instructions read." in text
    for quiet in ("No evolved rows", "No tag pool", "No clusters", "No comparisons", "No training", "No evaluation"):
        assert f"{quiet} in this run." in text


def test_an_empty_record_is_still_a_page(tmp_path: Path) -> None:
    write(tmp_path / "run.json", {})
    assert "0 instructions read." in read_page(tmp_path).text


def test_values_of_other_types_count_as_missing(tmp_path: Path) -> None:
    odd: dict[str, Any] = {
        "steps": [{"name": None, "rows_in": "7", "rejected": [], "seconds": None, "summary": 3}, "x"],
        "totals": [],
        "engines": [],
        "versions": None,
        "seconds": "long",
        "started": 7,
        "name": 5,
        "status": None,
    }
    write(tmp_path / "run.json", odd)
    write(tmp_path / "tag_pool.json", [1])
    write(tmp_path / "eval.json", {"before": None, "after": {"loss": float("nan"), "perplexity": 4}, "samples": {}})
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "train.json").write_text('{"rows": 3, "loss_history": [[1, 2.5', encoding="utf-8")
    assert "Perplexity – 4 –" in read_page(tmp_path).text


def test_an_empty_result(tmp_path: Path) -> None:
    save(tmp_path, selected=[], not_chosen=[], rejected=[])
    record = demo_record(0, 185, {})
    record["totals"].update(read=64, added=121)
    write(tmp_path / "run.json", record)
    text = read_page(tmp_path).text
    assert "No selected rows to show." in text
    assert "No row was rejected." in text
    assert "0 were selected" in text


def test_a_sum_that_is_not_even_is_called_out(tmp_path: Path) -> None:
    record = demo_record(48, 137, {})
    write(tmp_path / "run.json", record)
    text = read_page(tmp_path).text
    assert "64 read + 128 added ≠ 48 selected" in text
    assert "The sum is not even." in text


def test_a_data_set_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "run.json", demo_record(48, 137, {}))
    (tmp_path / "selected").mkdir()
    (tmp_path / "selected" / "state.json").write_text("{", encoding="utf-8")
    assert "selected/ could not be read" in read_page(tmp_path).text


def test_some_steps_by_rule(tmp_path: Path) -> None:
    record = demo_record(48, 137, {})
    record["engines"]["respond"] = {"spec": "vllm:Qwen/Qwen2.5-7B-Instruct", "identity": "q", "language_model": True}
    write(tmp_path / "run.json", record)
    assert "Partly made by the built-in rule engine, which is no language model: default." in read_page(tmp_path).text


def test_no_banner_where_only_language_models_answered(tmp_path: Path) -> None:
    record = demo_record(48, 137, {})
    record["engines"]["default"]["language_model"] = True
    write(tmp_path / "run.json", record)
    assert "rule engine" not in read_page(tmp_path).text


def test_secrets_and_home_folders_stay_out(tmp_path: Path) -> None:
    key = "sk-proj-abcdefghijklmnop1234"
    record = demo_record(48, 137, {})
    record["command"] = (
        f"tagevol run {Path.home()}/recipes --set engines.default=https://me:pw123@host/v1?api_key={key}#m"
    )
    record["engines"]["default"].update(spec=f"https://me:pw123@host/v1#m?token={key}", identity="Bearer abc.def.ghi")
    write(tmp_path / "run.json", record)
    (tmp_path / "recipe.yaml").write_text(
        f"hf_token: hf_abcdefghijklmnopqrst\nmax_tokens: 512\nsource: {Path.home()}/x", encoding="utf-8"
    )
    html = read_page(tmp_path).html
    for secret in ("pw123", key, "abc.def.ghi", "hf_abcdefghij", f"{Path.home()}/"):
        assert secret not in html
    assert "max_tokens: 512" in html
    assert "~/recipes" in html


def cleaned_run(folder: Path, action: str) -> Path:
    """A run whose rows went through both steps that clean."""
    record = demo_record(0, 0, {})
    leaks = {"rows": 192, "contaminated": 4, "by_reference": {"gsm8k.jsonl": 4, "other": 0}, "by_how": {"13-gram": 3}}
    doubles = {"by": "minhash of 3-grams", "threshold": 0.8, "rows": 188, "duplicates": 9, "groups": 5}
    record["steps"][1].update(name="decontaminate", summary={**leaks, "action": action})
    record["steps"][2].update(name="near_duplicates", summary={**doubles, "largest_group": 4})
    row = {"instruction": "How many rolls does he sell?", "input": "", "response": "60", "history": []}
    lost = [
        {**row, "id": "double", "rejection": rejection("near_duplicates", "near_duplicate", "r1 is kept, similarity 1")}
    ]
    found = "gsm8k.jsonl row 1: 13-gram, share 1.00: how many rolls"
    if action == "reject":
        lost.append({**row, "id": "leak", "rejection": rejection("decontaminate", "contaminated", found)})
    save(folder, selected=[], not_chosen=[], rejected=lost)
    write(folder / "run.json", record)
    leak = {"row": 1, "id": "leak", "text": row["instruction"], "reference": "gsm8k.jsonl", "number": 1}
    match = {"how": "13-gram", "share": 1.0, "words": "how many rolls"}
    write(folder / "contamination.json", {"leaks": [{**leak, **match}]})
    return folder


@pytest.mark.parametrize(("action", "said"), [("reject", "rejected"), ("report", "reported only")])
def test_leaks_and_doubles(tmp_path: Path, action: str, said: str) -> None:
    text = read_page(cleaned_run(tmp_path, action)).text
    assert f"4 of 192 rows with a question, {said} 3 found by 13-gram" in text
    assert "gsm8k.jsonl 4 other 0" in text
    example = "How many rolls does he sell? gsm8k.jsonl row 1: 13-gram, share 1.00: how many rolls · leak"
    assert example in text
    assert "9 of 188 rows rejected, each for one that stayed 5 groups of such rows, the largest of 4" in text
    assert "0.80 least similarity, by minhash of 3-grams" in text
    assert "How many rolls does he sell? r1 is kept, similarity 1 · double" in text
    assert "Decontaminate Find rows that hold questions of benchmarks" in text


def test_every_step_of_a_recipe_has_its_words() -> None:
    assert set(STEPS) - {"load"} <= set(tagevol_hf.report.journey.STEPS)


@pytest.mark.slow
def test_a_page_of_many_long_tags_stays_small(tmp_path: Path) -> None:
    folder = build_demo_run(tmp_path)
    tags = [f"{number:05d} " + "t" * 74 for number in range(20_000)]
    entries = [{"tag": tag, "count": 3, "canonical": tags[n // 7 * 7], "step": "rule"} for n, tag in enumerate(tags)]
    write(folder / "tags.json", {"entries": entries})
    write(folder / "tag_pool.json", {"tags": [{"tag": tag, "count": 2, "aspects": {"topic": 2}} for tag in tags]})
    page = read_page(folder)
    assert len(page.html.encode()) < 3_000_000
    assert "18,000 rarer open tags are not on this page; tags.json has all." in page.text
    assert "18,000 rarer tags are not on this page; tag_pool.json has all." in page.text
    assert "Show the next 1,960" in page.text


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run folder"):
        write_report(tmp_path)


def test_writing_twice_gives_the_same_page(demo_folder: Path) -> None:
    first = write_report(demo_folder).read_bytes()
    assert write_report(demo_folder).read_bytes() == first


def _contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_enough_contrast(demo: Page, scheme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", demo.html, re.DOTALL)
    colour = dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[scheme]))
    pairs = [
        (text, ground) for text in ("ink", "soft", "kept", "added", "lost", "idle") for ground in ("paper", "card")
    ]
    pairs += [
        ("ink", "mark"),
        ("ink", "wash"),
        ("soft", "wash"),
        ("kept", "kept-wash"),
        ("added", "added-wash"),
        ("ink", "added-wash"),
    ]
    weak = {pair: round(_contrast(colour[pair[0]], colour[pair[1]]), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


@pytest.fixture
def asked_paths() -> Iterator[tuple[int, list[str]]]:
    """A server on loopback that notes what it is asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], asked
        server.shutdown()
        thread.join()


CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_real_browser_shows_the_page_and_asks_for_nothing(tmp_path: Path, asked_paths: tuple[int, list[str]]) -> None:
    port, asked = asked_paths
    address = f"http://127.0.0.1:{port}"
    texts = [
        *HOSTILE,
        f'<img src="{address}/img">',
        f"<script>fetch('{address}/script')</script>",
        f"</style><style>@import '{address}/css'",
    ]
    file = write_report(hostile_run(tmp_path / "run", texts))
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    command = [
        CHROMIUM or "",
        *flags.split(),
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=2000",
        "--dump-dom",
        file.as_uri(),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as browser:
        try:
            out, messages = browser.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)  # its helpers, too
    assert browser.returncode == 0
    assert "CONSOLE" not in messages
    assert asked == []
    shown = Page(out)
    assert (shown.tags["script"], shown.tags["img"]) == (1, 0)
    assert "How it was made" in shown.text
