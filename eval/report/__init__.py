"""Reports: one self-contained HTML file for a run. `page` and `parts` are for every report, the others for one each."""
