"""Imports only go down, the package is light, and its names are there."""

import ast
import functools
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tagevol_hf

PACKAGE = Path(tagevol_hf.__file__).parent

CLI = (
    *("cli", "cli_store", "cli_compare", "cli_curate", "cli_eval", "cli_schema", "cli_doctor", "cli_plan", "cli_hub"),
    *("cli_show", "cli_options"),
)

# Lower layers first; modules of one line may import each other only inside the same folder or file.
LAYERS = (
    (
        "errors",
        "rows",
        "parsing",
        "prompts",
        "progress",
        "project",
        "versions",
        "formats",
        "sources",
        "child",
        "answers",
        "homes",
        "streams",
    ),
    ("engines",),
    ("stage", "asking"),
    ("tags",),
    ("evolve", "selection", "measure", "training", "evals"),
    (
        "recipe",
        "recipe_parts",
        "recipe_evolving",
        "recipe_selecting",
        "recipe_measuring",
        "recipe_cleaning",
        "recipe_steps",
        "recipe_file",
        "plan",
    ),
    (
        "run_files",
        "run_folder",
        "step_record",
        "pipeline",
        "study",
        "report",
        "figures",
        "hub",
        "launch",
        "curate_first",
        "metrics",
        "schema",
        "doctor",
        "preview",
        "story",
    ),
    CLI,
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
SIDEWAYS = LAYERS[4]  # these do not know each other

# Each heavy library is imported only in the folder or file that owns it.
OWNERS = {
    "torch": {"training", "evals", "engines/vllm", "engines/transformers", "selection/baselines/language_model"},
    "vllm": {"engines/vllm"},
    "trl": {"training", "evals/hook"},
    "transformers": {"training", "evals", "engines/vllm", "engines/transformers", "selection/baselines/language_model"},
    "accelerate": {"training", "evals/hook"},
    "peft": {"training", "evals", "engines/transformers"},
    "llguidance": {"engines/transformers"},
    "sklearn": {"tags/embed", "tags/merge", "selection/cluster", "selection/places"},
    "scipy": {"tags/merge", "tags/associate", "selection/bradley_terry", "selection/reliability"},
    "sentence_transformers": {"tags/embed"},
    "model2vec": {"tags/embed"},
    "rensa": {"measure/minhash"},
    "matplotlib": {"figures"},
    "ray": {"engines/ray"},
    "aiohttp": {"engines"},
    "typer": {*CLI},
    "jinja2": {"report", "training"},
    "snowballstemmer": {"tags/rule"},
    "py3langid": {"evolve/language"},
    "math_verify": {"answers"},
    "lm_eval": {"evals/ifeval"},
}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__")


def source(module):
    path = PACKAGE / f"{module}.py"
    return ast.parse((path if path.exists() else PACKAGE / module / "__init__.py").read_text(encoding="utf-8"))


@functools.cache
def imported(module):
    """(own modules, other packages) that a module imports, wherever in the file."""
    is_package = (PACKAGE / module / "__init__.py").exists() if module != "__init__" else True
    parts = [] if module == "__init__" else module.split("/")
    own, others = set(), set()
    for node in ast.walk(source(module)):
        if isinstance(node, ast.Import):
            others.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            others.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            base = parts[: len(parts) - node.level + is_package]
            path = base + (node.module.split(".") if node.module else [])
            own.update([path[0]] if path else [alias.name for alias in node.names])
    return own, others


@pytest.mark.parametrize("module", [module for module in modules() if module != "__init__"])
def test_imports_only_go_down(module):
    name = module.split("/")[0]
    for other in imported(module)[0] - {name, "__version__"}:
        assert LEVEL[other] <= LEVEL[name], f"{module} imports {other}, which stands above it"
        assert not (name in SIDEWAYS and other in SIDEWAYS), f"{module} imports {other}, which stands beside it"


@pytest.mark.parametrize("module", list(modules()))
def test_heavy_libraries_stay_in_the_files_that_own_them(module):
    for library, owners in OWNERS.items():
        if library in imported(module)[1]:
            assert any(module == owner or module.startswith((f"{owner}/", f"{owner}_")) for owner in owners), (
                f"{module} imports {library}, which belongs to {sorted(owners)}"
            )


def test_no_module_imports_itself_in_a_circle():
    graph = {}
    for module in modules():
        graph.setdefault(module.split("/")[0], set()).update(imported(module)[0] - {module.split("/")[0]})
    graph.pop("__init__")

    def visit(name, path):
        assert name not in path, f"import circle: {' → '.join([*path, name])}"
        for other in graph.get(name, ()):
            visit(other, (*path, name))

    for name in graph:
        visit(name, ())


def loaded_at_once(module):
    """Own modules that a module imports before any of its functions is called."""
    is_package = (PACKAGE / module / "__init__.py").exists() if module != "__init__" else True
    parts = [] if module == "__init__" else module.split("/")
    everything = set(modules())

    def find(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.ImportFrom) and child.level:
                base = parts[: len(parts) - child.level + is_package] + (child.module or "").split(".")
                path = "/".join(filter(None, base))
                yield from {f"{path}/{alias.name}".lstrip("/") for alias in child.names} & everything or {path}
            else:
                yield from find(child)

    return set(find(source(module))) & everything - {module}


def test_no_file_imports_itself_in_a_circle():
    graph, done = {module: loaded_at_once(module) for module in modules()}, set()

    def visit(module, path):
        assert module not in path, f"import circle: {' → '.join([*path, module])}"
        if module not in done:
            for other in graph[module]:
                visit(other, (*path, module))
            done.add(module)

    assert len(graph["pipeline/journey"]) > 5
    for module in graph:
        visit(module, ())


EXCEPTION = re.compile(r"# (?:noqa: [A-Z0-9, ]+|type: ignore\[[a-z,-]+\])")


def test_each_exception_from_lint_and_types_has_its_reason():
    found = 0
    for folder in ("tagevol_hf", "scripts"):
        for path in sorted((PACKAGE.parent / folder).rglob("*.py")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                for match in EXCEPTION.finditer(line):
                    found += 1
                    reason = re.match(r"\s*[#—-]\s*\w+ \w+", line[match.end() :])
                    assert reason, f"{path.name}:{number}: {match.group(0)} without a reason"
    assert found > 20


LIGHT = """
import sys, time
start = time.perf_counter()
import tagevol_hf
assert tagevol_hf.__version__
heavy = {"torch", "vllm", "trl", "sklearn", "transformers", "datasets", "pandas", "pyarrow"} & set(sys.modules)
print(sorted(heavy), time.perf_counter() - start)
"""


def test_importing_the_package_is_light():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    names, seconds = done.stdout.rsplit(" ", 1)
    assert names == "[]"
    assert float(seconds) < 0.5


USE = """
import sys
import tagevol_hf as te
from datasets import Dataset
te.AspectTagger(te.open_engine("builtin")).apply(te.prepare(Dataset.from_list([{"instruction": "x"}])))
print(sorted({"torch", "vllm", "trl", "sklearn"} & set(sys.modules)))
"""


def test_tagging_loads_no_heavy_library():
    done = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout


@pytest.mark.slow  # some names load torch
def test_every_public_name_and_each_of_its_parameters_is_there_and_documented():
    for name in tagevol_hf.__all__:
        value = getattr(tagevol_hf, name)
        assert name.startswith("__") or value.__doc__, f"{name} has no docstring"
        if callable(value) and not (inspect.isclass(value) and issubclass(value, Exception)):
            told = " ".join(filter(None, map(inspect.getdoc, getattr(value, "__mro__", [value]))))
            for parameter in inspect.signature(value).parameters:
                assert re.search(rf"\b{parameter}\b", told), f"{name}: {parameter} is not told"
    assert set(tagevol_hf.__all__) == set(dir(tagevol_hf))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        tagevol_hf.nothing  # noqa: B018
