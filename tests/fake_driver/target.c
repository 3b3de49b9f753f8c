/* A process for tests of the CUDA package: CUDA used through the fake libcuda, and busy threads that count.
 *
 * target SHARED [THREADS]: maps the file SHARED and counts up one uint64 per thread in it. Prints `ready`. */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int cuInit(unsigned);

static void *count(void *counter)
{
	struct timespec pause = { 0, 200000 };
	for (;;) {
		++*(volatile uint64_t *)counter;
		nanosleep(&pause, NULL);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int threads = argc > 2 ? atoi(argv[2]) : 1;
	int fd = open(argv[1], O_RDWR);
	pthread_t thread;
	uint64_t *counters = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (argc < 2 || counters == MAP_FAILED || cuInit(0))
		return 1;
	close(fd);
	for (int i = 1; i < threads; i++)
		if (pthread_create(&thread, NULL, count, counters + i))
			return 1;
	puts("ready");
	fflush(stdout);
	count(counters);
	return 0;
}
