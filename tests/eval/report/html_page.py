"""A page of HTML as tests look at it."""

from __future__ import annotations

from html.parser import HTMLParser

VOID_TAGS = {"img", "input", "meta", "link", "br", "wbr"}


class Page(HTMLParser):
    """Checks that tags nest, and gathers what tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID_TAGS:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def all(self, tag: str, key: str) -> list[str]:
        return [str(attributes[key]) for name, attributes in self.tags if name == tag and key in attributes]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def rows_with(self, columns: int) -> list[list[str]]:
        return [row for row in self.rows if len(row) == columns]
