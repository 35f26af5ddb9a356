"""TRL's own arguments beside ours: its parser, the values that it reads, and the configuration made of them."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError, RecipeError
from . import arguments

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig, TrlParser


def read_arguments(argv: Sequence[str], given: Mapping[str, Any]) -> tuple[TrlParser, argparse.Namespace]:
    """TRL's parser, and the values that it reads, before a configuration is made of them."""
    try:
        from trl import ModelConfig, SFTConfig, TrlParser
    except ImportError as error:
        raise MissingExtraError(error.name or "trl", "train") from error
    parser = TrlParser((arguments.CuratedArguments, SFTConfig, ModelConfig), exit_on_error=False)
    arguments.check_names(given, (action.dest for action in parser._actions))
    parser.set_defaults_with_config(**arguments.config_values(given))
    arguments.check_lora(given)
    with arguments.clear_errors():
        wanted = parser.parse_args(argv)
    arguments.check_reporters(wanted.report_to)
    if (wanted.load_in_4bit or wanted.load_in_8bit) and importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError("bitsandbytes", "qlora")
    if wanted.completion_only_loss is False:
        raise RecipeError("completion_only_loss: false is not possible here; only responses are learned")
    if wanted.packing and (wanted.packing_strategy == "wrapped" or wanted.max_length is None):
        raise RecipeError("packing: needs a max_length and packing_strategy: bfd, which keeps rows apart and whole")
    return parser, wanted


def configure(parser: TrlParser, argv: Sequence[str], tokenizer: Any) -> tuple[SFTConfig, ModelConfig]:
    """TRL's configuration; it starts the process group, if there is one."""
    with arguments.clear_errors():
        _, config, model_config = parser.parse_args_into_dataclasses(argv)
    # The labels are ours already: TRL need not build them, nor change the tokenizer that made them.
    config.assistant_only_loss, config.completion_only_loss, config.chat_template_path = False, None, None
    config.eos_token = tokenizer.eos_token  # the model is to stop at what was learned, too
    if not config.packing:
        config.max_length = None  # all rows are short enough: TRL need not look, and padding_free is possible
    config.hub_private_repo = config.hub_private_repo is not False  # private unless the user says otherwise
    if not sys.stderr.isatty():
        config.disable_tqdm = True
    return config, model_config
