"""Statements that control the transaction are known by their text, whatever stands before them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layered_backend.session.transaction_control import PLAIN_STATEMENTS, transaction_control_in

CONTROL = {
    "COMMIT": "COMMIT",
    "commit and chain": "COMMIT",
    "COMMIT PREPARED 'x'": "COMMIT",
    "ROLLBACK": "ROLLBACK",
    "ROLLBACK TO SAVEPOINT a": "ROLLBACK",
    "ABORT": "ABORT",
    "END": "END",
    "BEGIN IMMEDIATE": "BEGIN",
    "START  TRANSACTION READ ONLY": "START TRANSACTION",
    "SAVEPOINT a": "SAVEPOINT",
    "RELEASE a": "RELEASE",
    "PREPARE TRANSACTION 'x'": "PREPARE TRANSACTION",
    "SET autocommit = 1": "SET",
    "SET @@session.autocommit=1": "SET",
    "SET sort_buffer_size = 1, SESSION autocommit = ON": "SET",
    "SET `autocommit` = 1": "SET",
    "XA START 'x'": "XA",
}
HARMLESS = [
    "SELECT 'COMMIT'",
    "SELECT ';COMMIT', \"; ROLLBACK\", 1",
    "SELECT $$; COMMIT$$, $a$; ROLLBACK; $a$",
    r"SELECT E'it\'s; COMMIT'",
    "SELECT 1 /* ; COMMIT */ -- ; ROLLBACK",
    "SELECT CASE WHEN 1 = 1 THEN 2 END",
    "SELECT 'it''s; COMMIT'",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "SET application_name = 'autocommit'",
    "START REPLICA",
    "PREPARE plan AS SELECT 1",
    "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET c = 1; END",
    "CREATE OR REPLACE PROCEDURE p() BEGIN COMMIT; END",
    "BEGIN NOT ATOMIC SELECT 1; END",
    "commits",
    "",
]
_BEFORE = st.lists(
    st.sampled_from([" ", "\n", "\t", "-- SELECT '\n", "--\n", "/* SELECT */", "/*' ; /* */ */", "/**/", "("])
).map("".join)
_AHEAD = st.sampled_from(
    ["", "SELECT 1;", "SELECT ';';", r"SELECT '\';", "INSERT INTO a VALUES ('''');", ";", "/*! ", "/*M!100100 "]
)
_TEXT = st.text(st.sampled_from("ab ;'\"\\`$-/*#\nCOMIT") | st.characters(codec="utf-8"), max_size=20)


@pytest.mark.parametrize("statement", CONTROL)
@given(ahead=_AHEAD, before=_BEFORE)
def test_control_is_found_behind_comments_and_other_statements(statement: str, ahead: str, before: str) -> None:
    assert transaction_control_in(f"{ahead}{before}{statement}") == CONTROL[statement]


@pytest.mark.parametrize("statement", HARMLESS)
def test_other_statements_are_left_alone(statement: str) -> None:
    assert transaction_control_in(statement) is None


@given(_TEXT)
def test_a_string_is_never_taken_for_a_statement(content: str) -> None:
    escaped = content.replace("\\", "").replace("'", "''").replace("/*", "")

    assert transaction_control_in(f"SELECT '{escaped}'") is None


@given(st.sampled_from(PLAIN_STATEMENTS), _TEXT)
def test_a_plain_beginning_without_a_semicolon_needs_no_look(beginning: str, rest: str) -> None:
    assert transaction_control_in(beginning + rest.replace(";", "")) is None
