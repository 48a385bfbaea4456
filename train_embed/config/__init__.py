"""The settings of a run: schema, presets, YAML, `--set`."""
