"""--benchmark: measures every engine and network on this machine, each in its own process."""
