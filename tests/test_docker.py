"""What reading the Docker files tells: lint, pins, sources of COPY, the user, equal steps."""

import fnmatch
import os
import re
import subprocess
import sys

import pytest

from custom_ops import nvcc

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
CUDA_10 = "docker/Dockerfile"
NGC = "docker/Dockerfile.ngc"
BOTH = pytest.mark.parametrize("name", [CUDA_10, NGC])

# What CUDA 10.0's and 12.1's nvcc compile for.
KNOWN = {
    CUDA_10: [30, 32, 35, 37, 50, 52, 53, 60, 61, 62, 70, 72, 75],
    NGC: [50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90],
}


def read(name):
    with open(os.path.join(ROOT, name)) as f:
        return f.read()


def instructions(name):
    """(keyword, rest) of every instruction, continued lines joined and comments left out."""
    lines = [line for line in read(name).splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def arguments(name):
    """Defaults of the build arguments."""
    pairs = [rest.split("=", 1) for keyword, rest in instructions(name) if keyword == "ARG"]
    return {key: value.strip('"') for key, value in pairs}


def final_stage(name):
    """The instructions after the last FROM."""
    found = instructions(name)
    last = max(i for i, (keyword, _) in enumerate(found) if keyword == "FROM")
    return found[last + 1 :]


def pins(name):
    """Package -> version of a file in requirements/."""
    lines = [line.split("#")[0].strip() for line in read("requirements/" + name).splitlines()]
    found = [line for line in lines if line and not line.startswith("-r ")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in found), found
    return dict(line.lower().replace("_", "-").split("==") for line in found)


def ignored(path):
    """Whether .dockerignore keeps ``path`` from the build, for the kinds of pattern used there."""
    patterns = [p for p in read(".dockerignore").split("\n") if p and not p.startswith("#")]
    for pattern in patterns:
        tail = pattern[3:] if pattern.startswith("**/") else None
        parts = path.split("/")
        if tail and any(fnmatch.fnmatchcase(part, tail) for part in parts):
            return True
        if any(fnmatch.fnmatchcase("/".join(parts[:n]), pattern) for n in range(1, len(parts) + 1)):
            return True
    return False


@BOTH
def test_hadolint_has_nothing_to_say(name):
    hadolint = os.path.join(os.path.dirname(sys.executable), "hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", os.path.join(ROOT, name)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@BOTH
def test_a_rule_of_hadolint_is_left_out_only_with_a_reason(name):
    lines = read(name).splitlines()
    for before, line in zip(lines, lines[1:]):
        if "hadolint ignore" in line:
            assert re.fullmatch(r"# \w.*\.", before), line


@BOTH
def test_everything_that_is_copied_exists_and_is_sent(name):
    copied = [rest for keyword, rest in instructions(name) if keyword == "COPY"]
    assert copied
    for rest in copied:
        for source in [word for word in rest.split()[:-1] if not word.startswith("--")]:
            assert os.path.exists(os.path.join(ROOT, source)), source
            assert source == "." or not ignored(source), source


@BOTH
def test_every_script_that_is_run_is_copied_before(name):
    copied = []
    for keyword, rest in final_stage(name):
        if keyword == "COPY":
            copied += [word for word in rest.split()[:-1] if not word.startswith("--")]
        for script in re.findall(r"(docker/\w+\.sh)", rest) if keyword == "RUN" else []:
            assert script in copied or "." in copied, script


@BOTH
def test_the_image_runs_as_an_ordinary_user(name):
    users = [rest for keyword, rest in final_stage(name) if keyword == "USER"]
    assert users[-1] == "${USER_ID}"
    assert int(arguments(name)["USER_ID"]) >= 1000


def test_both_images_are_made_by_the_same_steps():
    def steps(name):
        return [
            s for s in final_stage(name) if not re.match(r"SSPQ_(TENSORFLOW|CUDA_ARCHS)=", s[1])
        ]

    assert steps(CUDA_10) == steps(NGC)


def test_tensorflow_is_installed_from_requirements_or_there_already():
    assert arguments(CUDA_10)["SSPQ_TENSORFLOW"] == "tensorflow-gpu"
    assert arguments(NGC)["SSPQ_TENSORFLOW"] == "installed"
    assert pins("tensorflow-gpu.txt") == {"tensorflow-gpu": "1.15.5"}
    assert pins("tensorflow.txt") == {"tensorflow": "1.15.5"}
    for name in (CUDA_10, NGC):  # no version of it a second time
        code = " ".join(rest for _, rest in instructions(name))
        assert not re.search(r"(?<!/)\btensorflow(-gpu)?==|pip install", code)


@pytest.mark.parametrize("name, oldest, newest", [(CUDA_10, 35, 75), (NGC, 80, 90)])
def test_the_op_is_compiled_for_gpus_that_the_cuda_release_knows(name, oldest, newest):
    chosen = nvcc.architectures(KNOWN[name], arguments(name)["SSPQ_CUDA_ARCHS"])
    assert (chosen[0], chosen[-1]) == (str(oldest), f"{newest}+PTX")
    assert arguments(name)["SSPQ_WITH_CUDA"] == "1"


def test_cuda_10_compiles_for_what_it_would_by_default():
    wish = arguments(CUDA_10)["SSPQ_CUDA_ARCHS"]
    assert nvcc.architectures(KNOWN[CUDA_10], wish) == nvcc.architectures(KNOWN[CUDA_10])


def test_the_base_images_are_pinned():
    bases = [rest.split()[0] for keyword, rest in instructions(CUDA_10) if keyword == "FROM"]
    assert re.fullmatch(r"ubuntu:18\.04@sha256:[0-9a-f]{64}", bases[0]) and bases[1] == "${BASE}"
    assert re.fullmatch(r"nvcr\.io/nvidia/tensorflow:[\d.]+-tf1-py3", arguments(NGC)["BASE"])


def test_every_package_of_nvidia_is_pinned_to_one_release_of_cuda():
    cuda, cudnn = arguments(CUDA_10)["CUDA_VERSION"], arguments(CUDA_10)["CUDNN_VERSION"]
    assert re.fullmatch(r"10\.0\.\d+-\d+", cuda)
    assert re.fullmatch(r"7\.6\.5\.\d+-\d+\+cuda10\.0", cudnn)
    (install,) = [rest for _, rest in instructions(CUDA_10) if "libcudnn" in rest]
    packages = [w for w in install.split() if re.match(r"(cuda-|libcu|libnccl)", w)]
    assert len(packages) == 3
    for package in packages:
        assert package.endswith(('-10-0="${CUDA_VERSION}"', 'libcudnn7="${CUDNN_VERSION}"'))


def test_every_python_package_is_pinned_once():
    seen = {}
    for name in ("base", "constraints", "tensorflow-libraries", "dev", "docs"):
        for package in pins(f"{name}.txt"):
            assert package not in seen, f"{package} is in {seen[package]} and in {name}"
            seen[package] = name


def test_what_git_ignores_is_not_sent_to_docker():
    for pattern in read(".gitignore").split():
        path = pattern.rstrip("/").replace("*", "name")
        assert ignored(path), pattern
        if not pattern.startswith((".", "train_log", "build", "dist", "sspq/")):
            assert ignored("sspq/" + path), pattern
