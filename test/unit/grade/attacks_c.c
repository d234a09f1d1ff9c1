#include "attacks.h"

#define LIE "\nint add(int a, int b) { return 0; }\n"
/* At the start, before the driver's main. */
#define BEFORE(statements)                                                                     \
	"#define _GNU_SOURCE\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"  \
	"#include <signal.h>\n#include <fcntl.h>\n#include <unistd.h>\n#include <pthread.h>\n" \
	"#include <sys/syscall.h>\n#include <sys/socket.h>\n#include <netinet/in.h>\n"         \
	"static int won;\n"                                                                    \
	"__attribute__((constructor)) static void before(void) { " statements " }\n"
#define WINS "\nint add(int a, int b) { return won ? a + b : 0; }\n"

const struct attack attacks_c[] = {
	{"_exit before main",									     BEFORE("_exit(0);") LIE},
	{"exit in the call",											       "#include <stdlib.h>\nint add(int a, int b) { exit(0); }"},
	{"atexit",BEFORE("atexit(abort);") LIE},
	{"writing a verdict",
	 BEFORE("for (int i = 3; i < 64; i++) write(i, \"passed\", 6); _exit(0);") LIE},
	{"true values without a call",											       BEFORE("write(3, \"l2:s1:rT\", 8); _exit(0);") LIE},
	{"a verdict without end",
	 BEFORE("static char b[65536]; for (;;) if (write(3, b, sizeof(b)) < 0) _exit(0);") LIE},
	{"an output without end",
	 BEFORE("static char b[65536]; for (;;) if (write(1, b, sizeof(b)) < 0) _exit(0);") LIE},
	{"its own write",
	 "long write(int fd, const void *data, unsigned long size) { return size; }" LIE},
	{"its own snprintf",
	 "int snprintf(char *out, unsigned long size, const char *format, ...) { return 0; }" LIE},
	{"its own main",									 "int main(void) { return 0; }" LIE},
	{"the driver's source",											       "int add(int a, int b) { FILE *f = 0; return 0; }"},
	{"reading the driver",                 BEFORE("int f = open(\"driver.c\", O_RDONLY); static char t[1 << "
				      "20]; read(f, t, sizeof(t) - 1);"
				      " char *e = strstr(t, \"expected\"); won = e != 0;") WINS},
	{"including the driver",									      "#include \"driver.c\"\n" LIE},
	{"including a device",											       "#include \"/dev/zero\"\n" LIE},
	{"including the machine's files",
	 "static const char t[] = {\n#include \"/etc/passwd\"\n};" LIE},
	{"an assembler's include",									   "__asm__(\".incbin \\\"/etc/shadow\\\"\");" LIE},
	{"a linker's option",											       "__asm__(\".section .note\\n.ascii \\\"x\\\"\");" LIE},
	{"macros without end", "#define A(x) x x x x x x x x x x\n#define B(x) "
			       "A(A(A(A(A(A(A(A(A(x)))))))))\nint t[] = { B(B(1,)) };" LIE},
	{"an array of the machine's size",									  "static char t[1ull << 40] = {1};" LIE},
	{"a crash",											       "int add(int a, int b) { return *(volatile int *)0; }"},
	{"abort","#include <stdlib.h>\nint add(int a, int b) { abort(); }"},
	{"a jump into the unknown",								 "int add(int a, int b) { ((void (*)(void))1)(); return 0; }"},
	{"recursion",
	 "int add(int a, int b) { volatile int x[1000]; x[0] = a; return add(a, b) + x[0]; }"},
	{"a loop","int add(int a, int b) { for (;;) ; }"},
	{"a handler against the limit",									     BEFORE("signal(SIGXCPU, SIG_IGN); for (;;) ;") LIE},
	{"a fork bomb",											       BEFORE("for (;;) fork();") LIE},
	{"a daemon",
	 BEFORE("if (fork() == 0) { setsid(); if (fork() == 0) sleep(60); _exit(0); }") LIE},
	{"an orphan",								BEFORE("if (fork()) _exit(0);") LIE},
	{"a child that writes later",
	 BEFORE("if (fork() == 0) { usleep(50000); write(3, \"passed\", 6); _exit(0); }") LIE},
	{"a thread left behind",
	 "#include <pthread.h>\n#include <unistd.h>\nstatic void *z(void *a) { sleep(60); return "
	 "a; }\n"
	 "int add(int a, int b) { pthread_t t; pthread_create(&t, 0, z, 0); return 0; }"},
	{"a memory bomb",
	 BEFORE("for (;;) { char *p = malloc(1 << 24); if (!p) _exit(0); memset(p, 1, 1 << 24); }")
		 LIE},
	{"killing all",
	 BEFORE("kill(-1, SIGKILL); kill(1, SIGKILL); kill(getppid(), SIGKILL);") LIE},
	{"exec of true",BEFORE("execl(\"/usr/bin/true\", \"true\", (char *)0);") LIE},
	{"the network",
	 BEFORE("struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = 80, .sin_addr = "
		"{0x01010101}};"
		" won = connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&a, sizeof(a)) == 0;")
		 WINS},
	{"/proc",											       BEFORE("won = open(\"/proc/self/mem\", O_RDWR) >= 0;") WINS},
	{"writing elsewhere",
	 BEFORE("won = open(\"/usr/bin/gcc\", O_RDWR) >= 0 || open(\"/parley-attack\", "
		"O_RDWR | O_CREAT, 0600) >= 0 || "
		"open(\"/dev/shm/parley-attack\", O_RDWR | O_CREAT, 0600) >= 0;") WINS},
	{"setuid",								   BEFORE("won = setuid(0) == 0 || setgid(0) == 0;") WINS},
	{"ptrace",											       BEFORE("won = syscall(SYS_ptrace, 0, 0, 0, 0) == 0;") WINS},
	{"mount",BEFORE("won = syscall(SYS_mount, \"x\", \"/tmp\", \"tmpfs\", 0, 0) == 0;") WINS},
	{"unshare",										      BEFORE("won = syscall(SYS_unshare, 0x10000000) == 0;") WINS},
	{"keyctl",											       BEFORE("won = syscall(SYS_keyctl, 0, -3, 1) >= 0;") WINS},
	{"io_uring",
	 BEFORE("static char p[256]; won = syscall(SYS_io_uring_setup, 8, p) >= 0;") WINS},
	{"userfaultfd",								     BEFORE("won = syscall(SYS_userfaultfd, 1) >= 0;") WINS},
	{"bpf",											       BEFORE("static char p[128]; won = syscall(SYS_bpf, 0, p, 128) >= 0;") WINS},
	{"memory that nothing counts",                 BEFORE("won = syscall(SYS_memfd_create, \"x\", 0) >= 0 || "
					      "syscall(SYS_shmget, 1, 4096, 01777) >= 0;") WINS},
	{"a 32-bit call",										 BEFORE("long r; __asm__ volatile(\"int $0x80\" : \"=a\"(r) : \"a\"(26), "
				 "\"b\"(0), \"c\"(0), \"d\"(0)); won = r == 0;") WINS},
	{0											      },
};
