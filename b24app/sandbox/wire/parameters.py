"""What a REST request says: its address, its parameters and its access token."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from . import php
from .call import Params

CREDENTIALS = ("auth", "access_token", "auth_connector")
ADDRESS = re.compile(r"(?:(?P<uid>\d+)/(?P<secret>[^/]+)/)?(?P<method>[\w.]+?)(?:\.json)?/?")


@dataclass(frozen=True)
class Address:
    """The parts of a path: /rest/[uid/secret/]method[.json]"""

    method: str
    uid: int = 0
    secret: str = ""


def read_address(path: str) -> Address:
    found = ADDRESS.fullmatch(path)
    if found is None:
        return Address(path)
    return Address(found["method"], int(found["uid"] or 0), found["secret"] or "")


def read_parameters(request: HttpRequest) -> tuple[Params, bool]:
    """The parameters of query and body in one map (the body wins), and whether the body was broken JSON."""
    params = php.parse_str(request.META.get("QUERY_STRING", ""))
    if request.method != "POST":
        return params, False
    if request.content_type == "multipart/form-data":
        pairs = [(name, value) for name, values in request.POST.lists() for value in values]
        return params | php.parse_pairs(pairs), False
    body = request.body
    if request.content_type != "application/json":
        return params | php.parse_str(body.decode(errors="replace")), False
    try:
        decoded = json.loads(body)
    except ValueError:
        return params, True
    return (params | decoded, False) if isinstance(decoded, dict) else (params, False)


def read_key(request: HttpRequest, params: Mapping[str, Any]) -> str:
    """The access token from the header, else from `auth`, else from `access_token`. An array is no token."""
    header = request.headers.get("Authorization", "")
    if header[:7].lower() == "bearer ":
        return header[7:].strip()
    for name in ("auth", "access_token"):
        if isinstance(params.get(name), str) and params[name]:
            return str(params[name])
    return ""


def without_credentials(params: Params) -> Params:
    return {name: value for name, value in params.items() if name not in CREDENTIALS}
