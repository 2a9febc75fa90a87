"""Addresses of photos: ``s3://bucket/key``, ``gs://bucket/key``, ``https://host/path?query``.

A signed address gives access to whoever has it, for a while. Its signature is no part of what
names a photo, and it is never shown.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from tag2mask.errors import DataError, nearest_hint

SCHEMES = ("s3", "gs", "https", "http", "file", "memory")
WEB = frozenset({"http", "https"})
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_SIGNED = frozenset({"x-amz-signature", "x-goog-signature", "signature", "sig"})
"""Parameters of which a signed address has one."""
_SIGNING = re.compile(
    r"x-amz-.*|x-goog-.*|signature|expires|awsaccesskeyid|googleaccessid"  # S3, Google
    r"|key-pair-id|policy"  # CloudFront
    r"|sig|s[verpt]|sip|spr|skoid|sktid|sk[tesv]"  # Azure
)
"""Parameters that a signature adds."""


class Address(NamedTuple):
    """The parts of an address, without user, password and signature.

    Attributes:
        scheme: one of `SCHEMES`.
        host: host and port, or bucket; empty for files.
        path: without percent-encoding and first slash.
        query: of a web address, as it is written.
    """

    scheme: str
    host: str
    path: str
    query: str = ""

    def __str__(self) -> str:
        """The address for messages."""
        query = f"?{self.query}" if self.query else ""
        path = f"/{self.path}" if self.path else ""
        return f"{self.scheme}://{self.host}{path}{query}"


def is_remote(text: object) -> bool:
    """Return whether a text is an address, not a path on this computer."""
    return isinstance(text, str) and _SCHEME.match(text) is not None


def parse_address(text: str) -> Address:
    """Return the parts of an address.

    Raises:
        DataError: a storage of another kind, or no valid address.
    """
    scheme = text.partition("://")[0].lower()
    rest = text.partition("://")[2]
    if scheme not in SCHEMES:
        raise DataError(
            f"no storage of the kind {scheme}:// can be read{nearest_hint(scheme, SCHEMES)}",
            where=text,
            fix="There are s3://, gs:// and https://. Give a folder into which the photos were "
            "copied, or the storage was mounted.",
        )
    if scheme not in WEB:
        host, _, path = ("", "", rest) if scheme == "file" else rest.lstrip("/").partition("/")
        return Address(scheme, host, path.lstrip("/") if scheme == "file" else path)
    try:
        url = urlsplit(text)
    except ValueError:  # brackets that are no IPv6 address
        url = urlsplit("")
    if not url.netloc:
        raise DataError("no valid address", where=text, fix="Write it as https://host/path.")
    host = url.netloc.rpartition("@")[2].lower()
    return Address(
        scheme,
        host,
        unquote(url.path, errors="surrogateescape").lstrip("/"),
        _without_signature(url.query),
    )


def _without_signature(query: str) -> str:
    parameters = query.split("&")
    names = [parameter.partition("=")[0].lower() for parameter in parameters]
    if _SIGNED.isdisjoint(names):
        return query
    return "&".join(
        parameter
        for parameter, name in zip(parameters, names, strict=True)
        if not _SIGNING.fullmatch(name)
    )


def request_address(text: str) -> str:
    """Return a web address as it is requested: characters that none may have are encoded."""
    url = urlsplit(text)
    path = quote(url.path, safe="/%:@!$&'()*+,;=~")
    query = quote(url.query, safe="/%:@!$&'()*+,;=~?")
    return urlunsplit((url.scheme, url.netloc, path, query, ""))
