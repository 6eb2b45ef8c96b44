"""Metier, a data-centre automation controller.

It keeps tiers of physical and virtual nodes at their targets: operators state intent, drivers report
observations, a pure planner compares the two and an executor carries out its actions.
"""

__all__ = ["__version__"]

# A constant, because reading the installed metadata would slow every start of the command line;
# a tidy test holds it equal to the version in pyproject.toml.
__version__ = "0.1.0"
