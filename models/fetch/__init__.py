"""Downloads of published files, verified by checksum."""
