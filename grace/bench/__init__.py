"""`grace bench`: methods × seeds from one checkpoint, judged alike. docs/bench.md says what every number is."""
