"""The HTML page: well formed, needing nothing else, escaped, and with every number that the report holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from reports import DIED, HOSTILE, HOSTILE_TEXT, MISMATCH, ONE_NEURON, PASS, REPORTS, WIDE, WITHOUT_LAYERS

from intnn.conform.report import figures, html, words
from intnn.conform.verdict import Report

VOID = {"meta", "br"}
TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "section",
        "footer",
        "h1",
        "h2",
        "h3",
        "p",
        "br",
        "div",
    ),
    *("dl", "dt", "dd", "pre", "ol", "ul", "li", "table", "tr", "th", "td", "span", "code", "small", "strong", "i"),
    *("svg", "rect", "path", "text"),
}
ATTRIBUTES = {
    *("lang", "charset", "name", "content", "http-equiv", "class", "style", "colspan", "role", "aria-label"),
    *("viewbox", "preserveaspectratio", "x", "y", "width", "height", "d"),
}


class Page(HTMLParser):
    """Reads a page strictly: every element closed, no element or attribute that could load or run anything."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[tuple[str, str]] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        assert {name for name, _ in attrs} <= ATTRIBUTES, attrs
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.said.append((self.open[-1], data))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(data for _, data in self.said).split())

    def cells(self) -> Iterator[dict[str, str | None]]:
        """The cells of the heat map in which something differs."""
        return (at for tag, at in self.seen if tag == "rect" and re.fullmatch("h[1-5]", at.get("class") or ""))


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_html_is_well_formed_and_alone(report: Report) -> None:
    source = html.page(report)
    page = Page(source)
    assert source.startswith("<!DOCTYPE html>\n")
    assert not re.search(r"https?:|//|url\(|@import|javascript", source.replace("</", "<"))
    assert source.encode("utf-8")
    assert ("meta", {"charset": "utf-8"}) in page.seen
    assert next(data for tag, data in page.said if tag == "h1") == words.headline(report)
    first = [tag for tag, _ in page.said].index
    assert report.mismatch is None or first("h1") < first("pre")
    assert next(data for tag, data in page.said if tag == "pre") == words.printable(report.command)


def test_the_reader_of_pages_can_refuse() -> None:
    good = html.page(PASS)
    for bad in (
        "<script>1</script>",
        "<b>1</b>",
        '<p onclick="x">1</p>',
        "<p>1",
        "1</p>",
        "<!-- 1 -->",
        '<i src="x"></i>',
    ):
        with pytest.raises((AssertionError, IndexError)):
            Page(good.replace("<footer>", f"{bad}<footer>"))


def test_hostile_text_is_only_text() -> None:
    page = Page(html.page(HOSTILE))
    shown = words.printable(HOSTILE_TEXT)
    assert page.text.count(shown) >= 12
    assert "\x1b" not in html.page(HOSTILE)


def test_html_says_all_that_is_known() -> None:
    said = Page(html.page(MISMATCH)).text
    for part in (
        "MISMATCH",
        "[0, 0, 0, 17, 0, 0]",
        "layer 1, neuron 5, in requantize (as the device showed)",
        "-12288",
        "13 differs",
        "Matches on all 4,096 inputs if layer 1 rounds half away from zero.",
        "rounding.half-away@1",
        "97.2 %: 3,982 of 4,096 inputs",
        "412 hypotheses tried.",
        "110 of 300 wrong, first at inference 71",
        "406 of 411 boundary events reached, 378 so that the output shows it",
        "gcc 12.2.0",
    ):
        assert part in said, part
    said = Page(html.page(DIED)).text
    for line in words.failure_lines(DIED.failures):
        assert line.split(": ", 1)[1] in said


@pytest.mark.parametrize("report", [MISMATCH, WITHOUT_LAYERS, WIDE, ONE_NEURON])
def test_the_heat_map_has_every_neuron(report: Report) -> None:
    page = Page(html.page(report))
    cells = list(page.cells())
    assert len(cells) == sum(v > 0 for row in report.heat for v in row)
    squares = "".join(at["d"] or "" for tag, at in page.seen if tag == "path")
    assert squares.count("M") == sum(v == 0 for row in report.heat for v in row)
    tips = [data for tag, data in page.said if tag == "title" and data.startswith("neuron")]
    expected = [
        f"neuron {n}: differs on {words.count(v, 'input')}" for row in report.heat for n, v in enumerate(row) if v
    ]
    assert tips == expected
    known = [o for row, o in zip(report.heat, report.heat_observed, strict=True) if row]
    assert page.text.count("observed;") == sum(known)
    assert page.text.count("inferred from the best explanation;") == len(known) - sum(known)
    assert page.text.count("unknown: the device does not show it") == len(report.heat) - len(known)


@pytest.mark.parametrize("top", [*range(1, 300), 4096, 100000])
def test_shades_cover_all_counts_in_order(top: int) -> None:
    limits = figures.levels(top)
    assert limits[0] == 1
    assert limits == sorted(limits)
    shades = [sum(v >= low for low in limits) for v in (1, top)]
    assert shades[0] >= 1
    assert shades[1] == 5 or top < 5
    assert shades[1] >= min(top, 5)


def test_coverage_bars_add_up() -> None:
    page = Page(html.page(WIDE))
    bars = [at for tag, at in page.seen if tag == "rect" and (at.get("class") or "") in figures.FATES]
    widths = sum(float(at["width"] or "") for at in bars)
    drawn = [at for tag, at in page.seen if tag == "svg" and at.get("preserveaspectratio")]
    assert len(drawn) == (6 + 1) * 10
    assert widths == pytest.approx(100 * len(drawn), abs=1)


def test_ranges() -> None:
    assert figures.ranges([7, 0, 1, 2]) == "0 to 2, 7"
    assert figures.ranges(range(0, 40, 2), most=3) == "0, 2, 4 and 17 more"
