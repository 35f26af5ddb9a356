"""Arms trained and evaluated at equal size: the sections `train` and `evaluate` of a study.

options      the two sections, as typed values
pools        what each arm selected, with learned tokens; rows that no training sees
budgets      as many rows, or tokens, for each arm
training     a model for each (equal, arm, seed), in a child
evaluating   what the models can do, in children
losses       held-out losses of several models, the program of a child
paired       arms against each other: means, differences, bootstrap intervals
doubts       what should be equal and is not
comparing    all of this, one after the other
table        the result for a terminal
"""
