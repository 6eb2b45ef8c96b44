"""Makes and checks the documentation; `tools/generate_docs.py` is its program."""
