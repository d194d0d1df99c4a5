"""House rules that a program can check."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from touchline.architectures.settings import PREFIX, Settings
from touchline.core.errors import Code

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "touchline"
PYTHON = sorted(path for folder in ("src", "tests", "bench") for path in (ROOT / folder).rglob("*.py"))
SQL = sorted(SOURCE.rglob("*.sql"))

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
BANNED_NAMES = {"utils", "util", "helpers", "helper", "manager", "base", "common", "data", "info", "misc"}
THEIR_NAMES = {"data_received", "handle_data"}  # asyncio.Protocol's, HTMLParser's
CLOCKS = {SOURCE / "adapters" / "system.py", SOURCE / "lab" / "clock.py"}  # the platform's, and its clients'
CLOCK_CALLS = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("time", "time"),
    ("time", "time_ns"),
}
SQL_IN_PYTHON = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|TRUNCATE)\s")
# Words in two halves, so that this file does not hold what it looks for.
BANNED_WORDS = [
    first + second
    for first, second in [
        ("pyp", "i.org"),
        ("python", "hosted.org"),
        ("debian", ".org"),
        ("npmjs", ".org"),
        ("npmjs", ".com"),
        ("crates", ".io"),
        ("maven", ".org"),
        ("proxy.gol", "ang.org"),
        ("/wor", "k/"),
        ("/tm", "p/"),
        ("cla", "ude"),
        ("anth", "ropic"),
        ("open", "ai"),
        ("chat", "gpt"),
        ("cop", "ilot"),
        ("language ", "model"),
        ("artificial ", "intelligence"),
    ]
]
NOT_OURS = {".git", ".venv", "lab-runs", "node_modules", "vendor", "__pycache__", "build", "dist"}


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in PYTHON:
        yield path, ast.parse(path.read_text("utf-8"), str(path))


def texts() -> Iterator[tuple[Path, str]]:
    """Every text of the project, without what tools leave beside it."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") and part != ".ci" for part in parts)
        if hidden or NOT_OURS & set(parts) or any(part.endswith(".egg-info") for part in parts):
            continue
        if path.is_file() and path.suffix not in (".png", ".ico", ".woff2", ".gz", ".bz2"):
            yield path, path.read_text("utf-8")


def place(path: Path, line: int = 0) -> str:
    return f"{path.relative_to(ROOT)}:{line}" if line else str(path.relative_to(ROOT))


def words_of(name: str) -> set[str]:
    """The words of a name in snake or camel case, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)}


def test_no_module_class_or_function_has_a_name_that_says_nothing() -> None:
    found = []
    for path, tree in trees():
        found += [place(path)] if words_of(path.stem) & BANNED_NAMES else []
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                sentence = node.name.startswith("test_")  # a test's name may need any word
                if words_of(node.name) & BANNED_NAMES and not sentence and node.name not in THEIR_NAMES:
                    found.append(f"{place(path, node.lineno)} {node.name}")
    assert found == []


def test_only_the_clock_reads_the_time() -> None:
    found = []
    for path, tree in trees():
        if path in CLOCKS or SOURCE not in path.parents:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
                if (owner, node.attr) in CLOCK_CALLS:
                    found.append(place(path, node.lineno))
    assert found == []


def test_no_file_and_no_function_is_longer_than_a_reader_can_hold() -> None:
    found = []
    for path, tree in trees():
        lines = len(path.read_text("utf-8").splitlines())
        found += [f"{place(path)}: {lines} lines"] if lines > FILE_LINES_MAX else []
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    found.append(f"{place(path, node.lineno)} {node.name}: {length} lines")
    assert found == []


def test_every_module_opens_with_what_it_is() -> None:
    found = [
        place(path)
        for path, tree in trees()
        if path.name != "__init__.py" and not (ast.get_docstring(tree) or "").strip()
    ]
    assert found == []


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(TOUCHLINE_\w+)` \| ([^|]+?) \|", (ROOT / "docs/settings.md").read_text(), re.M))
    expected = {}
    for field in msgspec.structs.fields(Settings):
        text = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        expected[PREFIX + field.name.upper()] = f"`{text}`" if text else "empty"
    assert rows == expected


def test_every_error_code_is_documented() -> None:
    text = (ROOT / "docs/api.md").read_text("utf-8")
    assert [code.value for code in Code if f"`{code.value}`" not in text] == []


def test_every_lint_ignore_has_its_reason_beside_it() -> None:
    found = []
    for path in PYTHON:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            ignore = re.search(r"#\s*(noqa|type:\s*ignore|pragma)\b", line)
            if ignore and not re.search(r"# (noqa: [A-Z0-9, ]+|type: ignore\[[a-z-, ]+\])  # \w+", line):
                found.append(place(path, number))
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    ignores = re.findall(r"^ignore = \[\n(.*?)^\]|per-file-ignores\]\n(.*?)\n\n", settings, re.M | re.S)
    lines = [line for pair in ignores for block in pair for line in block.splitlines() if line.strip()]
    assert len(lines) >= 2
    assert found + [line for line in lines if "  # " not in line] == []


def test_sql_lives_in_sql_files_only() -> None:
    found = []
    for path, tree in trees():
        if SOURCE not in path.parents:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL_IN_PYTHON.match(node.value):
                found.append(place(path, node.lineno))
    assert found == []


def test_every_statement_has_a_name_and_a_line_of_meaning() -> None:
    assert SQL
    found = []
    for path in SQL:
        text = path.read_text("utf-8")
        if "migrations" in path.relative_to(SOURCE).parts:  # a step is one script; its name is its file's
            found += [] if text.startswith("-- ") else [place(path)]
            continue
        blocks = re.split(r"^-- name: ", text, flags=re.M)
        found += [place(path)] if blocks[0].strip() else []
        for block in blocks[1:]:
            if not re.match(r"[a-z_]+\n-- \S.*\n", block):
                found.append(f"{place(path)} {block.splitlines()[0]}")
            statements = [part for part in re.sub(r"^--.*$", "", block, flags=re.M).split(";") if part.strip()]
            if path.name != "migrations.sql" and len(statements) != 1:
                found.append(f"{place(path)} {block.splitlines()[0]}: {len(statements)} statements")
    assert found == []


def test_every_statement_has_its_own_name_and_is_used() -> None:
    found = []
    for path in SQL:
        if "migrations" in path.relative_to(SOURCE).parts:
            continue
        names = re.findall(r"^-- name: ([a-z_]+)$", path.read_text("utf-8"), re.M)
        assert len(names) == len(set(names)), place(path)
        code = "\n".join(module.read_text("utf-8") for module in path.parent.glob("*.py"))
        for name in names:
            built = f'}}_{name.partition("_")[2]}"'  # as in f"{verb}_placed"
            found += [] if f'"{name}"' in code or built in code else [f"{place(path)} {name}"]
    assert found == []


def test_nothing_says_where_it_was_made_or_what_from() -> None:
    found = []
    for path, text in texts():
        low = text.lower()
        found += [f"{place(path)}: {word}" for word in BANNED_WORDS if word in low]
        found += [f"{place(path)}: A" + "I"] if re.search(r"\bA" + r"I\b", text) else []
    assert found == []


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_name_no_host_and_hash_everything(file: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    assert re.findall(r"://|--index|--extra-index|--find-links|--trusted", text) == []
    entries = re.split(r"\n(?=[a-z0-9])", text)
    assert [entry.split()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_every_dependency_is_declared_and_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    locked = {line.split("==")[0] for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()}
    names = [re.split(r"[\[<>=]", wanted)[0].lower() for wanted in project["dependencies"]]
    assert [name for name in names if name not in locked] == []
