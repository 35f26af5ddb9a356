"""Publishing a run on the Hub with proof of how it was made, and checking what is published."""

from .export import export_run
from .push import push_run as push_to_hub
from .verify import verify

__all__ = ["export_run", "push_to_hub", "verify"]
