import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow says anything

from sspq.commands.main import main  # noqa: E402

sys.exit(main())
