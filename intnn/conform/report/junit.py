"""A report as JUnit XML, as Jenkins, GitLab and GitHub actions read it.

One suite: a test case for each group of inputs, and one, ``device``, for whether the device answered every question,
once, and always the same. Each message stands alone. Expected failures are skipped; a group that passes although it
is expected to fail passes here too, as it does in the exit code, and says so in its ``system-out`` and in a property.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from intnn.conform.report import words
from intnn.conform.verdict import Group, Report


def xml(report: Report) -> str:
    """``report`` as an XML document, ASCII, with a newline at the end."""
    cases = [_group(group, report) for group in report.groups]
    cases += [_case(name, report, "skipped", "expected to fail, but not a group here") for name in _missing(report)]
    cases.append(_device(report))
    counts = {
        name: str(sum(case.find(tag) is not None for case in cases))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    totals = {"tests": str(len(cases)), **counts, "time": f"{report.seconds:.3f}"}
    suites = ET.Element("testsuites", {"name": "intnn conform"} | totals)
    suite = ET.SubElement(suites, "testsuite", {"name": words.printable(f"intnn conform {report.model}")} | totals)
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(report):
        ET.SubElement(properties, "property", name=words.printable(name), value=words.printable(value))
    suite.extend(cases)
    ET.indent(suites)
    body: str = ET.tostring(suites, encoding="us-ascii", xml_declaration=True).decode("ascii")
    return body + "\n"


def _properties(report: Report) -> list[tuple[str, str]]:
    found = [
        ("outcome", report.outcome),
        ("model", report.model),
        ("sha256", report.sha256),
        ("device", report.device),
        ("operations", " ".join(report.operations)),
        ("seed", str(report.seed)),
        ("command", report.command),
        *((f"device {name}", value) for name, value in report.facts.items()),
    ]
    found += [("coverage", line) for line in words.coverage_lines(report.events)]
    found += [("diagnosis", line) for line in words.diagnosis(report)]
    found += [("unexpected pass", name) for name in report.unexpected_passes]
    return found


def _group(group: Group, report: Report) -> ET.Element:
    """The test case of a group: passed, failed, an error where answers are missing, or skipped."""
    line = words.group_line(group, report)
    expected = group.name in report.expected_failures
    if group.wrong and not expected:
        case = _case(group.name, report, "failure", f"{_whose(report)}: {line}{_smallest(report)}", _detail(report))
    elif not group.passed and expected:
        case = _case(group.name, report, "skipped", line)
    elif not group.passed:  # answers are missing; where the device only declined, nothing is known of them
        declined = all(failure.kind == "skip" for _, _, failure in report.failures)
        message, detail = f"{_whose(report)}: {line}", "\n".join(words.failure_lines(report.failures))
        case = _case(group.name, report, "skipped" if declined else "error", message, "" if declined else detail)
    else:
        case = _case(group.name, report)
        if expected:
            ET.SubElement(case, "system-out").text = f"{line}: take it off the list of expected failures"
    return case


def _device(report: Report) -> ET.Element:
    """Whether the device answered everything, by the protocol and always the same."""
    problems = [
        *words.failure_lines(entry for entry in report.failures if entry[2].kind != "skip"),
        *words.failure_lines(report.notes),
    ]
    if report.flaky is not None:
        problems.append(f"contradicts itself: {words.flaky_line(report.flaky)}")
    if not report.judged:
        problems.append("answered no inference" if any(g.answered for g in report.groups) else "answered nothing")
    if words.word(report) == "INCOMPLETE":
        problems.append("declined inferences")
    if not problems:
        return _case("device", report)
    return _case("device", report, "error", f"{_whose(report)}: {problems[0]}", "\n".join(problems))


def _detail(report: Report) -> str:
    """What is known of the failure, for the body of a message: each line says one thing."""
    lines = []
    mismatch = report.mismatch
    if mismatch is not None:
        lines += [
            f"smallest failing {words.asked(mismatch)}: {words.vector(mismatch.x)}",
            f"expected: {words.vector(mismatch.expected)}",
            f"got: {words.vector(mismatch.got)}",
            f"differs: {words.differences(mismatch)}",
        ]
        if mismatch.location is not None:
            lines += [f"where: {words.place(mismatch.location)}", f"there: {words.arithmetic(mismatch.location)}"]
    lines += [f"diagnosis: {line}" for line in words.diagnosis(report)]
    return "\n".join([*lines, f"reproduce: {words.printable(report.command)}"])


def _smallest(report: Report) -> str:
    """The campaign's smallest failing input and the first sentence of the diagnosis, so that a message stands alone."""
    text = ""
    if (mismatch := report.mismatch) is not None:
        text = f"; smallest failing {words.asked(mismatch)}: {words.vector(mismatch.x)}: {words.differences(mismatch)}"
    return "; ".join([text, *words.diagnosis(report)[:1]])


def _whose(report: Report) -> str:
    return words.printable(f"{report.device} against {report.model}")


def _missing(report: Report) -> tuple[str, ...]:
    return words.missing_expectations(report)


def _case(name: str, report: Report, tag: str = "", message: str = "", body: str = "") -> ET.Element:
    case = ET.Element("testcase", classname=words.printable(report.model), name=words.printable(name), time="0")
    if tag:
        ET.SubElement(
            case, tag, {"message": message} | ({} if tag == "skipped" else {"type": report.outcome})
        ).text = body
    return case
