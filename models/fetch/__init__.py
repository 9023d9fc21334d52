"""Published files: fetched, verified, and kept."""
