"""The ways of choosing that TACOS is compared with, each behind the same call. Importing this loads no torch."""

from .alpagasus import AlpaGasus, Grader
from .candidates import Baseline
from .choosing import BASELINES, baseline
from .deita import Deita
from .deita_scorer import DeitaScorer
from .deita_scores import ComplexityRater, QualityRater, rate_for_deita
from .instag import InsTag
from .k_center import KCenter
from .perplexed import IFD, Perplexity
from .perplexing import add_perplexity
from .simple import Full, Longest, Random, several_random

__all__ = [
    "BASELINES", "IFD", "AlpaGasus", "Baseline", "ComplexityRater", "Deita", "DeitaScorer", "Full", "Grader", "InsTag",
    "KCenter", "Longest", "Perplexity", "QualityRater", "Random", "add_perplexity", "baseline", "rate_for_deita",
    "several_random",
]  # fmt: skip
