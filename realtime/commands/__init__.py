"""The commands: what each of `instrec-live`, `watch`, `tag`, `report`, `--doctor` and `--benchmark` does."""
