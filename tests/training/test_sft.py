"""`scripts/sft.py` as users start it, and its refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest_training import RECIPE, ROOT, load_script, row, save_run
