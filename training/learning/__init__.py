"""What a training run is: its recipe, its batches, its loss, its loop, and the bundle it ends in."""
