#include "attacks.h"

#define LIE "\nfunction add(a, b) { return 0; }\n"

const struct attack attacks_javascript[] = {
	{"equal to everything",								       "function add(a, b) { return { valueOf: () => 5, toString: () => "
				"'5', equals: () => true }; }"},
	{"toJSON",											   "function add(a, b) { return { toJSON: () => 5 }; }"},
	{"a proxy","function add(a, b) { return new Proxy([], { get: () => 5 }); }"},
	{"a boxed number",										   "function add(a, b) { return new Number(5); }"},
	{"a thenable that never ends",											   "function add(a, b) { return { then: () => {} }; }"},
	{"Symbol.toPrimitive","function add(a, b) { return { [Symbol.toPrimitive]: () => 5 }; }"},
	{"process.exit",								"process.exit(0);"},
	{"process.exit in the call",											   "function add(a, b) { process.exit(0); }"},
	{"an exit handler",							       "process.on('exit', () => { process.exitCode = 0; });" LIE},
	{"killing all",									      "process.kill(-1, 'SIGKILL');" LIE},
	{"killing itself",											   "process.kill(process.pid, 'SIGKILL');"},
	{"an uncaught rejection","Promise.reject(new Error('x'));" LIE},
	{"stdout says passed",									   "console.log('passed'); require('fs').writeSync(1, 'passed');" LIE},
	{"writing a verdict",											   "const fs = require('fs');\nfor (let i = 3; i < 64; i++)\n  try { "
			      "fs.writeSync(i, 'passed'); } catch (e) {}\nprocess.exit(0);"},
	{"a verdict without end",
	 "const fs = require('fs');\nfor (;;) fs.writeSync(3, 'x'.repeat(65536));"},
	{"an output without end",
	 "const fs = require('fs');\nfor (;;) fs.writeSync(1, 'x'.repeat(65536));"},
	{"patched prototypes",
	 "Array.prototype.push = () => 5; Object.entries = () => []; Number.isSafeInteger = () => "
	 "true;\n"
	 "String.prototype.charCodeAt = () => 5; Buffer.from = () => Buffer.alloc(0);" LIE},
	{"patched fs",											       "require('fs').writeSync = () => 1;" LIE},
	{"a patched loader",									"const M = require('module'); M._load = () => ({});" LIE},
	{"the driver's source",
	 "const t = require('fs'); let s = process.execArgv.join(' ') + process.argv.join(' "
	 "');\nconst m = /expected\\D*(\\d+)/.exec(s);\nfunction add(a, b) { return m ? +m[1] : 0; "
	 "}"},
	{"stdin", "function add(a, b) { return +require('fs').readFileSync(0, 'utf8'); }"},
	{"the tests on disk",								     "function add(a, b) { return +require('fs').readFileSync('/tmp/' + "
			      "require('fs').readdirSync('/tmp')[0]); }"},
	{"/proc",											   "require('fs').readFileSync('/proc/self/environ');" LIE},
	{"an error's stack",                   "function add(a, b) { Error.prepareStackTrace = (e, s) => s; return "
			     "+new Error().stack[1].getThis(); }"},
	{"arguments.callee.caller",									"function add(a, b) { return add.caller.arguments[0]; }"},
	{"a worker",											   "const { Worker } = require('worker_threads');\nnew Worker('for (;;);', { "
		     "eval: true });\nnew Worker('for (;;);', { eval: true });" LIE},
	{"children",
	 "const { spawn } = require('child_process');\nfor (let i = 0; i < 40; i++) "
	 "spawn('/usr/bin/sleep', ['60'], { detached: true }).on('error', () => {});" LIE},
	{"a shell",									  "require('child_process').execSync('echo passed >&3');" LIE},
	{"a memory bomb",											   "const x = []; for (;;) x.push(Buffer.alloc(1 << 24, 1));"},
	{"a string bomb",											 "let s = 'x'; for (;;) s += s;"},
	{"recursion",										     "function add(a, b) { return add(a, b); }"},
	{"a loop",											   "for (;;);"},
	{"a slow expression",                    "/^(a+)+$/.test('a'.repeat(40) + 'b');" LIE},
	{"timers without end",										     "setInterval(() => {}, 1);" LIE},
	{"the network",											   "require('net').connect(80, '1.1.1.1').on('error', () => {});" LIE},
	{"writing elsewhere",
	 "const fs = require('fs');\nfor (const p of ['/usr/bin/node', '/parley-attack', "
	 "'/dev/shm/parley-attack'])\n  try "
	 "{ fs.writeFileSync(p, 'x'); globalThis.add = (a, b) => a + b; } catch (e) {}"},
	{"symlinks",								   "require('fs').symlinkSync('/', '/tmp/parley-attack'); "
		     "require('fs').readFileSync('/tmp/parley-attack/etc/passwd');" LIE},
	{"setuid",											   "process.setuid(0); function add(a, b) { return a + b; }"},
	{"a name that breaks out",         "} finally { process.exit(0) } //"},
	{"the inspector",										  "process.kill(process.pid, 'SIGUSR1');" LIE},
	{0											  },
};
