"""Where things are in the checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
RULES = DOCS / "rules.md"
GLOSSARY = DOCS / "glossary.md"
ACCEPTANCE = Path(__file__).with_name("acceptance.toml")


def prose() -> list[Path]:
    """Return every page that people write: the Markdown files outside docs/reference/."""
    pages = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md"]
    pages += sorted((ROOT / "changes").glob("*.md"))
    pages += [page for page in sorted(DOCS.rglob("*.md")) if REFERENCE not in page.parents]
    return [page for page in pages if page.is_file()]
