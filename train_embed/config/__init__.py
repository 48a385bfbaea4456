"""What a run can be told: schema, presets, YAML, `--set`."""
