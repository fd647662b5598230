"""What a run leaves: its evidence, and the pages drawn from it."""
