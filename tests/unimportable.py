"""A module of a user that fails when it is imported."""

WEIGHTS = {}["weights"]
