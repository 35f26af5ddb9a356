"""What a set of instructions is like: diversity, difficulty, obedience, repetition, spread, length, contamination."""

from .measures import Measures
from .measuring import measure
from .obedience import ReplyObedience, reply_obedience
from .overlap import Contamination, Hit, contamination

__all__ = ["Contamination", "Hit", "Measures", "ReplyObedience", "contamination", "measure", "reply_obedience"]
