"""Every block of the documentation runs as it stands there, and the site holds together without a network."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from doc_pages import ROOT, blocks_of, run_page

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_the_blocks_of_a_page_do_what_it_says(page, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    run_page(page.read_text(encoding="utf-8"), folder)


def fenced(text, language="sh", comment=""):
    return f"# Page\n\n{f'<!-- {comment} -->' if comment else ''}\n```{language}\n{text}\n```\n"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (fenced("false"), "line 4: exit status 1"),
        (fenced("true", comment="exit 3"), "line 4: exit status 0"),
        (fenced("1 / 0", "python"), "line 4: ZeroDivisionError"),
        (fenced("true", comment="not run:"), "line 4: a block that is not run says why"),
        (fenced("tagevol curate recipes/quickstart --limmit 3", comment="not run: slow"), "No such option"),
        (fenced("tagevol currate recipes/quickstart", comment="not run: slow"), "tagevol has no command 'currate'"),
        (fenced("tagevol curate recipes/quickest", comment="not run: slow"), "there is no recipes/quickest"),
        (fenced("whatever", "nosuch"), "a block of 'nosuch' is not known"),
        (fenced("echo one") + fenced("two", "text", "prints"), "the page shows 'two'"),
    ],
)
def test_a_page_that_does_not_hold_is_found(tmp_path, page, said):
    with pytest.raises(AssertionError) as error:
        run_page(page, tmp_path)
    assert said in str(error.value)


def test_a_page_that_holds(tmp_path):
    run_page(
        fenced('{"a": 1}', 'json title="in/a.json"')
        + fenced("cat in/a.json")
        + fenced('{"a": …', "text", "prints")
        + fenced("import json\na = json.load(open('in/a.json'))['a']", "python")
        + fenced("print(a + 1)", "python")
        + fenced("2", "text", "prints")
        + fenced("tagevol push runs/x me/x --append", comment="not run: needs the Hub"),
        tmp_path,
    )


def test_every_page_has_a_title_and_says_what_is_not_run():
    assert len(PAGES) > 20
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.startswith("# "), page
        for block in blocks_of(text):
            assert block.language, f"{page}:{block.line}: a block has no language"


class Loaded(HTMLParser):
    """What a page makes a browser load, and where its links lead."""

    def __init__(self):
        super().__init__()
        self.found, self.links = [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe", "source"):
            self.found.append(given.get("src") or "")
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.found.append(given.get("href") or "")


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        reader = Loaded()
        reader.feed(page.read_text(encoding="utf-8"))
        assert not [place for place in reader.found if re.match(r"(https?:)?//", place)], page
        inside = [link.partition("#")[0] for link in reader.links if "://" not in link and not link.startswith("#")]
        where = site if page.name == "404.html" else page.parent
        assert not [link for link in inside if not (where / link.lstrip("/")).is_file()], page  # opened with no server
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style
    cli = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    assert "--max-requests" in cli
    assert "budgets" in (site / "reference" / "recipe.html").read_text(encoding="utf-8")
    shutil.rmtree(site)
