"""What an update procedure does next, by the Fleet alone; start reading at `forward.next_step`."""
