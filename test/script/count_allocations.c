/* Preloaded into a program (LD_PRELOAD), it counts what each thread takes from the heap and gives
 * back, in the file named by ALLOCATIONS_FILE, where a test reads it while the program runs: one
 * row {thread id, allocations, frees, bytes asked for, bytes held} of 64-bit numbers a thread. The
 * last is what it took less what it gave back, with what the heap keeps for itself in each block;
 * what another thread took may make it negative, so that only the sum of all tells. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROWS_MAX 256

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *memory);

struct row {
	_Atomic uint64_t thread, allocations, frees, bytes, held;
};

static struct row spare; /* before the file is there, and for threads beyond the table */
static struct row *rows;
static atomic_uint used;
static __thread struct row *mine __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void open_table(void)
{
	const char *path = getenv("ALLOCATIONS_FILE");
	int file = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (file < 0)
		return;
	if (ftruncate(file, ROWS_MAX * sizeof(struct row)) == 0) {
		void *map = mmap(NULL, ROWS_MAX * sizeof(struct row), PROT_READ | PROT_WRITE,
				 MAP_SHARED, file, 0);
		if (map != MAP_FAILED)
			rows = map;
	}
	close(file);
}

static struct row *row(void)
{
	if (mine)
		return mine;
	if (!rows)
		return &spare;
	unsigned number = atomic_fetch_add(&used, 1);
	mine = number < ROWS_MAX ? &rows[number] : &spare;
	atomic_store(&mine->thread, (uint64_t)syscall(SYS_gettid));
	return mine;
}

/* Of the heap, with its own word before the block. */
static void *hold(void *memory)
{
	if (memory)
		atomic_fetch_add_explicit(&row()->held, malloc_usable_size(memory) + sizeof(size_t),
					  memory_order_relaxed);
	return memory;
}

static void drop(void *memory)
{
	if (memory)
		atomic_fetch_sub_explicit(&row()->held, malloc_usable_size(memory) + sizeof(size_t),
					  memory_order_relaxed);
}

static void count(size_t size)
{
	struct row *to = row();
	atomic_fetch_add_explicit(&to->allocations, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&to->bytes, size, memory_order_relaxed);
}

void *malloc(size_t size)
{
	count(size);
	return hold(__libc_malloc(size));
}

void *calloc(size_t count_of, size_t size)
{
	count(count_of * size);
	return hold(__libc_calloc(count_of, size));
}

void *realloc(void *old, size_t size)
{
	count(size);
	drop(old);
	void *new = __libc_realloc(old, size);
	hold(new || size == 0 ? new : old); /* where it failed, the old block stays */
	return new;
}

void *memalign(size_t alignment, size_t size);
void *memalign(size_t alignment, size_t size)
{
	count(size);
	return hold(__libc_memalign(alignment, size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *memory = memalign(alignment, size);
	if (!memory)
		return ENOMEM;
	*out = memory;
	return 0;
}

void free(void *memory)
{
	if (memory)
		atomic_fetch_add_explicit(&row()->frees, 1, memory_order_relaxed);
	drop(memory);
	__libc_free(memory);
}
