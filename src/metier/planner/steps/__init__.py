"""The steps of a plan, one a file; `plan.py` has their order."""
