"""What the README shows works as shown."""

import os
import re

import pytest

from sspq.compat import tf

ROOT = os.path.join(os.path.dirname(__file__), "..")


def readme():
    with open(os.path.join(ROOT, "README.md")) as f:
        return f.read()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", readme(), re.DOTALL))
def test_the_examples_run(code, sess):
    names: dict = {}
    exec(code, names)
    if "gshift" in names:
        sess.run(tf.global_variables_initializer())
        gx, gshift = sess.run([names["gx"], names["gshift"]])
        assert gx.shape == (8, 16, 32, 32) and gshift.shape == (2, 16)
    if "logits" in names:
        assert names["logits"].shape.as_list() == [8, 10]


def test_every_file_that_it_names_exists():
    named = re.findall(
        r"(?:bash|python|-f|-r) ((?:[\w.-]+/)*[\w.-]+\.(?:sh|py|txt)|docker/\w+)", readme()
    )
    assert len(named) > 8
    for path in named:
        assert os.path.exists(os.path.join(ROOT, path)), path
