"""The Textual program: the one place that imports textual."""
