"""What the README and the pages of docs/ show works as shown, and the site is built from them."""

import ast
import functools
import glob
import os
import re
import shlex
import subprocess
import sys

import pytest

from docs.command_line import commands_of, parser_of
from sspq.compat import tf
from tests.shell import ROOT
from tests.test_imports import ORDER


def read(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


def files(*patterns):
    """Paths from the root of what is the project's own."""
    found = [
        p for pattern in patterns for p in glob.glob(os.path.join(ROOT, pattern), recursive=True)
    ]
    return sorted(os.path.relpath(path, ROOT) for path in found)


PAGES = ["README.md", *files("docs/**/*.md")]
SCRIPTS = files("*.sh", "scripts/*.sh", "docker/*.sh", "tests/*.sh")
VARIABLE = r"SSPQ_[A-Z0-9_]+|Imagenet_Path|CIFAR100_PATH"


def blocks(page, language):
    """(number of its first line, text) of each block in that language."""
    text = read(page)
    for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield text[: match.start(1)].count("\n"), match.group(1)


def rows(page, heading=""):
    """First two cells of each row of the tables below a heading."""
    text = read(page).split(heading, 1)[1] if heading else read(page)
    return re.findall(r"^\| (.+?) \| (.+?) \|", text, re.MULTILINE)


def run(page, chunks, names):
    for line, code in chunks:
        exec(compile("\n" * line + code, os.path.join(ROOT, page), "exec"), names)


@pytest.mark.parametrize("chunk", blocks("README.md", "python"), ids=lambda c: f"line-{c[0]}")
def test_each_example_of_the_readme_runs_by_itself(chunk, sess, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    run("README.md", [chunk], names)
    if "gshift" in names:
        sess.run(tf.global_variables_initializer())
        gx, gshift = sess.run([names["gx"], names["gshift"]])
        assert gx.shape == (8, 16, 32, 32) and gshift.shape == (2, 16)
    if "logits" in names:
        assert names["logits"].shape.as_list() == [8, 10]


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p != "README.md" and any(blocks(p, "python"))]
)
def test_the_examples_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page, blocks(page, "python"), {"__name__": "__main__"})


def test_a_line_of_an_example_that_fails_is_told_by_its_place_in_the_page():
    line, code = next(blocks("README.md", "python"))
    with pytest.raises(ZeroDivisionError) as caught:
        run("README.md", [(line, "\n1 / 0")], {})
    assert caught.traceback[-1].lineno == line + 1
    assert read("README.md").splitlines()[line] == code.splitlines()[0]


def commands(page):
    """The commands of a page's bash blocks, as lists of words without comments."""
    for _, text in blocks(page, "bash"):
        for line in text.replace("\\\n", " ").splitlines():
            command = []
            for word in shlex.split(line, comments=True):
                if word in ("&&", "||", "|", ";"):
                    yield command
                    command = []
                else:
                    command.append(word)
            yield command


@functools.lru_cache(maxsize=None)
def parser(program):
    return parser_of(program)


def options_of(words):
    """The options that the program at the beginning of ``words`` knows; None: it is not checked.

    Raises:
        AssertionError: there is no such program or command.
    """
    if words[:3] == ["python", "-m", "sspq"]:
        assert words[3] in commands_of(parser("python -m sspq"))
        return parser(" ".join(words[:4]))._option_string_actions
    if words[0] not in ("python", "bash") or not words[1].endswith((".py", ".sh")):
        return None
    assert os.path.isfile(os.path.join(ROOT, words[1]))
    if words[0] == "bash":
        comment = re.match(r"#!.*\n((?:#.*\n)+)", read(words[1])).group(1)  # what --help prints
        return re.findall(r"--[a-z][\w-]*", comment)
    options = [word for word in words if word.startswith("-")]
    if words[1] == "setup.py" or not options:
        return options
    return parser(" ".join(words[:2]))._option_string_actions


