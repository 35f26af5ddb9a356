"""TRL's trainer with our model card. Importing this loads TRL."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trl import SFTTrainer

from .card import write_card

if TYPE_CHECKING:
    from trl import SFTConfig


class CuratedTrainer(SFTTrainer):  # type: ignore[misc] # TRL gives no types
    """TRL's trainer; what it puts into README.md, at each checkpoint and before it pushes, is our model card.

    Attributes:
        record_so_far: Gives what `train.json` would hold now. Set before training; TRL's own card is written otherwise.
        run_folder: The run whose rows are trained on, or None.
    """

    record_so_far: Callable[[], Mapping[str, Any]] | None = None
    run_folder: Path | None = None

    def create_model_card(
        self,
        model_name: str | None = None,
        dataset_name: str | None = None,
        tags: str | list[str] | None = None,
    ) -> None:
        """Write README.md into the output folder (called by TRL and transformers).

        Args:
            model_name: Given by the trainers; the card takes the name from the record.
            dataset_name: Likewise.
            tags: Likewise.
        """
        if self.record_so_far is None:
            super().create_model_card(model_name, dataset_name, tags)
        elif self.is_world_process_zero():
            write_card(Path(self.args.output_dir), self.record_so_far(), self.run_folder)


def hide_token(config: SFTConfig) -> None:
    """Move the Hub's token from the configuration, which is saved and pushed as training_args.bin, to the environment.

    Args:
        config: Its `hub_token` is None afterwards.
    """
    if config.hub_token is not None:
        os.environ["HF_TOKEN"], config.hub_token = config.hub_token, None
