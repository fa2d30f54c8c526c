"""``python -m sspq``, see :mod:`sspq.commands.main`."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # ahead of TensorFlow's first message

from sspq.commands.main import main  # noqa: E402

sys.exit(main())
