"""User-data for cloud-init: the operator's own, and with it files and scripts, as one MIME message."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import yaml

from metier.domain.personality import Carried

# What cloud-init goes by: the first line of a part.
_TYPES = (
    ("#cloud-config", "cloud-config"),
    ("#cloud-boothook", "cloud-boothook"),
    ("#cloud-config-archive", "cloud-config-archive"),
    ("#include", "x-include-url"),
    ("#part-handler", "part-handler"),
    ("## template: jinja", "jinja2"),
    ("#!", "x-shellscript"),
)
# Lists of the operator's own cloud-config grow by ours; nothing of theirs is replaced.
_MERGE = [
    {"name": "list", "settings": ["append"]},
    {"name": "dict", "settings": ["no_replace", "recurse_list"]},
]


class _Part(NamedTuple):
    subtype: str
    name: str
    text: str


def user_data(carried: Carried, rendered: Mapping[str, str]) -> str:
    """Return the user-data as it is if there is nothing else to be told; else a message of several parts.

    Scripts become `x-shellscript` parts, which cloud-init runs once per instance, in the order of their
    names; files become `write_files`.
    """
    own, personality = rendered.get("user-data", ""), carried.personality
    if not personality.files and not personality.scripts:
        return own
    parts = [_Part(_type_of(own), "user-data", own)] if own else []
    if personality.files:
        parts.append(_Part("cloud-config", "files", _write_files(carried, rendered)))
    width = len(str(len(personality.scripts)))
    for place in range(1, len(personality.scripts) + 1):
        text = rendered[f"script {place}"]
        parts.append(_Part("x-shellscript", f"script-{place:0{width}}", _runnable(text)))
    return _message(parts)


def _type_of(text: str) -> str:
    found = [subtype for start, subtype in _TYPES if text.startswith(start)]
    if text[:4096].lower().find("mime-version:") >= 0:
        return "mime"
    return found[-1] if found else "plain"


def _write_files(carried: Carried, rendered: Mapping[str, str]) -> str:
    files = [
        {"path": file.path, "content": rendered.get(file.path, ""), "permissions": file.mode}
        for file in carried.personality.files
    ]
    content = {"merge_how": _MERGE, "write_files": files}
    return "#cloud-config\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _runnable(text: str) -> str:
    """Return a script with a first line that says what runs it, for a kernel asks."""
    return text if text.startswith("#!") else f"#!/bin/sh\n{text}"


def _message(parts: Sequence[_Part]) -> str:
    """Return a MIME message: the same parts give the same text."""
    bodies = [_body(part) for part in parts]
    digest = hashlib.sha256("".join(bodies).encode()).hexdigest()
    boundary = f"part-{digest[:32]}"
    lines = ["MIME-Version: 1.0", f'Content-Type: multipart/mixed; boundary="{boundary}"', "", ""]
    text = "\n".join(lines)
    for body in bodies:
        text += f"--{boundary}\n{body}\n"
    return f"{text}--{boundary}--\n"


def _body(part: _Part) -> str:
    if part.subtype == "mime":
        return part.text  # it has headers of its own, and its parts are found within ours
    plain = part.text.isascii()
    # Of what is not ASCII, older versions of cloud-init guess the character set if it is not encoded.
    text = part.text if plain else base64.encodebytes(part.text.encode()).decode()
    lines = (
        f'Content-Type: text/{part.subtype}; charset="utf-8"',
        "MIME-Version: 1.0",
        f"Content-Transfer-Encoding: {'7bit' if plain else 'base64'}",
        f'Content-Disposition: attachment; filename="{part.name}"',
        "",
        text,
    )
    return "\n".join(lines)
