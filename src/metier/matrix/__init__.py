"""The image matrix: where image versions are kept, and how they get in."""
