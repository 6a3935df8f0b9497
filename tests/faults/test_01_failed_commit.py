"""Guarantee 1: a COMMIT that fails is an error for the client, and nothing happens that belongs to a success."""

from tests.faults.failing_commit import fail_a_commit
from tests.faults.store import Store


async def test_a_commit_that_fails_is_an_error_for_the_client_and_saves_nothing(failing_store: Store) -> None:
    failed = await fail_a_commit(failing_store)

    is_refused = failing_store.backend.server == "mariadb"  # which has no deferred keys, and writes no more
    status, detail = (500, "Internal server error") if is_refused else (409, "The value of order_id refers to ")
    assert failed.answer.status_code == status
    assert failed.answer.json()["detail"].startswith(detail)
    assert failed.journal == ["written", "COMMIT", f"response {status}"]
    assert failing_store.witness.count("order_lines") == 0
