/* What the parts of the fake driver share: the script, the log of calls, and the page that a process keeps. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The file in this variable is the script; see README.md beside this file for its lines. */
#define SCRIPT_VARIABLE "GLOWPLUG_FAKE_DRIVER"

/* Where cuInit maps a process's page, so that another process can find it with process_vm_readv(2). */
#define PAGE_ADDRESS 0x7e0000000000UL
#define PAGE_MAGIC 0x676c6f77706c7567UL

enum { STATE_RUNNING, STATE_LOCKED, STATE_CHECKPOINTED, STATE_FAILED };

struct page {
	uint64_t magic;
	volatile int32_t state;     /* one of STATE_… */
	volatile int32_t wanted;    /* the state that the restore thread has to bring about; -1 for none */
	volatile int32_t restore_tid; /* in the process's own PID namespace */
};

/* Copies the first script line that starts with KEYWORD, with the words after it filled into out[]; the words
 * `first` and `second` of the line must be equal to those passed, or `any` in the script. 0 when there is none. */
int script_find(const char *keyword, const char *first, const char *second, char out[][256], int most);
/* The nth script line that starts with KEYWORD, split into words. Returns their number, 0 when there is none. */
int script_nth(const char *keyword, int nth, char out[][256], int most);
/* Appends one line to the script's .calls file. */
void log_call(const char *format, ...) __attribute__((format(printf, 1, 2)));
