"""VM managers on host nodes."""
