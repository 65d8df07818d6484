"""``python -m astrokeras``."""

import sys

from .cli import main

sys.exit(main())
