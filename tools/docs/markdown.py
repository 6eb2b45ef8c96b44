"""Small pieces of Markdown."""

from collections.abc import Iterable, Sequence

NOTICE = "<!-- Written by `make docs` from the code; changes made here are lost. -->"


def page(title: str, *blocks: str) -> str:
    """Return a whole generated page: title, notice and blocks, each apart from the next."""
    return "\n\n".join([f"# {title}", NOTICE, *(block.strip("\n") for block in blocks if block)]) + "\n"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the cells may hold Markdown."""
    lines = [_row(headers), _row(["---"] * len(headers))]
    return "\n".join(lines + [_row(row) for row in rows])


def bullets(items: Iterable[str]) -> str:
    """Return a list."""
    return "\n".join(f"- {item}" for item in items)


def code(text: str) -> str:
    """Return text as code within a line; nothing for nothing."""
    return f"`{text}`" if text else ""


def block(lines: Iterable[str], language: str = "") -> str:
    """Return lines as a block of code."""
    return "\n".join([f"```{language}", *lines, "```"])


def sentence(text: str) -> str:
    """Return text as a sentence: a capital first, a full stop last."""
    text = " ".join(text.split())
    if not text:
        return ""
    return text[:1].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
