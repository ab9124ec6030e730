"""The inputs of the golden vectors of the protocol: see :mod:`intnn.golden_cases`."""

from __future__ import annotations

from collections.abc import Iterator

from intnn.golden_models import Args, Case, activation, dense, fixed, network, q31

NETWORK: Args = network(
    activation("int8", -1),
    dense([[127, -5, 30], [-64, 3, 2]], [100, -200], q31(1518500250, -7, "double"), activation("int8", -128)),
    dense([[9, -100]], [-1000], fixed(181, 13, 4096, 2, 2), activation("int16")),
)
WIDE: Args = network(  # its output does not fit into one line of 63 characters
    activation("int16", 0, -1000, 1000),
    dense([[(-1) ** k * (100 + k)] for k in range(12)], [*range(-6, 6)], fixed(0, 0, 1, 0, 0), activation("int16")),
)


def lines() -> Iterator[Case]:
    def case(group: str, id: int, command: list[object], values: list[int], line: int = 63) -> Case:
        return group, {"id": id, "command": command, "values": values, "line": line}

    for command in ("hello", "run", "layer 0", "dense 12", "requantize 1 0 -343"):
        yield case("short", 7, [int(w) if w.strip("-").isdecimal() else w for w in command.split()], [])
    yield case("short", 8, ["run"], [1, -2, 3])
    for n in range(9, 14):  # "1 run" and 58 characters of values fill a line, "1 x" and 60
        yield case("edge", 1, ["run"], [-128] * n)
        yield case("edge", 1, ["run"], [10] * 2 * n)
        yield case("edge", 1, ["dense", 1], [-1, *[-128] * n])
    for id in (9, 99, 65530, 65534, 65535):  # ids grow longer, or begin anew
        yield case("ids", id, ["run"], [-128, 127, 0] * 21)
    for line in (63, 64, 100, 101, 102, 4095):
        yield case("length", 0, ["layer", 1], [-32768, 32767] * 30, line)


REPLIES = (
    "7 ok", "7 ok 1 -2 3", "65535 ok -2147483648 2147483647", "7 more 1 2", "7 more", "7 skip", "0 error",
    "7 error no such layer", "7 error 5", "0 intnn/1 - 63 run", "1 intnn/1 0123456789abcdef 4095 layer run",
    "1 intnn/1 - 64 run train dense requantize", "1 intnn/1 - 63",
)  # fmt: skip
GARBAGE = (
    "7", "ok", "7 OK 1", "7 okay", "7 ok 1.0", "7 ok 1,2", "7 ok  1", " 7 ok", "7  ok", "7 ok one", "7ok 1", "7 ok +1",
    "7 ok 0x1", "7 ok -", "7 ok 1-", "7 skip 1", "65536 ok", "-1 ok", "100000 ok", "> 7 ok 1", "7 ok 2147483648",
    "7 ok -2147483649", "7 ok 99999999999", "7 intnn/2 - 63 run", "7 intnn/1 - 62 run", "7 intnn/1 - 4096 run",
    "7 intnn/1 0123456789ABCDEF 63 run", "7 intnn/1 0123 63 run", "7 intnn/1 run", "7 error caf\u00e9", "7 ok 1\t2",
    "7 ok \u00b2", "7 ok 1 # done", "\u00007 ok",
)  # fmt: skip


def replies() -> Iterator[Case]:
    for text in REPLIES:
        yield "reply", {"text": text}
        yield "space", {"text": text + "\r"}
        yield "space", {"text": text + " "}
    for text in ("", "\r", "# booted", "#", "# 7 ok 1"):
        yield "debug", {"text": text}
    for text in GARBAGE:
        yield "garbage", {"text": text}


def devices() -> Iterator[Case]:
    def case(group: str, *said: str, model: Args = NETWORK) -> Case:
        return group, {"model": model, "lines": [*said]}

    yield case("operation", "0 hello")
    yield case("operation", "1 run 100 -20 7", "2 run -128 -128 -128", "65535 run 127 -128 127")
    yield case("operation", "1 layer 0 100 -20 7", "2 layer 1 100 -20 7", "3 dense 0 100 -20 7", "4 dense 1 -55 -128")
    yield case("operation", "1 requantize 1 0 -343", "2 requantize 0 1 -6705", "3 requantize 0 0 13262")
    yield case("vector", "0 x 100 -20", "1 run 7", "2 run 1 2 3")
    yield case("vector", "0 x 100", "1 x", "2 x -20 7", "3 layer 0", "4 layer 0")
    yield case("vector", "0 x 1", "1 hello", "2 run 1 2 3")
    yield case("vector", "0 x 1", "", "1 run 2 3")
    yield case("vector", "0 x 1", "1 skim 2 3", "2 run 1 2 3")
    yield case("vector", "0 x 1", "1 run 1 2 3", "2 run 1 2 3")
    yield case("vector", "0 x 1 2 3 4", "1 run 1 2 3")
    yield case("vector", "0 x 1 2 3", "1 x 4", "2 x 5", "3 run 1 2")
    yield case("vector", "0 x one", "1 run 1 2 3")
    yield case("vector", "0 x 5", "1 requantize 1 0 -343", "2 requantize 1 0 -343")
    yield case("error", "0 run 1 2", "1 run", "2 run 1 2 3 4", "3 run 1 2 3.0", "4 run 1 2  3", "5 run 1 2 3")
    yield case("error", "0 layer", "1 layer 2 1 2 3", "2 layer -1 1 2 3", "3 dense 1 1 2 3", "4 dense 0 1 2")
    yield case("error", "0 requantize 1 0", "1 requantize 1 1 5", "2 requantize 2 0 5", "3 requantize 1 0 5 6")
    yield case("error", "0 hello 1", "1 hello")
    yield case("skip", "0 train 1 2 3", "1 RUN 1 2 3", "2 ?", "3 run2 1 2 3", "4", "5 run 1 2 3")
    yield case(
        "silence", "", "run 1 2 3", "7run 1 2 3", "65536 run 1 2 3", "-1 run 1 2 3", "# 1 run 1 2 3", "5 run 1 2 3"
    )
    yield case("silence", "\r", "1 run 1 2 3\r", "2 x 1\r", "3 run 2 3\r")
    for x in (-1000, 7, 1000):
        yield case("more", f"9 run {x}", f"12345 layer 0 {x}", model=WIDE)
