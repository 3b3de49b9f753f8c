/* For CRIU, where root lacks CAP_SYS_RESOURCE: limits of another user's process are read from /proc/PID/limits, which
 * everybody may read, in the place of prlimit(2), which shows them to root with that capability alone. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static long call(long number, const long *arguments)
{
	long result;
	register long fourth __asm__("r10") = arguments[3];
	register long fifth __asm__("r8") = arguments[4];
	register long sixth __asm__("r9") = arguments[5];

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(arguments[0]), "S"(arguments[1]), "d"(arguments[2]), "r"(fourth),
			   "r"(fifth), "r"(sixth)
			 : "rcx", "r11", "memory");
	return result;
}

static rlim_t value(const char *word)
{
	return strcmp(word, "unlimited") ? strtoull(word, NULL, 10) : RLIM_INFINITY;
}

/* Lines are in the order of the limits' numbers; a line is a name of several words, soft, hard, and perhaps a unit. */
static int read_limit(int pid, int which, struct rlimit *into)
{
	char path[64], line[256], soft[32], hard[32];
	int found = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/limits", pid);
	file = fopen(path, "re");
	if (!file)
		return -1;
	for (int row = -1; fgets(line, sizeof(line), file); row++) {
		if (row == which && strlen(line) > 26 && sscanf(line + 26, "%31s %31s", soft, hard) == 2) {
			into->rlim_cur = value(soft);
			into->rlim_max = value(hard);
			found = 0;
		}
	}
	fclose(file);
	return found;
}

long syscall(long number, ...)
{
	long arguments[6], result;
	va_list list;

	va_start(list, number);
	for (int at = 0; at < 6; at++)
		arguments[at] = va_arg(list, long);
	va_end(list);
	result = call(number, arguments);
	if (result == -EPERM && number == SYS_prlimit64 && !arguments[2] &&
	    !read_limit((int)arguments[0], (int)arguments[1], (struct rlimit *)arguments[3]))
		return 0;
	if (result < 0) {
		errno = (int)-result;
		return -1;
	}
	return result;
}
