"""Power controllers of physical nodes."""
