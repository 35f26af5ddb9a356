"""A base model with the weights of a LoRA adapter in it, its tokenizer, and where it stops."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingExtraError, one_line


def merged_model(adapter: Path, base: str, revision: str, dtype: str, trust_remote_code: bool) -> Any:
    """The base model with the adapter's weights added to its own.

    Raises:
        DataError: If the base cannot be loaded, the adapter does not fit it, or a merged weight is not finite.
        MissingExtraError: If peft or transformers is not installed.
    """
    try:
        from peft import PeftModel
    except ImportError as error:
        raise MissingExtraError(error.name or "peft", "train") from error
    model = _base_model(base, revision, dtype, trust_remote_code)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found missing adapter keys")  # `_check_names` refuses them
            adapted = PeftModel.from_pretrained(model, str(adapter), torch_device="cpu")
    except (RuntimeError, ValueError, KeyError) as error:
        raise DataError(_not_fitting(adapter, base, one_line(error, 300))) from error
    _check_names(adapter, base, adapted)
    try:
        return adapted.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise DataError(f"{adapter}: cannot be merged ({one_line(error, 300)}); train it again") from error


def adapter_tokenizer(adapter: Path, base: str, revision: str, trust_remote_code: bool) -> Any:
    """The tokenizer that was saved with the adapter, or else the base's."""
    from transformers import AutoTokenizer

    own = any((adapter / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    source = {"pretrained_model_name_or_path": str(adapter)} if own else {"pretrained_model_name_or_path": base}
    return AutoTokenizer.from_pretrained(
        **source, revision=None if own else revision, trust_remote_code=trust_remote_code
    )


def set_end(model: Any, tokenizer: Any, learned: str | None) -> str | None:
    """Make the model stop at the end token that was learned, and at its base's."""
    end = learned if learned in tokenizer.get_vocab() else tokenizer.eos_token
    if end is None:
        return None
    number = tokenizer.convert_tokens_to_ids(end)
    generation = model.generation_config
    before = generation.eos_token_id
    others = before if isinstance(before, list) else [before]
    ends = [number, *(other for other in others if other not in (None, number))]
    generation.eos_token_id = ends if len(ends) > 1 else number
    generation._from_model_config = False  # it says more than the model's configuration now
    model.config.eos_token_id = number
    if generation.pad_token_id is None:
        generation.pad_token_id = tokenizer.pad_token_id
    if not generation.do_sample and (generation.temperature, generation.top_p) != (None, None):
        generation.do_sample = True  # LLaMA-2's own recommends sampling without saying so, and could not be saved
    return str(end)


def _base_model(base: str, revision: str, dtype: str, trust_remote_code: bool) -> Any:
    try:
        from transformers import AutoConfig, AutoModelForCausalLM
    except ImportError as error:
        raise MissingExtraError(error.name or "transformers", "train") from error
    trust = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(base, **trust)
        if getattr(config, "quantization_config", None):
            raise DataError(f"{base}: the base is quantised itself; name the model it was made of with --base")
        return AutoModelForCausalLM.from_pretrained(base, dtype=dtype, **trust)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{base}: the adapter's base model cannot be loaded at revision {revision} ({one_line(error, 300)}); "
            "say where it is now with --base"
        ) from error


def _check_names(adapter: Path, base: str, adapted: Any) -> None:
    """Peft only warns when layers of the one are missing in the other."""
    from peft import get_peft_model_state_dict
    from peft.utils.save_and_load import load_peft_weights

    wanted = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    found = {name for name in load_peft_weights(str(adapter), device="cpu") if "lora_" in name or name in wanted}
    if differing := sorted(wanted ^ found):
        where = "the adapter lacks" if differing[0] in wanted else "the model lacks"
        raise DataError(_not_fitting(adapter, base, f"{where} {differing[0]}"))
    tied = getattr(adapted.config, "tie_word_embeddings", False)
    if tied and any(".lm_head." in name or ".embed_tokens." in name for name in found):
        raise DataError(
            f"{adapter}: it changes the embedding, which {base} shares with its output layer, so merging would change "
            "both; serve the adapter unmerged"
        )


def _not_fitting(adapter: Path, base: str, why: str) -> str:
    return f"{adapter}: the adapter does not fit {base} ({why}); give the model that it was trained on with --base"
