"""Names to a server of regress a process that it does not see itself.

`smuggler.py PROTOCOL SOCKET PID WORD...` takes a handle of the process and becomes the command of the words, which is to start
`smuggler.py PROTOCOL SOCKET` with the number of the handle as the last word. It prints what the server answers.
"""

import os
import socket
import struct
import sys


def received(connection, length):
    said = b""
    while len(said) < length:
        piece = connection.recv(length - len(said))
        if not piece:
            sys.exit("the server has ended")
        said += piece
    return said


def frame(connection):
    length, kind = struct.unpack("<IB", received(connection, 5))
    assert kind == 0, kind
    return received(connection, length)


def ask(protocol, place, handle):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(place)
    connection.sendall(b"regress\0" + struct.pack("<HB", protocol, 1) + b"0")
    received(connection, received(connection, 11)[10])
    welcome = frame(connection)
    assert welcome[0] == 0, welcome
    # Start: what was said, one process alone, no program, no buffer of a size, no TLS.
    start = b"\0" + welcome[1:17] + b"\1\1" + b"\0" + b"\0" + b"\0"
    socket.send_fds(connection, [struct.pack("<IB", len(start), 0) + start], [handle])
    answer = frame(connection)
    print("started" if answer[0] == 2 else answer.decode(errors="replace"))


protocol, place, *rest = sys.argv[1:]
if len(rest) == 1:
    ask(int(protocol), place, int(rest[0]))
else:
    handle = os.pidfd_open(int(rest[0]))
    os.set_inheritable(handle, True)
    os.execvp(rest[1], [*rest[1:], str(handle)])
