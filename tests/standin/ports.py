"""Purpose: free ports of loopback for servers that must be told theirs: none of those that the kernel gives to connections and to
whoever asks for any, so that nobody has taken one before its server does, nor of those that tests/ssh/daemon takes.

    python3 ports.py COUNT
"""

import random
import socket
import sys


def free_ports(count):
    held = []
    while len(held) < count:
        one = socket.socket()
        held.append(one)
        try:
            one.bind(("127.0.0.1", random.randrange(10000, 20000)))
        except OSError:
            held.pop().close()
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


if __name__ == "__main__":
    print(*free_ports(int(sys.argv[1])))
