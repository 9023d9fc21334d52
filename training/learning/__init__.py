"""Training runs: recipe, batches, loss, loop, and the resulting bundle."""
