"""Many runs side by side: sweeps, ablations, comparisons."""
