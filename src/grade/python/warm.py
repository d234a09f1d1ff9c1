

# ---- the warm interpreter (sandbox_warm.c) ----
#
# Process 1 of a sandbox of its own, with CAP_SYS_ADMIN in that sandbox's user namespace, as which no
# foreign code ever runs. Descriptor 0 is a socket of packets: each asks for one program, with its
# limits in the text and its descriptors 0 to 3 attached. The program's process is forked off into new
# pid, mount, ipc, net and user namespaces, gives up what it could do, and runs main() of driver.py.
# Replies: "S" with a pidfd when it has been started, "E status cpu_us memory_kib" when it and all it
# started are gone. What the program is, is read by its own process only: nothing of it is ever here.
import array
import bisect
import collections
import copy
import ctypes
import functools
import gc
import heapq
import itertools
import math
import operator
import random
import re
import resource
import select
import socket
import string
import typing

CONTROL, FILTER = 0, 4
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWUTS = 0x8000000, 0x40000000, 0x4000000
MS_NOSUID, MS_NODEV = 2, 4
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 22, 38, 47
FILTER_MODE, AMBIENT_CLEAR_ALL = 2, 4
CAPABILITY_VERSION = 0x20080522
SIGCHLD = 17
SYS_CLONE = 220 if posix.uname().machine == "aarch64" else 56
SYS_PIDFD_OPEN = 434
libc = ctypes.CDLL(None, use_errno=True)


class SockFprog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def must(what, result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, posix.strerror(number)))
    return result


def prctl(number, argument):
    return libc.prctl(number, ctypes.c_ulong(argument), *[ctypes.c_ulong(0)] * 3)


NO_CAPABILITIES = ((ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)())


def drop_capabilities():
    """All of them; none comes back by exec, because privileges can't be gained any more."""
    must("prctl(PR_SET_NO_NEW_PRIVS)", prctl(PR_SET_NO_NEW_PRIVS, 1))
    must("prctl(PR_CAP_AMBIENT)", prctl(PR_CAP_AMBIENT, AMBIENT_CLEAR_ALL))
    must("capset", libc.capset(*NO_CAPABILITIES))


def isolate(scratch_size):
    """New namespaces; the mounts belong to the outer user namespace, the process to the inner one."""
    must("unshare", libc.unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET))
    must("mount", libc.mount(b"tmpfs", b"/tmp", b"tmpfs", ctypes.c_ulong(MS_NOSUID | MS_NODEV),
                             b"size=%d,mode=0755" % scratch_size))
    posix.chdir("/tmp")
    must("unshare(CLONE_NEWUSER)", libc.unshare(CLONE_NEWUSER))
    drop_capabilities()


def limit(cpu, memory, file, processes):
    for which, most in ((resource.RLIMIT_CPU, cpu), (resource.RLIMIT_AS, memory),
                        (resource.RLIMIT_FSIZE, file), (resource.RLIMIT_NPROC, processes),
                        (resource.RLIMIT_NOFILE, 128), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(which, (most, most))


def filter_calls(program):
    loaded = SockFprog(len(program) // 8, program)
    must("prctl(PR_SET_SECCOMP)", libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(FILTER_MODE),
                                             ctypes.byref(loaded), 0, 0))


def become_program(filter, limits, descriptors, check):
    cpu, memory, file, processes, scratch = limits
    posix.setsid()
    # To high numbers first, so that none is overwritten before it was moved.
    moved = [fcntl_dup(fd) for fd in descriptors]
    isolate(scratch)
    limit(cpu, memory, file, processes)
    for number, fd in enumerate(moved):
        posix.dup2(fd, number)
    libc.close_range(4, 0xffffffff, 0)
    filter_calls(filter)
    if check:
        posix._exit(0)


def fcntl_dup(fd):
    return must("fcntl", libc.fcntl(fd, 1030, 64))  # F_DUPFD_CLOEXEC


def fork():
    """posix.fork into a pid namespace of its own."""
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    process = ctypes.pythonapi.syscall(SYS_CLONE, ctypes.c_ulong(CLONE_NEWPID | SIGCHLD), 0, 0, 0, 0)
    if process == 0:
        python.PyOS_AfterFork_Child()
    else:
        python.PyOS_AfterFork_Parent()
    return must("clone(CLONE_NEWPID)", process)


def start(filter, limits, descriptors, check):
    """Forks a program's process off; its number and its pidfd."""
    process = fork()
    if process == 0:
        try:
            become_program(filter, limits, descriptors, check)
        except BaseException as error:
            if not check:
                posix._exit(120)
            write_all(1, describe(error).encode())
            posix._exit(120)
        try:
            main()
        finally:
            posix._exit(1)
    return process, must("pidfd_open", libc.syscall(SYS_PIDFD_OPEN, process, 0))


def finish(control, process, pidfd):
    """Waits for it; ends it when nobody waits any more."""
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    waiting.register(control, 0)
    ready = dict(waiting.poll())
    if pidfd not in ready:
        posix.kill(process, 9)
    posix.close(pidfd)
    return posix.wait4(process, 0)


def report(status, usage):
    return b"E %d %d %d" % (status, int((usage.ru_utime + usage.ru_stime) * 1000000),
                            usage.ru_maxrss)


def check_once(control, filter):
    """Whether programs can be started here: "R", or "F" and what forbids it."""
    said, saying = posix.pipe()
    null = posix.open("/dev/null", posix.O_RDWR)
    try:
        process, pidfd = start(filter, (5, 1 << 30, 1 << 24, 16, 1 << 26),
                               [null, saying, null, null], True)
        status, usage = finish(control, process, pidfd)[1:]
        posix.close(saying)
        text = read_rest(said)
        if status != 0:
            return b"F" + (text or b"a check ended with status %d" % status)
    except OSError as error:
        return b"F" + str(error).encode()
    finally:
        posix.close(null)
        posix.close(said)
    return b"R"


def serve():
    filter = read_rest(FILTER)
    posix.close(FILTER)
    control = socket.socket(fileno=fcntl_dup(CONTROL))
    ready = check_once(control, filter)
    # What is here already is no program's garbage: looking at it would copy its pages.
    gc.collect()
    gc.freeze()
    control.send(ready)
    while True:
        text, attached, flags, address = control.recvmsg(256, socket.CMSG_SPACE(4 * 4))
        if not text:
            posix._exit(0)
        descriptors = array.array("i")
        for level, kind, data in attached:
            descriptors.frombytes(data[:len(data) - len(data) % 4])
        limits = [int(word) for word in text.split()]
        process, pidfd = start(filter, limits, descriptors, False)
        for fd in descriptors:
            posix.close(fd)
        socket.send_fds(control, [b"S"], [pidfd])
        process, status, usage = finish(control, process, pidfd)
        control.send(report(status, usage))


serve()
