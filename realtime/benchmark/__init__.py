"""--benchmark: every engine and network measured on this machine, each in a process of its own."""
