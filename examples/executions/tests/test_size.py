"""The example stays small enough to be read at one sitting."""

from pathlib import Path

from examples.count_lines import lines_of_code


def test_it_has_fewer_than_900_lines_of_code() -> None:
    counted = lines_of_code(Path(__file__).parents[1])

    assert {"services.py", "templates/index.html", "seeds/tools.py"} <= counted.keys()
    assert sum(counted.values()) < 900


def test_docstrings_comments_and_blank_lines_are_not_counted(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        '"""One.\n\nTwo."""\n\n# three\nX = """\nfour"""\n\n\ndef f():\n    "five"\n    return X\n'
    )
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text("X = 1\n")

    assert lines_of_code(tmp_path) == {"module.py": 4}
