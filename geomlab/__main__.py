"""`python -m geomlab`."""

import sys

from geomlab.cli import main

sys.exit(main())
