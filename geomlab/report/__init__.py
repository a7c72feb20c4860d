"""Results in words and numbers: `summary.json`, tables, and the HTML report."""
