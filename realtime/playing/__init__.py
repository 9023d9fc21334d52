"""A file that is played: what paces it, how it is heard, and what a listener may do to it."""
