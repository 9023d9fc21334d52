"""Engines run a bundle's network; each is in its own file, the only one that imports its library."""
