#!/usr/bin/env python
"""Merge a LoRA adapter into its base model, and push the result if asked.

    python scripts/merge.py runs/quickstart/sft-lora runs/quickstart/merged [--push_to_hub ORG/NAME]

The merged folder is in Hugging Face format, with the adapter's tokenizer and chat template, the end token that was
learned, and a model card. It is pushed as a private repository unless --public is given; the token is that of
HF_TOKEN or of hf auth login.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from huggingface_hub.utils import disable_progress_bars

from tagevol_hf.errors import TagEvolError
from tagevol_hf.training import merge, push, quiet


def arguments(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("adapter", type=Path, help="folder of the LoRA adapter")
    parser.add_argument("out", type=Path, help="folder to make; an earlier merge there is replaced")
    parser.add_argument("--base", help="the base model, where it is not at the place that the adapter names")
    parser.add_argument("--dtype", default="auto", help=f"{', '.join(merge.DTYPES)}; default: that of the base")
    parser.add_argument("--trust_remote_code", action="store_true", help="run code that comes with the base model")
    parser.add_argument("--push_to_hub", metavar="ORG/NAME", help="repository to push the merged model to")
    parser.add_argument("--public", action="store_true", help="make a new repository public")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Exit status: 0 when merged, 2 with one line on standard error when something is wrong."""
    if not sys.stderr.isatty():
        disable_progress_bars()  # transformers follows this one
    options = arguments(argv)
    quiet.silence_libraries()
    try:
        done = merge.merge(
            options.adapter,
            options.out,
            base=options.base,
            dtype=options.dtype,
            trust_remote_code=options.trust_remote_code,
        )
        print(f"merged into {done['base']}: {done['parameters']:,} parameters in {done['dtype']}, in {options.out}")
        if options.push_to_hub:
            print(f"pushed to {push.push(options.out, options.push_to_hub, private=not options.public)}")
    except TagEvolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
