"""How the undocumented names of other packages are checked."""

from __future__ import annotations

import logging

import pytest

from layered_backend import UnsupportedVersionError
from layered_backend.upstream.verification import Package, Undocumented


class _Owner:
    def _present(self, wanted: int, /, *, option: bool = False) -> None: ...


_PYTEST = Package("pytest", "1 to 2")


def test_what_a_guarantee_rests_on_is_required_with_the_releases_that_have_it() -> None:
    _PYTEST.require(Undocumented(_Owner, "_present", ("wanted", "option")))

    with pytest.raises(
        UnsupportedVersionError, match=r"^pytest [\d.]+ has no _Owner\._gone, .*; install pytest 1 to 2$"
    ):
        _PYTEST.require(Undocumented(_Owner, "_gone"))


def test_a_parameter_that_is_gone_is_missed() -> None:
    use = Undocumented(_Owner, "_present", ("unwanted",))

    with pytest.raises(UnsupportedVersionError, match=r"_Owner\._present\(unwanted\)"):
        _PYTEST.require(use)


def test_what_only_accelerates_is_switched_off_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "layered_backend"):
        assert _PYTEST.offers("writing in one trip", Undocumented(_Owner, "_present"))
        assert caplog.messages == []
        assert not _PYTEST.offers("writing in one trip", Undocumented(_Owner(), "_gone"))

    (message,) = caplog.messages
    assert message.startswith("writing in one trip is switched off: pytest ")
    assert message.endswith("has no _Owner._gone; it works with pytest 1 to 2")
