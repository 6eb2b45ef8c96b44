"""`python -m metier`: the same as the program `metier`."""

from metier.cli.main import main

if __name__ == "__main__":
    main()
