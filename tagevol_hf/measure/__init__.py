"""What a set of instructions is like: diversity, difficulty, obedience, repetition, spread, length, contamination."""

from .benchmark_search import BenchmarkSearch, Match, Rule
from .leaks import Leak, Leaks, find_leaks, reject_leaks
from .measures import Measures
from .measuring import measure
from .near_duplicates import Duplicate, Duplicates, find_near_duplicates, reject_near_duplicates
from .obedience import ReplyObedience, reply_obedience
from .overlap import Contamination, Hit, contamination

__all__ = [
    "BenchmarkSearch",
    "Contamination",
    "Duplicate",
    "Duplicates",
    "Hit",
    "Leak",
    "Leaks",
    "Match",
    "Measures",
    "ReplyObedience",
    "Rule",
    "contamination",
    "find_leaks",
    "find_near_duplicates",
    "measure",
    "reject_leaks",
    "reject_near_duplicates",
    "reply_obedience",
]
