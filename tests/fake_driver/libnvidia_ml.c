/* A stand-in for libnvidia-ml.so.1: what glowplug's agent asks of NVML, answered from the script's `gpu` lines. */
#include "fake.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NVML_SUCCESS = 0, NVML_ERROR_INVALID_ARGUMENT = 2, NVML_ERROR_NOT_SUPPORTED = 3, NVML_ERROR_INSUFFICIENT_SIZE = 7 };
enum { INDEX = 1, UUID, MINOR, NAME, TOTAL, USED, CAPABILITY, MIG, GPU_WORDS };

struct process {
	unsigned pid;
	unsigned long long used;
	unsigned gpu_instance, compute_instance;
};

static int scripted(const char *function)
{
	char line[8][256];
	return script_find("nvml-fail", function, NULL, line, 8) ? atoi(line[2]) : NVML_SUCCESS;
}

/* A device handle is the number of its `gpu` line plus one. */
static int gpu(void *device, char out[][256])
{
	return script_nth("gpu", (int)(size_t)device - 1, out, GPU_WORDS) == GPU_WORDS ? NVML_SUCCESS :
											NVML_ERROR_INVALID_ARGUMENT;
}

static int text(void *device, int word, char *out, unsigned size)
{
	char line[GPU_WORDS][256];
	int result = gpu(device, line);
	if (!result)
		snprintf(out, size, "%s", line[word]);
	return result;
}

const char *nvmlErrorString(int result)
{
	return result == NVML_ERROR_NOT_SUPPORTED ? "Not Supported" : result == 9 ? "Driver Not Loaded" : "Unknown Error";
}

int nvmlInitWithFlags(unsigned flags)
{
	(void)flags;
	return scripted("nvmlInitWithFlags");
}

int nvmlShutdown(void)
{
	return NVML_SUCCESS;
}

int nvmlSystemGetDriverVersion(char *out, unsigned size)
{
	char line[8][256];
	if (!script_find("driver", NULL, NULL, line, 8))
		return NVML_ERROR_NOT_SUPPORTED;
	snprintf(out, size, "%s", line[1]);
	return scripted("nvmlSystemGetDriverVersion");
}

int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
	char line[8][256];
	*version = script_find("cuda", NULL, NULL, line, 8) ? atoi(line[1]) : 13000;
	return NVML_SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
	char line[GPU_WORDS][256];
	*count = 0;
	while (script_nth("gpu", (int)*count, line, GPU_WORDS))
		++*count;
	return scripted("nvmlDeviceGetCount_v2");
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
	*device = (void *)(size_t)(index + 1);
	return scripted("nvmlDeviceGetHandleByIndex_v2");
}

int nvmlDeviceGetUUID(void *device, char *out, unsigned size)
{
	return text(device, UUID, out, size);
}

int nvmlDeviceGetName(void *device, char *out, unsigned size)
{
	return text(device, NAME, out, size);
}

int nvmlDeviceGetMinorNumber(void *device, unsigned *minor)
{
	char line[GPU_WORDS][256];
	int result = gpu(device, line);
	if (!result)
		*minor = (unsigned)atoi(line[MINOR]);
	return result;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long memory[3])
{
	char line[GPU_WORDS][256];
	int result = gpu(device, line);
	if (result)
		return result;
	memory[0] = strtoull(line[TOTAL], NULL, 10);
	memory[2] = strtoull(line[USED], NULL, 10);
	memory[1] = memory[0] - memory[2];
	return scripted("nvmlDeviceGetMemoryInfo");
}

int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor)
{
	char line[GPU_WORDS][256];
	int result = gpu(device, line);
	return result ? result : sscanf(line[CAPABILITY], "%d.%d", major, minor) == 2 ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *pending)
{
	char line[GPU_WORDS][256];
	int result = gpu(device, line);
	if (result)
		return result;
	if (!strcmp(line[MIG], "n/a"))
		return NVML_ERROR_NOT_SUPPORTED;
	*now = *pending = !strcmp(line[MIG], "mig");
	return scripted("nvmlDeviceGetMigMode");
}

static int list(const char *keyword, void *device, unsigned *count, struct process *out)
{
	char line[GPU_WORDS][256], index[256];
	unsigned found = 0, capacity = *count;
	int result = gpu(device, line);
	if (result)
		return result;
	snprintf(index, sizeof index, "%s", line[INDEX]);
	for (int n = 0; script_nth(keyword, n, line, GPU_WORDS); n++)
		if (!strcmp(line[1], index)) {
			if (found < capacity) {
				memset(&out[found], 0, sizeof out[found]);
				out[found].pid = (unsigned)atoi(line[2]);
				out[found].used = strcmp(line[3], "n/a") ? strtoull(line[3], NULL, 10) : ~0ULL;
			}
			found++;
		}
	*count = found;
	return found > capacity ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, struct process *out)
{
	int result = scripted("nvmlDeviceGetComputeRunningProcesses_v3");
	return result ? result : list("usage", device, count, out);
}

int nvmlDeviceGetMPSComputeRunningProcesses_v3(void *device, unsigned *count, struct process *out)
{
	return list("mps", device, count, out);
}
