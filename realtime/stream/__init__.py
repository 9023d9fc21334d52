"""From captured sound to smoothed updates: capture, analysis, smoothing, one stream or many."""
