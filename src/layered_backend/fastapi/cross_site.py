"""Requests that another site's page has a browser send, along with the cookies of this one."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

__all__ = ["is_cross_site"]

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})  # they change nothing: RFC 9110, section 9.2.1
_OWN = frozenset({"same-origin", "none"})  # a page of this site, and a person who typed the address


def is_cross_site(connection: HTTPConnection) -> bool:
    """Tell whether another site's page has had a browser send this request, and the request may change something.

    A browser says where a request comes from in `Sec-Fetch-Site` (Fetch Metadata, W3C), an old one in `Origin`. What has
    neither is no browser. A WebSocket begins with a GET, and counts as one that changes something.
    """
    if connection.scope["type"] == "http" and connection.scope["method"] in _SAFE_METHODS:
        return False
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site not in _OWN
    origin = connection.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != connection.headers.get("host")
