"""Studies: several recipes on the same seeds, side by side, with their figures and one page.

file         study.yaml → typed values
arms         a study → its arms, each a recipe
running      the arms, one after the other, each in a run folder of its own
outcome      a run folder → figures of an arm
comparison   figures of all arms → compare.json, and what makes them hard to compare
trained      models trained on the arms at equal size, evaluated and compared
"""

from .arms import Arm, arms_of
from .comparison import Comparison, compare_runs
from .file import Study, load_study
from .running import run_study, train_runs

__all__ = ["Arm", "Comparison", "Study", "arms_of", "compare_runs", "load_study", "run_study", "train_runs"]
