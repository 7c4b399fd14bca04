"""``python -m cdi`` is the console command ``cdi``: how a launcher starts ranks with one interpreter."""

import sys

from cdi.main import main

sys.exit(main())
