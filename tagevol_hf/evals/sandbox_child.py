"""Start of a sandbox's process: run by its path, as `python -s -S sandbox_child.py`, with its job on stdin.

Only the sandbox's own files are loaded, and not the package around them, which would cost longer than most problems.
"""

import sys
from importlib import import_module
from pathlib import PurePath
from types import ModuleType

_NAME = "tagevol_sandbox"


def _main() -> None:
    sys.path.pop(0)  # this folder, which is not the program's
    package = ModuleType(_NAME)
    package.__path__ = [str(PurePath(__file__).parent)]
    sys.modules[_NAME] = package
    import_module(f"{_NAME}.sandbox_inside").main()


if __name__ == "__main__":
    _main()
