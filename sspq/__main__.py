import sys

from sspq.cli import main

sys.exit(main())
