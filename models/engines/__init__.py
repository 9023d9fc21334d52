"""Engines run a bundle's network; each stands in its own file, the only one to import its library."""
