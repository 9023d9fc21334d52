"""Networks measured on labelled sound, and the report of it."""
