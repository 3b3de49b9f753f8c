/* A stand-in for NVIDIA's cuda-checkpoint program, on the fake libcuda: its flags, its output, its exit status. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cuCheckpointProcessGetState(int, int *);
int cuCheckpointProcessGetRestoreThreadId(int, int *);
int cuCheckpointProcessLock(int, const void *);
int cuCheckpointProcessCheckpoint(int, const void *);
int cuCheckpointProcessRestore(int, const void *);
int cuCheckpointProcessUnlock(int, const void *);
int cuGetErrorString(int, const char **);

static int finish(int result, const char *action, int pid)
{
	const char *sentence = NULL;
	if (!result)
		return 0;
	cuGetErrorString(result, &sentence);
	fprintf(stderr, "Could not %s on process ID %d: \"%s\"\n", action, pid, sentence ? sentence : "?");
	return 1;
}

static int hex(const char *text, unsigned char *bytes)
{
	int digits = 0;
	memset(bytes, 0, 16);
	for (text += strlen("GPU-"); digits < 32 && *text; text++) {
		char digit[2] = { *text, 0 };
		if (*text == '-')
			continue;
		bytes[digits / 2] |= (unsigned char)(strtol(digit, NULL, 16) << (digits % 2 ? 0 : 4));
		digits++;
	}
	return digits == 32;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "get-state", 0, NULL, 's' }, { "get-restore-tid", 0, NULL, 'r' }, { "action", 1, NULL, 'a' },
		{ "pid", 1, NULL, 'p' },       { "timeout", 1, NULL, 't' },	    { "device-map", 1, NULL, 'd' },
		{ NULL, 0, NULL, 0 },
	};
	static const char *states[] = { "running", "locked", "checkpointed", "failed" };
	unsigned char args[64] = { 0 }, pairs[16][32];
	const char *action = "";
	char what = 0, *map = NULL;
	int pid = 0, value = 0, option;
	unsigned timeout = 0, count = 0;
	while ((option = getopt_long(argc, argv, "p:t:d:", options, NULL)) != -1) {
		if (option == 's' || option == 'r')
			what = (char)option;
		else if (option == 'a')
			action = optarg;
		else if (option == 'p')
			pid = atoi(optarg);
		else if (option == 't')
			timeout = (unsigned)atoi(optarg);
		else if (option == 'd')
			map = optarg;
		else
			return 2;
	}
	if (what == 's') {
		if (finish(cuCheckpointProcessGetState(pid, &value), "get state", pid))
			return 1;
		puts(states[value & 3]);
		return 0;
	}
	if (what == 'r') {
		if (finish(cuCheckpointProcessGetRestoreThreadId(pid, &value), "get restore thread", pid))
			return 1;
		printf("%d\n", value);
		return 0;
	}
	if (!strcmp(action, "lock")) {
		memcpy(args, &timeout, sizeof timeout);
		return finish(cuCheckpointProcessLock(pid, args), action, pid);
	}
	if (!strcmp(action, "checkpoint"))
		return finish(cuCheckpointProcessCheckpoint(pid, args), action, pid);
	if (!strcmp(action, "unlock"))
		return finish(cuCheckpointProcessUnlock(pid, args), action, pid);
	if (strcmp(action, "restore"))
		return 2;
	for (char *pair = map ? strtok(map, ",") : NULL; pair && count < 16; pair = strtok(NULL, ","), count++) {
		char *equals = strchr(pair, '=');
		if (!equals || !hex(pair, pairs[count]) || !hex(equals + 1, pairs[count] + 16))
			return 2;
	}
	void *table = count ? pairs : NULL;
	memcpy(args, &table, sizeof table);
	memcpy(args + sizeof table, &count, sizeof count);
	return finish(cuCheckpointProcessRestore(pid, args), action, pid);
}