def check(words):
    for k, word in enumerate(words):
        if word in ("python", "bash") and k + 1 < len(words):  # below docker or horovodrun, too
            known = options_of(words[k:])
            given = [w.split("=")[0] for w in words[k + 1 :] if re.match(r"--?[a-zA-Z]", w)]
            unknown = [w for w in given if w not in (*known, "-m")] if known is not None else []
            assert not unknown
            return


@pytest.mark.parametrize("page", [p for p in PAGES if any(blocks(p, "bash"))])
def test_every_command_exists_and_knows_its_options(page):
    for words in commands(page):
        check(words)


@pytest.mark.parametrize(
    "line",
    [
        "bash TS.sh --no-such-option",
        "bash NoSuch.sh",
        "docker run sspq bash TS.sh --dat DIR",
        "python -m sspq no-such-command",
        "python -m sspq pack RUN --no-such-option",
        "horovodrun -np 2 python examples/imagenet-SSQ_S1.py --no-such-option",
        "python examples/no_such.py",
    ],
)
def test_a_command_that_is_not_there_is_noticed(line):
    with pytest.raises(AssertionError):
        check(line.split())


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_command_names_exists(page):
    for _, text in blocks(page, "bash"):
        for path in re.findall(r"(?: -r| -f) ((?:[\w.-]+/)*[\w.-]+\.txt|docker/[\w.]+)", text):
            assert os.path.exists(os.path.join(ROOT, path)), path


def test_the_table_of_levels_is_the_order_of_imports():
    levels = [
        set(re.findall(r"`(\w+)/?`", cell)) for _, cell in rows("docs/architecture.md", "## Levels")
    ]
    assert [level for level in levels if level] == ORDER


def read_variables():
    """Names of the environment variables that anything of the project reads."""
    found = set()
    for path in files(
        "setup.py", *(f"{f}/**/*.py" for f in ("sspq", "custom_ops", "benchmarks", "tests"))
    ):
        for node in ast.walk(ast.parse(read(path))):
            if isinstance(node, ast.Str) and re.fullmatch(VARIABLE, node.s):
                found.add(node.s)
    for path in files("custom_ops/**/*.cc"):
        found.update(re.findall(rf'getenv\("({VARIABLE})"\)', read(path)))
    scripts = "".join(map(read, SCRIPTS))
    own = re.findall(r"^(\w+)=", scripts, re.MULTILINE)
    return found | (set(re.findall(rf"\$\{{?({VARIABLE})", scripts)) - set(own))


def test_the_tables_of_environment_variables_have_all_that_are_read():
    listed = {name for name, _ in rows("docs/environment.md")}
    listed = {n for cell in listed for n in re.findall(rf"`({VARIABLE})`", cell)}
    assert listed == read_variables()


def test_every_message_among_the_troubles_is_one_of_the_code():
    code = "\n".join(map(read, (*files("sspq/**/*.py", "custom_ops/*.py"), "setup.py", *SCRIPTS)))
    code = re.sub(r'"\s*\n\s*f?"', "", code).replace("\\$", "$")  # literals that belong together
    messages = list(blocks("docs/troubleshooting.md", "text"))
    assert len(messages) > 50
    fixed = {line: re.split(r"<.*?>|\n", message) for line, message in messages}
    assert all(max(map(len, parts)) > 10 for parts in fixed.values())
    assert [(n, part) for n in fixed for part in fixed[n] if part.strip() not in code] == []


def test_the_reference_has_every_script_with_options():
    scripts = [p for p in files("examples/*.py") if "sspq.experiments" in read(p)]
    listed = re.findall(r"```\{command\} \S+ (.+)", read("docs/api/command-line.md"))
    assert sorted(listed) == sorted(["-m sspq", *files("*.sh"), *scripts])


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").exists()


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_the_project_that_a_page_names_exists(page):
    folders = "sspq|custom_ops|examples|benchmarks|scripts|tests|requirements|docker"
    for path in re.findall(rf"`((?:{folders})/[\w./-]*[\w/])`", read(page)):
        assert os.path.exists(os.path.join(ROOT, path)), path


def test_every_link_of_the_readme_leads_to_a_file():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", read("README.md"))
    assert len(links) > 10
    for path in links:
        assert os.path.exists(os.path.join(ROOT, path)), path
