"""Scripts as a user starts them."""

import os
import shutil
import subprocess

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
CHAINS = ("SSQ_cifar100_TS.sh", "TS.sh", "SLQ.sh")


def bash(*arguments, cwd=ROOT, **environment):
    # A bare environment: nothing of the one that runs the tests helps along.
    env = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), **environment}
    return subprocess.run(
        [shutil.which("bash")] + [str(a) for a in arguments],
        cwd=str(cwd),
        env=env,
        capture_output=True,
        text=True,
    )
