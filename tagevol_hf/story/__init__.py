"""The story of one row: what each step of a run did with it, whom it was compared with, and how it ended."""

from .read import read_story
from .values import Child, Meeting, Order, Part, Story, Tag

__all__ = ["Child", "Meeting", "Order", "Part", "Story", "Tag", "read_story"]
