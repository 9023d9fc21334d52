"""Polyphonic scenes: ours, mixed on the fly, and the paper's, written to disk."""
