"""The object store: pre-signed links to Artifacts, ranges, and errors in XML.

A link contains its expiry time and a signature of method, path, ``Host`` and query. Tokens and cookies are ignored.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import parse_qs, quote, urlencode
from xml.sax.saxutils import escape

from mender_devserver.artifacts import Artifact
from mender_devserver.messages import FileSlice, Reply, Request

BUCKET = "/mender/"
_STAMP = "%Y%m%dT%H%M%SZ"
_RANGE = re.compile(r"bytes=(?:(\d+)-(\d*)|-(\d+))")


@dataclass(frozen=True, slots=True)
class Link:
    """A pre-signed link and the time at which it expires."""

    uri: str
    expires: datetime


class Storage:
    """Creates links and answers requests for them.

    Args:
        find: looks up an Artifact by its id.
        now: the server's clock.
    """

    def __init__(self, find: Callable[[str], Artifact | None], now: Callable[[], datetime]) -> None:
        self.link_seconds = 24 * 3600.0
        self._find = find
        self._now = now
        self._secret = secrets.token_bytes(32)

    def link(self, artifact: Artifact, base_url: str, device_id: str) -> Link:
        """Create a link to an Artifact.

        Args:
            artifact: the Artifact.
            base_url: the URL at which devices reach the storage, without a trailing slash.
            device_id: the device; specific to this server, so that its activity log shows who downloads.
        """
        now = self._now()
        query = urlencode(
            {
                "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
                "X-Amz-Credential": f"mender/{now:%Y%m%d}/us-east-1/s3/aws4_request",
                "X-Amz-Date": now.strftime(_STAMP),
                "X-Amz-Expires": f"{self.link_seconds:g}",
                "X-Amz-SignedHeaders": "host",
                "response-content-disposition": f'attachment; filename="{artifact.name}.mender"',
                "response-content-type": "application/vnd.mender-artifact",
                "x-id": "GetObject",
                "x-device-id": device_id,
            },
            quote_via=quote,
        )
        path = BUCKET + artifact.id
        signature = self._sign("GET", base_url.partition("//")[2], path, query)
        uri = f"{base_url}{path}?{query}&X-Amz-Signature={signature}"
        return Link(uri, now + timedelta(seconds=self.link_seconds))

    def answer(self, request: Request) -> Reply:
        """Answer a request to the storage."""
        query, is_signed, signature = request.query.rpartition("&X-Amz-Signature=")
        if not is_signed:
            if "X-Amz-Credential" in parse_qs(request.query):
                return _refuse(request, 400, "AuthorizationQueryParametersError", _INCOMPLETE)
            return _refuse(request, 403, "AccessDenied", "Access Denied.")
        expected = self._sign(request.method, request.headers.get("host", ""), request.path, query)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            return _refuse(request, 403, "SignatureDoesNotMatch", _MISMATCH)
        if self._is_expired(query):
            return self.expired(request)
        artifact = self._find(request.path.removeprefix(BUCKET))
        if artifact is None or not artifact.path.exists():
            return _refuse(request, 404, "NoSuchKey", "The specified key does not exist.")
        return _send(request, artifact)

    def device_of(self, request: Request) -> str:
        """The id of the device for which a link was created; empty if there is none."""
        return parse_qs(request.query).get("x-device-id", [""])[0]

    def expired(self, request: Request) -> Reply:
        """The reply to an expired link."""
        return _refuse(request, 403, "AccessDenied", "Request has expired")

    def _sign(self, method: str, host: str, path: str, query: str) -> str:
        text = "\n".join((method, host.lower(), path, query))
        return hmac.new(self._secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def _is_expired(self, query: str) -> bool:
        fields = parse_qs(query)
        made = datetime.strptime(fields["X-Amz-Date"][0], _STAMP).replace(tzinfo=timezone.utc)
        return self._now() >= made + timedelta(seconds=float(fields["X-Amz-Expires"][0]))


_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)


_INCOMPLETE = (
    "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
    "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
)
_UNMET = "At least one of the pre-conditions you specified did not hold"


def _send(request: Request, artifact: Artifact) -> Reply:
    total = artifact.size_bytes
    if status := _precondition(request.headers, artifact):
        return _refuse(request, 412, "PreconditionFailed", _UNMET) if status == 412 else _not_modified(artifact)
    wanted = request.headers.get("range", "")
    span = read_range(wanted, total)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{artifact.name}.mender"',
        "Content-Type": "application/vnd.mender-artifact",
        **_validators(artifact),
    }
    if span is None:
        return Reply(200, FileSlice(artifact.path, 0, total), headers)
    first, last = span
    if first >= total:
        out_of_range = _refuse(request, 416, "InvalidRange", "The requested range is not satisfiable")
        return Reply(416, out_of_range.body, {**out_of_range.headers, "Content-Range": f"bytes */{total}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{total}"
    return Reply(206, FileSlice(artifact.path, first, last - first + 1), headers)


def _validators(artifact: Artifact) -> dict[str, str]:
    return {"Etag": f'"{artifact.etag}"', "Last-Modified": format_datetime(_modified(artifact), usegmt=True)}


def _modified(artifact: Artifact) -> datetime:
    return artifact.modified.replace(microsecond=0)


def _not_modified(artifact: Artifact) -> Reply:
    return Reply(304, headers=_validators(artifact))


def _precondition(headers: Mapping[str, str], artifact: Artifact) -> int:
    """The status if the conditions of a request don't hold, in the order of RFC 9110, section 13.2.2; otherwise 0."""
    match, unmodified = headers.get("if-match"), _date(headers.get("if-unmodified-since"))
    if match is not None:
        if not _names(match, artifact.etag):
            return 412
    elif unmodified is not None and _modified(artifact) > unmodified:
        return 412
    none_match, modified = headers.get("if-none-match"), _date(headers.get("if-modified-since"))
    if none_match is not None:
        return 304 if _names(none_match, artifact.etag) else 0
    return 304 if modified is not None and _modified(artifact) <= modified else 0


def _names(listed: str, etag: str) -> bool:
    tags = {one.strip().removeprefix("W/").strip('"') for one in listed.split(",")}
    return bool(tags & {etag, "*"})


def _date(value: str | None) -> datetime | None:
    """An HTTP date; ``None`` for a missing or malformed one, which is ignored."""
    try:
        date = parsedate_to_datetime(value) if value else None
    except ValueError:
        return None
    return date.replace(tzinfo=date.tzinfo or timezone.utc) if date else None


def read_range(wanted: str, total: int) -> tuple[int, int] | None:
    """The first and the last byte requested, or ``None`` for the whole object.

    For several ranges, another unit or a malformed range, the whole object is sent. The caller must refuse a first byte
    at or past ``total``, which is also returned for a range that ends before it begins.
    """
    match = _RANGE.fullmatch(wanted.strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return (max(0, total - int(suffix)), total - 1) if int(suffix) else (total, total)
    if last and int(last) < int(first):
        return total, total
    return int(first), min(int(last), total - 1) if last else total - 1


def _refuse(request: Request, status: int, code: str, message: str) -> Reply:
    key = escape(request.path.removeprefix(BUCKET))
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message><Resource>{escape(request.path)}</Resource>"
        f"<RequestId>{secrets.token_hex(12).upper()}</RequestId><Key>{key}</Key>"
        "<BucketName>mender</BucketName></Error>"
    )
    return Reply(status, body.encode(), {"Accept-Ranges": "bytes", "Content-Type": "application/xml"})
