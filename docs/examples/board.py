"""Plays a board at a pseudo-terminal: `board.py MODEL.json ./port` answers there until the port is closed."""

import os
import pty
import sys
import tty

import intnn
from intnn.conform.reference import Reference

device = Reference(intnn.load(sys.argv[1]))
ours, theirs = pty.openpty()
tty.setraw(theirs)
os.symlink(os.ttyname(theirs), sys.argv[2])
line, opened = b"", False
try:
    while received := os.read(ours, 64):
        if not opened:
            os.close(theirs)  # from now on the host alone has it open
            opened = True
        *lines, line = (line + received).split(b"\n")
        for one in lines:
            for answer in device.answer(one.decode()):
                os.write(ours, answer.encode() + b"\n")
except OSError:  # the host has closed it
    os.unlink(sys.argv[2])
