"""A model's folder on the Hub: one commit, private unless asked, without what is only of use on this machine."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import EntryNotFoundError

from ..errors import DataError
from .card_file import renewed
from .card_text import scrub

# What tells where things lie here, or is of use here alone.
LEFT_OUT = [
    *("_*", ".*", "checkpoint-*", "earlier-*", "tiny-model/*", "evals/*"),
    *("train.json", "started.json", "eval.json", "best_checkpoint.json", "training_args.bin"),
]


def push(folder: Path, repo: str, *, private: bool = True, message: str = "Upload a model") -> str:
    """Push a folder; the token is that of the environment or of `hf auth login`.

    What a person wrote into the README.md there stays.

    Args:
        folder: Of a model, with its README.md.
        repo: `ORG/NAME`.
        private: Who may see a repository that does not exist yet; one that exists stays as it is.
        message: Of the commit.

    Returns:
        The repository's address.

    Raises:
        DataError: If the Hub refuses or cannot be reached.
    """
    api = HfApi()
    try:
        url = api.create_repo(repo, private=private, exist_ok=True)
        _take_over(api, folder / "README.md", str(url.repo_id))
        api.upload_folder(
            repo_id=url.repo_id,
            folder_path=folder,
            ignore_patterns=LEFT_OUT,
            commit_message=message,
            run_as_future=False,
        )
    except Exception as error:  # of the Hub, of its client and of the network
        reason = scrub(" ".join(str(error).split())[:300])
        raise DataError(
            f"{repo}: cannot be pushed to {scrub(api.endpoint)} ({reason}); log in with hf auth login, or set HF_TOKEN "
            "to a token that may write there"
        ) from error
    return str(url)


def _take_over(api: HfApi, readme: Path, repo: str) -> None:
    """Put the card into the README that is on the Hub, where there is one."""
    if not readme.is_file():
        return
    try:
        there = Path(api.hf_hub_download(repo, "README.md")).read_text("utf-8")
    except EntryNotFoundError:
        return
    readme.write_text(renewed(there, readme.read_text("utf-8")), encoding="utf-8")
