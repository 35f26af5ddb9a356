"""What libraries say in every training and users can do nothing about."""

from __future__ import annotations

import logging
import warnings

_OLD_NAMES = r"`(is_)?gradient_checkpointing(_enable|_disable)?` is deprecated"  # that TRL and peft still use


def silence_libraries() -> None:
    """Hide warnings of libraries about each other; call it before they are imported."""
    warnings.filterwarnings("ignore", message=_OLD_NAMES, category=FutureWarning)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # a faster 4-bit kernel for CPUs is not there
