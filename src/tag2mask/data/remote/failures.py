"""What a storage's errors mean: each package behind fsspec has exceptions of its own."""

from __future__ import annotations

import errno

from tag2mask.data.remote.addresses import parse_address
from tag2mask.errors import DataError, DeviceError, StorageError, Tag2MaskError
from tag2mask.formats.pixels.opening import one_line

_TEMPORARY = frozenset({408, 425, 429})
"""Statuses, besides those from 500, after which the same request may succeed."""
_AGAIN = "Then run the same command again: it resumes."
_ACCESS = {
    "s3": "Log in (`aws configure`, or the variables AWS_PROFILE or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY) as somebody who may read the bucket (s3:GetObject; s3:ListBucket for "
    "folders); for a public bucket set FSSPEC_S3_ANON=true.",
    "gs": "Log in with `gcloud auth application-default login`, or name a key file in "
    "GOOGLE_APPLICATION_CREDENTIALS, as somebody who may read the bucket (storage.objects.get; "
    "storage.objects.list for folders); for a public bucket set FSSPEC_GS_TOKEN=anon.",
}
_WEB_ACCESS = "Check the address; sign it again if its signature expired."
_NO_CREDENTIALS = ("Credentials", "ProfileNotFound", "TokenRetrieval", "RefreshError", "SSOToken")
"""Parts of the names of exceptions of botocore and google.auth."""


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an exception of a storage reports; None: none."""
    found = getattr(error, "status", None) or getattr(error, "code", None)
    if found is None and isinstance(error, FileNotFoundError):
        return 404
    forbidden = isinstance(error, PermissionError) or str(error).startswith("Forbidden")  # gcsfs
    if found is None and forbidden:
        return 403
    return int(text) if (text := str(found)).isdecimal() else None


def is_temporary(error: BaseException) -> bool:
    """Return whether the same request may succeed a little later."""
    status = status_of(error)
    if status is not None:
        return status in _TEMPORARY or status >= 500
    if _lacks_credentials(error) or "SSL" in type(error).__name__ or _is_full(error):
        return False
    return "Certificate" not in type(error).__name__


def storage_failure(error: BaseException, address: str, noun: str, tried: str) -> Tag2MaskError:
    """Return the error of an address that can't be read.

    Args:
        error: raised by fsspec or by the package behind it.
        address: of a photo or a folder.
        noun: which of both.
        tried: how long and how often it was tried.

    Returns:
        A DataError where the storage doesn't have it, a DeviceError where this computer's disk is
        full, else a StorageError.
    """
    where = parse_address(address)
    status = status_of(error)
    if _is_full(error):
        return DeviceError(
            "no space left for a fetched photo",
            where=str(where),
            fix="Free space in the folder of temporary files, or name another one in TMPDIR.",
        )
    if status in (404, 410):
        return DataError(
            f"the storage has no such {noun} ({status})", where=str(where), fix="Check the address."
        )
    access = _ACCESS.get(where.scheme, _WEB_ACCESS)
    if _lacks_credentials(error):
        return StorageError(
            f"no valid credentials for {where.scheme}:// ({one_line(error)})",
            where=str(where),
            fix=f"{access} {_AGAIN}",
        )
    if status in (401, 403):
        return StorageError(
            f"the storage denies access to the {noun} ({status})",
            where=str(where),
            fix=f"{access} {_AGAIN}",
        )
    if status is not None:
        reason = f"the storage answers {status}"
    elif isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        reason = "the storage is too slow, or doesn't answer"
    else:
        reason = f"the {noun} can't be fetched: {one_line(error)}"
    return StorageError(
        f"{reason}; {tried}",
        where=str(where),
        fix=f"Check the address and the connection. {_AGAIN}",
    )


def _lacks_credentials(error: BaseException) -> bool:
    return any(part in type(error).__name__ for part in _NO_CREDENTIALS)


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
