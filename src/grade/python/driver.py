# Runs inside the sandbox. stdin: "MODE ENTRY_POINT CODE_SIZE\n", the candidate's code, and the rest
# as the mode says. Descriptor 3 is the verdict. No module but built-in ones is imported, so that a
# start costs milliseconds.
#
# cases:    the rest is a list of argument lists. The candidate is called with each, and what it
#           returns goes to the verdict: ["r", value] or ["x", text] for each case. Nothing here is
#           secret and nothing is judged here.
# program:  the rest is "TOKEN\nPROMPT_SIZE\n", the prompt and the test program. The candidate is
#           forked off before they are read, without stdin and verdict, and the test talks to it by
#           plain data. It can't reach this process: there is no /proc, and ptrace is denied. When the
#           test has ended well, the token goes to the verdict.
#
# Values travel as text (see code_values.c for the other side): N T F i1; f1.5; c1,2; s3:abc b3:abc
# l2:.. t2:.. e2:.. z2:.. d1:kv y1; o7; for None, True, False, int, float, complex, str, bytes, list,
# tuple, set, frozenset, dict, a built-in type and objects that stay on the candidate's side.
import posix
import sys

sys.path[:] = [path for path in sys.path if path]
sys.set_int_max_str_digits(0)
DEPTH = 200
STDIN, VERDICT = 0, 3


# Types that tests pass as arguments (`isinstance`), by their place here.
TYPES = (bool, int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, dict,
         type(None), object)


class Opaque(Exception):
    pass


# ---- values ----

def encode_sized(tag, data, out):
    out.append(b"%s%d:" % (tag, len(data)))
    out.append(data)


def encode_many(tag, values, out, opaque, depth):
    values = list(values)
    out.append(b"%s%d:" % (tag, len(values)))
    for value in values:
        encode(value, out, opaque, depth - 1)


def encode(value, out, opaque, depth=DEPTH):
    if depth == 0:
        raise Opaque("nested too deeply")
    if value is None:
        out.append(b"N")
    elif value is True:
        out.append(b"T")
    elif value is False:
        out.append(b"F")
    elif isinstance(value, int):
        out.append(b"i%d;" % int(value))
    elif isinstance(value, float):
        out.append(b"f%s;" % float.__repr__(value).encode())
    elif isinstance(value, complex):
        out.append(b"c%s,%s;" % (repr(value.real).encode(), repr(value.imag).encode()))
    elif isinstance(value, str):
        encode_sized(b"s", str.encode(value, "utf-8", "surrogatepass"), out)
    elif isinstance(value, (bytes, bytearray)):
        encode_sized(b"b", bytes(value), out)
    elif isinstance(value, list):
        encode_many(b"l", list.__iter__(value), out, opaque, depth)
    elif isinstance(value, tuple):
        encode_many(b"t", tuple.__iter__(value), out, opaque, depth)
    elif isinstance(value, frozenset):
        encode_many(b"z", frozenset.__iter__(value), out, opaque, depth)
    elif isinstance(value, set):
        encode_many(b"e", set.__iter__(value), out, opaque, depth)
    elif isinstance(value, dict):
        out.append(b"d%d:" % len(value))
        for key, item in list(dict.items(value)):
            encode(key, out, opaque, depth - 1)
            encode(item, out, opaque, depth - 1)
    else:
        for place, known in enumerate(TYPES):
            if value is known:
                out.append(b"y%d;" % place)
                return
        out.append(b"o%d;" % opaque(value))


def encoded(value, opaque):
    out = []
    encode(value, out, opaque)
    return b"".join(out)


def refuse(value):
    raise Opaque("a value of type %s" % type(value).__name__)


class Decoder:
    def __init__(self, data, resolve):
        self.data, self.at, self.resolve = data, 0, resolve

    def until(self, end):
        stop = self.data.index(end, self.at)
        text = self.data[self.at:stop]
        self.at = stop + 1
        return text

    def sized(self):
        size = int(self.until(b":"))
        if size < 0 or size > len(self.data) - self.at:
            raise ValueError("size")
        self.at += size
        return self.data[self.at - size:self.at]

    def many(self, depth):
        count = int(self.until(b":"))
        if count < 0 or count > len(self.data):
            raise ValueError("count")
        return [self.value(depth - 1) for _ in range(count)]

    def value(self, depth=DEPTH):
        if depth == 0:
            raise ValueError("depth")
        tag = self.data[self.at:self.at + 1]
        self.at += 1
        return DECODERS[tag](self, depth)


