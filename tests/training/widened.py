"""The same LLaMA with wider heads: vLLM on a CPU serves no head smaller than 32.

The new dimensions are zero in queries, keys, values and in the output's columns. A rotary pair turns by
theta^(-pair / pairs), so pair i of n stands at pair i * m / n of m. Queries grow by the square root of the factor,
by which the scores are divided then.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM


def widened(model: Path, folder: Path, head_dim: int) -> Path:
    """Write the model of a folder with heads of `head_dim`, a multiple of theirs, and with its tokenizer."""
    small = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    config = small.config.__class__.from_dict({**small.config.to_dict(), "head_dim": head_dim})
    wide = LlamaForCausalLM(config).to(torch.float32)
    places = _places(small.config.head_dim, head_dim)
    weights = {name: _wide(name, weight, places, head_dim) for name, weight in small.state_dict().items()}
    wide.load_state_dict(weights)
    wide.save_pretrained(folder)
    for file in model.glob("tokenizer*"):
        shutil.copyfile(file, folder / file.name)
    return folder


def _places(old: int, new: int) -> list[int]:
    """Where each rotated dimension of a head goes: pair i is the dimensions i and i + half."""
    return [half * new // 2 + pair * (new // old) for half in range(2) for pair in range(old // 2)]


def _wide(name: str, weight: torch.Tensor, places: list[int], new: int) -> torch.Tensor:
    old = len(places)
    if "self_attn.o_proj" in name:
        grown = torch.zeros(weight.shape[0], weight.shape[1] // old, new)
        grown[:, :, :old] = weight.view(weight.shape[0], -1, old)
        return grown.flatten(1)
    if not any(part in name for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")):
        return weight
    grown = torch.zeros(weight.shape[0] // old, new, weight.shape[1])
    grown[:, list(range(old)) if "v_proj" in name else places] = weight.view(-1, old, weight.shape[1])
    return (grown * (new / old) ** 0.5 if "q_proj" in name else grown).flatten(0, 1)
