/* A stand-in for the NVIDIA driver's libcuda.so.1: cuInit, and the checkpoint functions of CUDA 13.0.
 *
 * A process that calls cuInit gets a page with its CUDA state, and a thread `cuda-restore` without which nothing
 * is checkpointed or restored: both travel with the process through a CRIU dump, as the real driver's do. */
#include "fake.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
	CUDA_SUCCESS = 0,
	CUDA_ERROR_INVALID_VALUE = 1,
	CUDA_ERROR_NOT_INITIALIZED = 3,
	CUDA_ERROR_NO_DEVICE = 100,
	CUDA_ERROR_ILLEGAL_STATE = 401,
	CUDA_ERROR_NOT_FOUND = 500,
	CUDA_ERROR_NOT_READY = 600,
	CUDA_ERROR_NOT_SUPPORTED = 801,
	CUDA_ERROR_UNKNOWN = 999,
};

static const struct {
	int result;
	const char *name, *sentence;
} words[] = {
	{ CUDA_SUCCESS, "CUDA_SUCCESS", "no error" },
	{ CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument" },
	{ 2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory" },
	{ CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error" },
	{ CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected" },
	{ CUDA_ERROR_ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE",
	  "the operation cannot be performed in the present state" },
	{ CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found" },
	{ CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready" },
	{ CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported" },
	{ 803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
	  "system has unsupported display driver / cuda driver combination" },
	{ CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error" },
};

struct pair {
	unsigned char old[16], new[16];
};

struct restore_args {
	struct pair *pairs;
	unsigned count;
	unsigned char reserved[52];
};

static struct page *const own = (struct page *)PAGE_ADDRESS;
static int initialised;

static void nap(long milliseconds)
{
	struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
	while (nanosleep(&time, &time) && errno == EINTR)
		;
}

/* The restore thread: brings about the state that a checkpoint or restore call asks of this process. */
static void *restore_thread(void *unused)
{
	(void)unused;
	prctl(PR_SET_NAME, "cuda-restore");
	own->restore_tid = (int)syscall(SYS_gettid);
	for (;;) {
		nap(2);
		if (own->wanted >= 0) {
			own->state = own->wanted;
			own->wanted = -1;
		}
	}
	return NULL;
}

int cuInit(unsigned flags)
{
	char line[8][256];
	pthread_t thread;
	sigset_t all, before;
	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (script_find("init", NULL, NULL, line, 8) && atoi(line[1]))
		return atoi(line[1]);
	if (initialised)
		return CUDA_SUCCESS;
	if (mmap(own, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != own)
		return CUDA_ERROR_UNKNOWN;
	own->state = STATE_RUNNING;
	own->wanted = -1;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int failed = pthread_create(&thread, NULL, restore_thread, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed)
		return CUDA_ERROR_UNKNOWN;
	while (!own->restore_tid)
		nap(1);
	own->magic = PAGE_MAGIC;
	initialised = 1;
	return CUDA_SUCCESS;
}

int cuDriverGetVersion(int *version)
{
	char line[8][256];
	*version = script_find("cuda", NULL, NULL, line, 8) ? atoi(line[1]) : 13000;
	return CUDA_SUCCESS;
}

int cuGetErrorName(int result, const char **name)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (words[i].result == result) {
			*name = words[i].name;
			return CUDA_SUCCESS;
		}
	*name = NULL;
	return CUDA_ERROR_INVALID_VALUE;
}

int cuGetErrorString(int result, const char **sentence)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (words[i].result == result) {
			*sentence = words[i].sentence;
			return CUDA_SUCCESS;
		}
	*sentence = NULL;
	return CUDA_ERROR_INVALID_VALUE;
}

static int copy_page(int pid, struct page *page, int out)
{
	struct iovec here = { page, sizeof *page }, there = { (void *)PAGE_ADDRESS, sizeof *page };
	ssize_t done = out ? process_vm_writev(pid, &here, 1, &there, 1, 0) : process_vm_readv(pid, &here, 1, &there, 1, 0);
	if (done < 0 && errno == ESRCH)
		return CUDA_ERROR_INVALID_VALUE;
	return done == sizeof *page && page->magic == PAGE_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
}

/* What the script says of this call: a delay, a hang, a result; then whether the caller is initialised. */
static int begin(const char *call, int pid)
{
	char line[8][256], who[16];
	snprintf(who, sizeof who, "%d", pid);
	if (script_find("needs-init", NULL, NULL, line, 8) && !initialised)
		return CUDA_ERROR_NOT_INITIALIZED;
	if (script_find("delay", call, who, line, 8))
		nap(atoi(line[3]));
	while (script_find("hang", call, who, line, 8))
		nap(20);
	if (script_find("crash", call, who, line, 8))
		_exit(139);
	if (script_find("fail", call, who, line, 8))
		return atoi(line[3]);
	return CUDA_SUCCESS;
}

/* Runnable threads of a process other than its restore thread: what a ptrace hold is there to prevent. */
static int others_running(int pid, int restore_tid)
{
	char path[64], line[128], state;
	int count = 0;
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *folder = opendir(path);
	for (struct dirent *entry; folder && (entry = readdir(folder));) {
		int tid = atoi(entry->d_name);
		if (tid <= 0 || tid == restore_tid)
			continue;
		snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, tid);
		FILE *status = fopen(path, "re");
		while (status && fgets(line, sizeof line, status))
			if (sscanf(line, "State: %c", &state) == 1 && state != 'T' && state != 't')
				count++;
		if (status)
			fclose(status);
	}
	if (folder)
		closedir(folder);
	return count;
}

/* The host's TID of the restore thread, found by its name, as its own PID namespace may be another. */
static int host_tid(int pid)
{
	char path[64], name[32];
	int found = 0;
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *folder = opendir(path);
	for (struct dirent *entry; folder && !found && (entry = readdir(folder));) {
		snprintf(path, sizeof path, "/proc/%d/task/%d/comm", pid, atoi(entry->d_name));
		FILE *comm = fopen(path, "re");
		if (comm && fgets(name, sizeof name, comm) && !strcmp(name, "cuda-restore\n"))
			found = atoi(entry->d_name);
		if (comm)
			fclose(comm);
	}
	if (folder)
		closedir(folder);
	return found;
}

/* Moves a process from one state to another; `by_thread`: only its restore thread can, so wait for it. */
static int move(int pid, int from, int to, int by_thread)
{
	struct page page;
	int result = copy_page(pid, &page, 0);
	if (result)
		return result;
	if (page.state != from)
		return CUDA_ERROR_ILLEGAL_STATE;
	if (by_thread)
		page.wanted = to;
	else
		page.state = to;
	result = copy_page(pid, &page, 1);
	for (int waited = 0; by_thread && !result && page.wanted >= 0 && waited < 60000; waited += 5) {
		nap(5);
		result = copy_page(pid, &page, 0);
	}
	return result ? result : page.state == to ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

static int zeroed(const unsigned char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (bytes[i])
			return 0;
	return 1;
}

int cuCheckpointProcessGetState(int pid, int *state)
{
	char line[8][256], who[16];
	struct page page;
	log_call("state %d", pid);
	int result = begin("state", pid);
	if (!result)
		result = copy_page(pid, &page, 0);
	if (result)
		return result;
	snprintf(who, sizeof who, "%d", pid);
	*state = script_find("state", who, NULL, line, 8) ? atoi(line[2]) : page.state;
	return CUDA_SUCCESS;
}

int cuCheckpointProcessGetRestoreThreadId(int pid, int *tid)
{
	struct page page;
	log_call("restore-thread %d", pid);
	int result = begin("restore-thread", pid);
	if (!result)
		result = copy_page(pid, &page, 0);
	if (!result)
		*tid = host_tid(pid);
	return result ? result : *tid ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
}

int cuCheckpointProcessLock(int pid, const unsigned char *args)
{
	unsigned timeout;
	memcpy(&timeout, args, sizeof timeout);
	log_call("lock %d timeout=%u", pid, timeout);
	if (!zeroed(args + sizeof timeout, 60))
		return CUDA_ERROR_INVALID_VALUE;
	int result = begin("lock", pid);
	return result ? result : move(pid, STATE_RUNNING, STATE_LOCKED, 0);
}

int cuCheckpointProcessCheckpoint(int pid, const unsigned char *args)
{
	log_call("checkpoint %d", pid);
	if (!zeroed(args, 64))
		return CUDA_ERROR_INVALID_VALUE;
	int result = begin("checkpoint", pid);
	return result ? result : move(pid, STATE_LOCKED, STATE_CHECKPOINTED, 1);
}

static int mapped(const struct pair *pairs, unsigned count, const unsigned char *uuid)
{
	for (unsigned i = 0; i < count; i++)
		if (!memcmp(pairs[i].old, uuid, 16))
			return 1;
	return 0;
}

static void uuid_bytes(const char *text, unsigned char *bytes)
{
	int digits = 0;
	memset(bytes, 0, 16);
	for (text += 4; *text && digits < 32; text++) {
		char digit[2] = { *text, 0 };
		if (*text != '-') {
			bytes[digits / 2] |= (unsigned char)(strtol(digit, NULL, 16) << (digits % 2 ? 0 : 4));
			digits++;
		}
	}
}

int cuCheckpointProcessRestore(int pid, const struct restore_args *args)
{
	char line[16][256];
	unsigned char uuid[16];
	log_call("restore %d pairs=%u others-running=%d", pid, args->count, others_running(pid, host_tid(pid)));
	if (!zeroed(args->reserved, sizeof args->reserved))
		return CUDA_ERROR_INVALID_VALUE;
	/* The real driver wants every device that the process could open in the map, or no map. */
	int could_open_all = !script_nth("isolated", 0, line, 16);
	for (int n = 0; could_open_all && args->count && script_nth("gpu", n, line, 16); n++) {
		uuid_bytes(line[2], uuid);
		if (!mapped(args->pairs, args->count, uuid))
			return CUDA_ERROR_INVALID_VALUE;
	}
	int result = begin("restore", pid);
	return result ? result : move(pid, STATE_CHECKPOINTED, STATE_LOCKED, 1);
}

int cuCheckpointProcessUnlock(int pid, const unsigned char *args)
{
	log_call("unlock %d others-running=%d", pid, others_running(pid, host_tid(pid)));
	if (!zeroed(args, 64))
		return CUDA_ERROR_INVALID_VALUE;
	int result = begin("unlock", pid);
	return result ? result : move(pid, STATE_LOCKED, STATE_RUNNING, 0);
}

int cuDeviceGetCount(int *count)
{
	char line[16][256];
	for (*count = 0; script_nth("gpu", *count, line, 16);)
		++*count;
	return CUDA_SUCCESS;
}

int cuDeviceGet(int *device, int ordinal)
{
	*device = ordinal;
	return CUDA_SUCCESS;
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
	char line[8][256], ordinal[16];
	snprintf(ordinal, sizeof ordinal, "%d", device);
	*context = own;
	return script_find("context", ordinal, NULL, line, 8) ? atoi(line[2]) : CUDA_SUCCESS;
}

int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status)
{
	static const struct {
		const char *name;
		void *function;
	} table[] = {
		{ "cuCheckpointProcessGetState", cuCheckpointProcessGetState },
		{ "cuCheckpointProcessGetRestoreThreadId", cuCheckpointProcessGetRestoreThreadId },
		{ "cuCheckpointProcessLock", cuCheckpointProcessLock },
		{ "cuCheckpointProcessCheckpoint", cuCheckpointProcessCheckpoint },
		{ "cuCheckpointProcessRestore", cuCheckpointProcessRestore },
		{ "cuCheckpointProcessUnlock", cuCheckpointProcessUnlock },
	};
	char line[8][256];
	(void)flags;
	*function = NULL;
	*status = 1;
	if (version < 12080 || script_find("without", name, NULL, line, 8))
		return CUDA_ERROR_NOT_FOUND;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (!strcmp(table[i].name, name)) {
			*function = table[i].function;
			*status = 0;
			return CUDA_SUCCESS;
		}
	return CUDA_ERROR_NOT_FOUND;
}