DECODERS = {
    b"N": lambda d, depth: None,
    b"T": lambda d, depth: True,
    b"F": lambda d, depth: False,
    b"i": lambda d, depth: int(d.until(b";")),
    b"f": lambda d, depth: float(d.until(b";")),
    b"c": lambda d, depth: complex(float(d.until(b",")), float(d.until(b";"))),
    b"s": lambda d, depth: d.sized().decode("utf-8", "surrogatepass"),
    b"b": lambda d, depth: d.sized(),
    b"l": lambda d, depth: d.many(depth),
    b"t": lambda d, depth: tuple(d.many(depth)),
    b"e": lambda d, depth: set(d.many(depth)),
    b"z": lambda d, depth: frozenset(d.many(depth)),
    b"d": lambda d, depth: {d.value(depth - 1): d.value(depth - 1)
                            for _ in range(int(d.until(b":")))},
    b"y": lambda d, depth: TYPES[int(d.until(b";"))],
    b"o": lambda d, depth: d.resolve(int(d.until(b";"))),
}


# ---- descriptors ----

def read_exactly(fd, size):
    parts = []
    while size > 0:
        part = posix.read(fd, min(size, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_line(fd):
    line = b""
    while not line.endswith(b"\n"):
        line += read_exactly(fd, 1)
    return line[:-1].decode()


def read_rest(fd):
    parts = []
    while part := posix.read(fd, 1 << 16):
        parts.append(part)
    return b"".join(parts)


def write_all(fd, data):
    while data:
        data = data[posix.write(fd, data):]


def send(fd, data):
    write_all(fd, len(data).to_bytes(8, "big") + data)


def receive(fd):
    return read_exactly(fd, int.from_bytes(read_exactly(fd, 8), "big"))


def silence():
    null = posix.open("/dev/null", posix.O_RDWR)
    for fd in (0, 1, 2):
        posix.dup2(null, fd)
    posix.close(null)


def describe(error):
    try:
        text = str(error)
    except BaseException:
        text = ""
    name = type(error).__name__
    return (name + ": " + text if text else name)[:300].encode("utf-8", "replace").decode()


# ---- the candidate's side ----

def load(code):
    module = type(sys)("candidate")
    sys.modules["candidate"] = module
    exec(compile(code, "candidate.py", "exec"), module.__dict__)
    return module.__dict__


def run_cases(code, entry_point):
    cases = Decoder(read_rest(STDIN), None).value()
    silence()
    failure = function = None
    try:
        function = load(code)[entry_point]
    except KeyError as error:
        failure = "%s is not defined" % entry_point if error.args == (entry_point,) \
            else describe(error)
    except BaseException as error:
        failure = describe(error)
    for arguments in cases:
        if failure is None:
            try:
                result = encoded(["r", function(*arguments)], refuse)
            except Opaque as error:
                result = encoded(["x", "returned " + str(error)], refuse)
            except BaseException as error:
                result = encoded(["x", describe(error)], refuse)
        else:
            result = encoded(["x", failure], refuse)
        write_all(VERDICT, result)
    posix._exit(0)


class Server:
    """Answers the test's requests: the candidate's objects stay here and travel as numbers."""

    def __init__(self, namespace, requests, replies):
        self.namespace, self.requests, self.replies = namespace, requests, replies
        self.objects = []

    def keep(self, value):
        self.objects.append(value)
        return len(self.objects) - 1

    def perform(self, verb, target, arguments, keywords):
        if verb == "name":
            if target in self.namespace:
                return True, self.namespace[target]
            return False, None
        return VERBS[verb](target, *arguments, **keywords)

    def answer(self, message):
        before = message
        verb, target, arguments, keywords = Decoder(
            message, lambda number: self.objects[number]).value()
        result = self.perform(verb, target, arguments, keywords)
        reply = ["r", result]
        if verb == "call" and arguments:
            after = encoded([verb, target, arguments, keywords], self.keep)
            if after != before:  # arguments changed in place are sent back
                reply.append(arguments)
        return encoded(reply, self.keep)

    def run(self):
        while True:
            message = receive(self.requests)
            try:
                reply = self.answer(message)
            except BaseException as error:
                reply = encoded(["x", type(error).__name__, describe(error)], refuse)
            send(self.replies, reply)


VERBS = {
    "call": lambda target, *arguments, **keywords: target(*arguments, **keywords),
    "get": getattr,
    "set": setattr,
    "item": lambda target, key: target[key],
    "put": lambda target, key, value: target.__setitem__(key, value),
    "length": len,
    "list": list,
    "contains": lambda target, value: value in target,
}


def run_candidate(code, requests, replies):
    silence()
    posix.close(VERDICT)
    try:
        namespace = load(code)
        send(replies, b"N")
    except BaseException as error:
        send(replies, encoded(describe(error), refuse))
        posix._exit(1)
    try:
        Server(namespace, requests, replies).run()
    finally:
        posix._exit(0)


# ---- the test's side ----

class Gone(BaseException):
    """The candidate's process has ended; a test must not catch it."""


class Client:
    def __init__(self, process, requests, replies):
        self.process, self.requests, self.replies = process, requests, replies

    def gone(self):
        if self.process is None:
            return Gone("the program has ended")
        status = posix.waitpid(self.process, 0)[1]
        self.process = None
        if posix.WIFSIGNALED(status):
            return Gone("the program was ended by signal %d" % posix.WTERMSIG(status))
        return Gone("the program ended itself")

    def end(self):
        """Waits for the candidate, so that the time it used is counted."""
        if self.process is not None:
            posix.kill(self.process, 9)
            posix.waitpid(self.process, 0)

    def resolve(self, number):
        return Remote(self, number)

    def receive(self):
        try:
            return Decoder(receive(self.replies), self.resolve).value()
        except EOFError:
            raise self.gone() from None

    def ask(self, verb, target, arguments=(), keywords={}):
        message = encoded([verb, target, list(arguments), keywords], number_of)
        try:
            send(self.requests, message)
        except OSError:
            raise self.gone() from None
        reply = self.receive()
        if reply[0] == "x":
            raise exception_of(reply[1], reply[2])
        if len(reply) == 3:
            for old, new in zip(arguments, reply[2]):
                update(old, new)
        return reply[1]


def update(old, new):
    if isinstance(old, list) and isinstance(new, list):
        old[:] = new
    elif isinstance(old, (dict, set)) and type(old) is type(new):
        old.clear()
        old.update(new)


def exception_of(name, text):
    kind = getattr(BUILTINS, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except TypeError:
            pass
    return Exception(text)


class Remote:
    """An object of the candidate's. It compares by identity: equality isn't its to decide."""

    def __init__(self, client, number):
        object.__setattr__(self, "_client", client)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments, **keywords):
        return self._client.ask("call", self, arguments, keywords)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self._client.ask("get", self, (name,))

    def __setattr__(self, name, value):
        self._client.ask("set", self, (name, value))

    def __getitem__(self, key):
        return self._client.ask("item", self, (key,))

    def __setitem__(self, key, value):
        self._client.ask("put", self, (key, value))

    def __len__(self):
        return self._client.ask("length", self)

    def __bool__(self):
        return True

    def __iter__(self):
        return iter(self._client.ask("list", self))

    def __contains__(self, value):
        return self._client.ask("contains", self, (value,)) is True


def number_of(value):
    if isinstance(value, Remote):
        return value._number
    raise TypeError("the test passes %s, which cannot be handed over" % type(value).__name__)


BUILTINS = sys.modules["builtins"]


def names_of(code):
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            names |= names_of(constant)
    return names


def bind(namespace, names, client):
    """Takes the candidate's values for these names; whether there was any."""
    count = 0
    for name in sorted(names):
        found, value = (False, None) if name.startswith("__") else client.ask("name", name)
        if found is True:
            namespace[name] = value
            count += 1
    return count > 0


def namespace_of(test, prompt, entry_point, client):
    """What the test finds: the prompt's helpers (not the candidate's), standard modules, and the
    candidate's functions for names that are neither."""
    namespace = {"__name__": "test"}
    try:
        exec(compile(prompt, "prompt.py", "exec"), namespace)
    except Exception:
        pass
    given = set(namespace) - {entry_point}
    wanted = {name for name in names_of(test) - given
              if not hasattr(BUILTINS, name) and name not in sys.stdlib_module_names}
    if entry_point:
        wanted.add(entry_point)
    if not bind(namespace, wanted, client):
        # Nothing was found: the function under test bears a built-in's name.
        bind(namespace, names_of(test) - given, client)
    return namespace


def import_missing(test, namespace):
    """Tests often lean on a module that the solution imports: they get the real one."""
    for name in names_of(test) & sys.stdlib_module_names:
        if name not in namespace:
            try:
                namespace[name] = __import__(name)
            except ImportError:
                pass


def line_of(error):
    line, trace = 0, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == "test.py":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def run_test(entry_point, client):
    token = read_line(STDIN)
    prompt = read_exactly(STDIN, int(read_line(STDIN)))
    text = read_rest(STDIN)
    failure = client.receive()
    if failure is not None:
        return "", str(failure)
    try:
        test = compile(text, "test.py", "exec")
        namespace = namespace_of(test, prompt, entry_point, client)
        import_missing(test, namespace)
        exec(test, namespace)
    except BaseException as error:
        line = line_of(error)
        return "", ("test line %d: " % line if line else "") + describe(error)
    return token, "passed"


def run_program(code, entry_point):
    requests, replies = posix.pipe(), posix.pipe()
    process = posix.fork()
    if process == 0:
        posix.close(requests[1])
        posix.close(replies[0])
        run_candidate(code, requests[0], replies[1])
    posix.close(requests[0])
    posix.close(replies[1])
    client = Client(process, requests[1], replies[0])
    token, reason = run_test(entry_point, client)
    client.end()
    write_all(VERDICT, (token + "\n" + reason).encode("utf-8", "replace"))
    posix._exit(0 if token else 1)


def main():
    mode, entry_point, size = read_line(STDIN).split(" ")
    code = read_exactly(STDIN, int(size))
    (run_cases if mode == "cases" else run_program)(code, entry_point)
