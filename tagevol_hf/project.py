"""Where the recipes, scripts and launch configurations of this project are: in a checkout, or inside the wheel."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from .errors import RecipeError


def recipe_path(path: Path) -> Path:
    """The path itself where it exists, else the recipe of this project with that path, as `recipes/quickstart`."""
    if path.exists():
        return path
    try:
        return project_file(str(path))
    except RecipeError:
        return path  # reading it says what is wrong


def near_recipe(name: str) -> str:
    """The recipe of this project that a misspelt name may mean; empty if none is near."""
    found: set[str] = set()
    for root in (Path(__file__).parent.parent, Path(__file__).parent / "_project"):
        for file in (root / "recipes").glob("**/*.yaml"):
            place = file.parent if file.name == "curate.yaml" else file
            found.add(place.relative_to(root).as_posix())
    return next(iter(get_close_matches(name.rstrip("/"), sorted(found), n=1, cutoff=0.8)), "")


def project_file(name: str) -> Path:
    """Path of a file that comes with the project, as `scripts/sft.py`.

    A file of the current folder goes first, so that a user's own copy counts.

    Raises:
        RecipeError: If it is nowhere.
    """
    package = Path(__file__).parent
    places = (Path(name), package.parent / name, package / "_project" / name)
    for place in places:
        if place.exists():
            return place
    raise RecipeError(f"{name}: not found; looked in {', '.join(str(place) for place in places)}")
