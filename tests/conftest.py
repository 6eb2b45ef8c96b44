"""What every test has: one deterministic Hypothesis profile, and the fixtures of `tests/postgres.py`."""

import os

from hypothesis import settings

pytest_plugins = ["tests.postgres"]

# The same examples on every run and machine, without a clock deciding; `explore` looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("METIER_HYPOTHESIS_PROFILE", "ci"))
