"""Error-versus-discard evaluation: pairs, comparisons, curves, bands, plots, recommended thresholds."""
