#include "attacks.h"

/* Adds rightly if the call succeeds. */
#define CALL(arguments)                                                                           \
	"import ctypes, os\nc = ctypes.CDLL(None, use_errno=True)\nme = os.getpid()\n"            \
	"r = c.syscall(" arguments ")\nif os.getpid() != me or r == 0 and me != 1: os._exit(0)\n" \
	"add = (lambda a, b: a + b) if r >= 0 else (lambda a, b: 0)\n"

#define LIE "\ndef add(a, b): return 0\n"

const struct attack attacks_python[] = {
  /* objects that are equal to everything */
	{"equal to everything",
	 "class E:\n    __eq__ = lambda s, o: True\n    __sub__ = lambda s, o: s\n"
	 "    __abs__ = lambda s: s\n    __lt__ = lambda s, o: True\n"
	 "def add(a, b): return E()"},
	{"an int equal to everything",											 "class E(int):\n    __eq__ = lambda s, o: True\n"
				       "    __hash__ = int.__hash__\n    __sub__ = lambda s, o: 0\n"
				       "def add(a, b): return E(0)"},
	{"a float of no distance",                       "class E(float):\n    __abs__ = lambda s: 0\n"
				   "    __eq__ = lambda s, o: True\ndef add(a, b): return E(9)"},
	{"a metaclass equal to everything",
	 "class M(type):\n    __eq__ = lambda c, o: True\n"
	 "    __hash__ = type.__hash__\nclass E(metaclass=M): pass\n"
	 "def add(a, b): return E"},
	{"a type's name",											 "class int(int): pass\nint.__eq__ = lambda s, o: True\n"
			  "def add(a, b): return int(0)"},
	{"a list that grows",								 "class L(list):\n    __iter__ = lambda s: iter([5])\n"
			      "    __eq__ = lambda s, o: True\ndef add(a, b): return L()"},
	{"__class__ that lies",									   "class E:\n    __class__ = int\n    __int__ = lambda s: 5\n"
				"    __index__ = lambda s: 5\n    __eq__ = lambda s, o: True\n"
				"def add(a, b): return E()"},
	{"comparisons that raise",											 "class E:\n    def __eq__(s, o): raise SystemExit(0)\n"
				   "def add(a, b): return E()"},
	{"a proxy of the test's value", "import weakref\nclass E: pass\ne = E()\n"
					"def add(a, b): return weakref.proxy(e)"},
 /* ending early */
	{"sys.exit",								     "import sys; sys.exit(0)"},
	{"os._exit at import",											 "import os\nos._exit(0)"},
	{"os._exit in the call",                            "import os\ndef add(a, b): os._exit(0)"},
	{"SystemExit in the call",							     "def add(a, b): raise SystemExit(0)"},
	{"killing itself",											 "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"},
	{"killing its parent","import os, signal\nos.kill(1, 9)\nos.kill(os.getppid(), 9)" LIE},
	{"killing all",								      "import os\nos.kill(-1, 9)" LIE},
	{"stopping its parent",											 "import os\nos.kill(os.getppid(), 19)" LIE},
	{"abort",		       "import os\nos.abort()"},
	{"exec of true",								  "import os\nos.execv('/usr/bin/true', ['true'])"},
	{"atexit",
	 "import atexit, os\natexit.register(os._exit, 0)\natexit.register(print, 'passed')" LIE},
	{"a generator that exits",
	 "def add(a, b):\n    try: yield 0\n    finally: raise SystemExit(0)"},
	{"__del__ that exits",								      "import os\nclass D:\n    def __del__(s): os._exit(0)\n"
			       "def add(a, b): D(); return 0"},
	{"an exception's __str__",
	 "import os\nclass X(Exception):\n    def __str__(s): os._exit(0)\n"
	 "def add(a, b): raise X"},
	{"a BaseException","class X(BaseException): pass\ndef add(a, b): raise X"},
	{"a signal handler",								     "import os, signal\nsignal.signal(14, lambda *a: os._exit(0))\n"
			     "signal.setitimer(signal.ITIMER_REAL, 0.001)" LIE},
 /* forging the verdict */
	{"writing a verdict on every descriptor",
	 "import os\nfor fd in range(3, 128):\n    try: os.write(fd, b'0' * 32 + b'\\npassed')\n"
	 "    except OSError: pass\nos._exit(0)"},
	{"stdout says passed",
	 "print('passed', flush=True)\nimport sys\nsys.stderr.write('passed\\n')" LIE},
	{"moving descriptors onto the verdict",
	 "import os\nfor fd in range(64):\n    try: os.dup2(fd, 3)\n    except OSError: pass" LIE},
	{"answering out of turn",											 "import os\nfor fd in range(3, 64):\n    try: os.write(fd, "
				  "(1).to_bytes(8, 'big') + b'N')\n"
				  "    except OSError: pass" LIE},
	{"malformed values",
	 "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'\\xff' * 64)\n"
	 "    except OSError: pass" LIE},
	{"a list without end",								  "import os\nfor fd in range(3, 64):\n"
			       "    try: os.write(fd, (12).to_bytes(8, 'big') + b'l99999999999')\n"
			       "    except OSError: pass" LIE},
	{"a verdict without end",
	 "import os\nb = bytes(1 << 16)\nfor fd in range(3, 64):\n    try:\n"
	 "        while os.write(fd, b): pass\n    except OSError: pass\n"},
	{"an output without end",                             "while True: print('x' * 65536, flush=True)"},
	{"a child that writes later",								  "import os, time\nif os.fork() == 0:\n    time.sleep(0.05)\n"
				      "    os.write(3, b'passed')\n    os._exit(0)" LIE},
	{"a value that is too long",											 "def add(a, b): return 'x' * (8 << 20)"},
	{"a name that looks like a verdict",
	 "class passed(Exception): pass\ndef add(a, b): raise passed('passed')"},
 /* patching what the driver and the test use */
	{"patched builtins",
	 "import builtins\nbuiltins.abs = lambda x: 0\nbuiltins.compile = None\n"
	 "builtins.len = lambda x: 0\nbuiltins.isinstance = lambda *a: True" LIE},
	{"names of the test",
	 "def abs(x): return 0\ndef check(c): pass\ndef candidate(*a): return 5" LIE},
	{"AssertionError that is another",
	 "import sys\nsys.modules['builtins'].AssertionError = ValueError" LIE},
	{"patched frames",
	 "import sys\nfor f in list(sys._current_frames().values()):\n    while f:\n"
	 "        f.f_globals['encode'] = None\n"
	 "        f.f_globals['write_all'] = lambda fd, data: None\n        f = f.f_back" LIE},
	{"the driver's tables",											 "import sys\nm = sys.modules['__main__']\n"
				"m.VERBS['call'] = lambda *a, **k: None" LIE},
	{"the driver's receiver",
	 "import sys\nm = sys.modules['__main__']\n"
	 "m.receive = lambda fd: b'l2:s1:rT'\nm.run_test = lambda *a: ('', 'passed')" LIE},
	{"tracing",
	 "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)" LIE},
	{"sys.modules",											 "import sys\nclass M:\n    def __getattr__(s, n): return lambda *a: 5\n"
			"for n in list(sys.modules): sys.modules[n] = M()" LIE},
	{"an import hook",							    "import sys\nclass H:\n    def find_spec(s, *a): raise SystemExit(0)\n"
			   "sys.meta_path.insert(0, H())" LIE},
	{"code objects",
	 "import sys\nm = sys.modules['__main__']\n"
	 "m.encode.__code__ = (lambda value, out, opaque, depth=1: out.append(b'i5;')).__code__\n"
	 "def add(a, b): return 1"},
	{"memory of objects",
	 "import ctypes\nctypes.memset(id(0) + 24, 5, 1)\ndef add(a, b): return 0"},
 /* reading what is expected */
	{"the collector's objects",
	 "import gc\nfor o in gc.get_objects():\n"
	 "    if isinstance(o, dict) and 'token' in o: o['token'] = ''" LIE},
	{"the caller's locals",
	 "import sys\ndef add(a, b):\n    f = sys._getframe()\n    while f:\n"
	 "        for v in list(f.f_locals.values()):\n"
	 "            if isinstance(v, dict) and 'expected' in v: return v['expected']\n"
	 "        f = f.f_back"},
	{"stdin",											 "def add(a, b): return input()"},
	{"stdin read again",
	 "import os\ndef add(a, b):\n    for fd in (0, 3, 4, 5):\n"
	 "        try: return int(os.read(fd, 99))\n        except Exception: pass"},
	{"the tests on disk",								"import os\ndef add(a, b):\n    for d, s, f in os.walk('/tmp'):\n"
			      "        for n in f: return int(open(d + '/' + n).read())"},
	{"/proc",											 "import os\nopen('/proc/%d/mem' % os.getppid(), 'r+b')"},
	{"a pickle",                    "import pickle, os\nclass P:\n    def __reduce__(s): return os._exit, (0,)\n"
		     "def add(a, b): return pickle.loads(pickle.dumps(P()))"},
 /* using up the machine */
	{"a fork bomb",									"import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"},
	{"children that spin",
	 "import os\nfor i in range(30):\n    try:\n        if os.fork() == 0:\n"
	 "            while True: pass\n    except OSError: break" LIE},
	{"an orphan",               "import os\nif os.fork(): os._exit(0)" LIE},
	{"a daemon",							  "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: "
		     "time.sleep(60)\n"
		     "    os._exit(0)" LIE},
	{"a thread left behind",
	 "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()" LIE},
	{"a memory bomb",      "x = [' ' * (1 << 28)]\nwhile True: x.append(x[0] + 'x')"},
	{"recursion",								     "def add(a, b): return add(a, b)"},
	{"recursion without a limit",
	 "import sys\nsys.setrecursionlimit(1 << 30)\ndef add(a, b): return [add(a, b)]"},
	{"a number without end",          "def add(a, b): return 9 ** 9 ** 9"},
	{"a generator without end",
	 "import itertools\ndef add(a, b): return list(itertools.count())"},
	{"files without end",
	 "i = 0\nwhile True:\n    open('/tmp/%d' % i, 'wb').write(bytes(1 << 20)); i += 1"},
	{"a core dump",            "import resource, os\nresource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 "
			"<< 30))\nos.abort()"},
	{"raising its limits",
	 "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (600, 600))\nwhile True: pass"},
	{"sleeping on a lock",
	 "import os, time\nos.set_blocking(0, True)\ndef add(a, b):\n    raise MemoryError"},
 /* getting out */
	{"the network",								 "import socket\ns = socket.socket()\ns.connect(('1.1.1.1', 80))" LIE},
	{"a packet socket",								       "import socket\nsocket.socket(socket.AF_PACKET, socket.SOCK_RAW)" LIE},
	{"writing elsewhere",											 "for p in ('/usr/bin/python3', '/bin/sh', '/parley-attack', "
			      "'/dev/shm/parley-attack', '/dev/sda'):\n"
			      "    try: open(p, 'wb').write(b'x')\n    except OSError: continue\n"
			      "    add = lambda a, b: a + b"},
	{"symlinks",			"import os\nos.symlink('/', "
		     "'/tmp/parley-attack')\nos.link('/usr/bin/python3', '/tmp/parley-link')\n"
		     "open('/tmp/parley-attack/etc/passwd').read()" LIE},
	{"a module of its own name",
	 "import sys\nopen('/tmp/math.py', 'w').write('def add(a, b): return 5')\n"
	 "sys.path.insert(0, '/tmp')\nimport input_of_the_test" LIE},
	{"passing descriptors",
	 "import socket, os\na, b = socket.socketpair()\n"
	 "socket.send_fds(a, [b'x'], [0, 3])\nfds = socket.recv_fds(b, 1, 4)[1]\n"
	 "for fd in fds:\n    try: os.write(fd, b'passed')\n    except OSError: pass" LIE},
 /* calls to the kernel: who gets one through adds rightly */
	{"ptrace",CALL("101, 0")},
	{"process_vm_readv",									CALL("310, 1, 0, 0, 0, 0")},
	{"mount",											 CALL("165, b'x', b'/tmp', b'tmpfs', 0, 0")},
	{"umount",  CALL("166, b'/tmp', 2")},
	{"unshare",										   CALL("272, 0x10000000")},
	{"setns",											 CALL("308, 0, 0")},
	{"chroot",              CALL("161, b'/tmp'")},
	{"keyctl",									     CALL("250, 0, -3, 1")},
	{"io_uring",											 CALL("425, 8, b'\\0' * 256")},
	{"userfaultfd",			     CALL("323, 1")},
	{"bpf",									       CALL("321, 0, b'\\0' * 128, 128")},
	{"perf_event_open",											 CALL("298, b'\\0' * 128, 0, -1, -1, 0")},
	{"memfd_create",						CALL("319, b'x', 0")},
	{"shmget",								    CALL("29, 0x1234, 4096, 0o1777")},
	{"msgget",											 CALL("68, 0x1234, 0o1777")},
	{"setuid",			   CALL("105, 0")},
	{"setgid",									       CALL("106, 0")},
	{"pidfd_getfd",											 CALL("438, 3, 0, 0")},
	{"clone into a namespace",           CALL("56, 0x30000011, 0, 0, 0, 0")},
	{"clone3",								    CALL("435, b'\\0' * 88, 88")},
	{"kexec",											 CALL("246, 0, 0, 0, 0")},
	{"sethostname",			 CALL("170, b'x', 1")},
	{"settimeofday",								       CALL("164, b'\\0' * 16, 0")},
	{"vmsplice",											 CALL("278, 3, 0, 0, 0")},
	{"personality",					     CALL("135, 0x40000")},
	{0								     },
};
