"""What the pure layers must not call, and that no object has writable globals.

Arguments: the static libraries of all layers. `base`, `proto`, `policy` and the ledger's tree call no
clock, no randomness, no socket, no file and no thread (CONTRIBUTING.md), so that the same code runs in
a simulated world. Libraries they call (jansson, libyaml, libcrypto, libssl over memory) are used by
their functions over memory alone; those that open files or draw random bytes are forbidden by name.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from rules import finish, skip

PURE_LIBRARIES = {"libbase.a", "libproto.a", "libpolicy.a"}
PURE_OBJECTS = {"merkle.c.o", "tile.c.o", "note.c.o", "proof.c.o", "checkpoint.c.o"}  # of libledger.a

FORBIDDEN = re.compile(r"""
	(time | times | clock | clock_gettime | gettimeofday | localtime(_r)? | nanosleep | u?sleep
	| rand | srand | random | rand_r | drand48 | getrandom | getentropy | arc4random\w* | RAND_\w+
	| p?(read|write)v?\d* | pread(64)? | pwrite(64)? | open(at)?(64)? | creat | close | lseek(64)?
	| f(open|read|write|close|puts|printf|flush|seek|gets)(64)? | printf | puts | putchar | perror
	| stdin | stdout | stderr | rename\w* | unlink\w* | mkdir\w* | opendir | readdir(64)? | stat(64)?
	| fsync | fdatasync | ftruncate(64)? | fallocate(64)? | mmap(64)?
	| socket | connect | accept4? | bind | listen | send(to|m?msg|file)?(64)? | recv\w* | getaddrinfo | poll | epoll_\w+
	| fork | vfork | exec\w+ | system | popen | signal | sigaction | kill
	| pthread_\w+ | getenv | secure_getenv | setenv | getpid | gethostname | uname
	| json_(load|dump)(_file|f|fd) | json_load_callback | yaml_parser_set_input_file
	| BIO_new_file | SSL_CTX_load_\w+ | SSL_CTX_use_\w+_file | SSL_set_fd)
""", re.VERBOSE)

# Glibc's checked variants (_FORTIFY_SOURCE) are the same calls.
CHECKED = re.compile(r"^__(\w+)_chk$")
WRITABLE = re.compile(r"\.(data|bss|tdata|tbss|lbss|ldata)(\..*)?|\*COM\*")
READ_ONLY = re.compile(r"\.data\.rel\.ro(\..*)?")

# Memory buffers of libssl, fed by our own bytes.
ALLOWED = {"BIO_read", "BIO_write"}


def nm(library):
    """(object, name, class, section) of every symbol."""
    done = subprocess.run(["nm", "-A", "-f", "sysv", library], capture_output=True, text=True,
                          check=True)
    for line in done.stdout.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) < 7 or ":" not in parts[0]:
            continue
        path, _, name = parts[0].rpartition(":")
        yield path.rpartition("/")[2].rpartition(":")[2], name, parts[2], parts[6]


def is_pure(library, member):
    object_name = re.sub(r"^.*_(\w+\.c\.o)$", r"\1", member) if "_" in member else member
    return (library.name in PURE_LIBRARIES or
            (library.name == "libledger.a" and
             any(member == name or object_name == name for name in PURE_OBJECTS)))


def main():
    if not shutil.which("nm"):
        skip("nm is not installed")
    problems, symbols, pure = [], 0, set()
    for library in map(Path, sys.argv[1:]):
        for member, name, kind, section in nm(library):
            symbols += 1
            where = f"{library.name}({member})"
            if is_pure(library, member):
                pure.add((library.name, member))
                plain = CHECKED.sub(r"\1", name)
                if kind == "U" and FORBIDDEN.fullmatch(plain) and name not in ALLOWED:
                    problems.append(f"{where} calls {plain}")
            if kind != "U" and WRITABLE.fullmatch(section) and not READ_ONLY.fullmatch(section):
                problems.append(f"{where} has the writable global {name}")
    if not {"libbase.a", "libproto.a", "libpolicy.a", "libledger.a"} <= {name for name, _ in pure}:
        problems.append(f"the pure objects were not found among {len(sys.argv) - 1} libraries")
    finish(problems, f"{symbols} symbols, {len(pure)} pure objects")


main()
