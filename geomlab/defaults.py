"""Where results go when nobody says: one place for the command line and for scripts."""

OUT = "geomlab-out"
COMPARISON = "geomlab-compare"
