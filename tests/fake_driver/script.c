/* Reads the script and writes the log of calls. The script is read again at each call, so a test can change it. */
#include "fake.h"
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int split(char *line, char out[][256], int most)
{
	int count = 0;
	while (*line && count < most) {
		int length = 0;
		while (*line == ' ' || *line == '\t' || *line == '\n')
			line++;
		if (!*line)
			break;
		char end = *line == '"' ? *line++ : 0;
		while (*line && (end ? *line != end : *line != ' ' && *line != '\t' && *line != '\n') && length < 255)
			out[count][length++] = *line++;
		if (end && *line)
			line++;
		out[count++][length] = 0;
	}
	return count;
}

static int equal(const char *scripted, const char *actual)
{
	return !actual || !strcmp(scripted, "any") || !strcmp(scripted, actual);
}

static int search(const char *keyword, int nth, const char *first, const char *second, char out[][256], int most)
{
	const char *path = getenv(SCRIPT_VARIABLE);
	FILE *script = path ? fopen(path, "re") : NULL;
	char line[1024];
	int words = 0;
	if (!script)
		return 0;
	while (fgets(line, sizeof line, script)) {
		words = split(line, out, most);
		if (words && !strcmp(out[0], keyword) && (!first || (words > 1 && equal(out[1], first))) &&
		    (!second || (words > 2 && equal(out[2], second))) && nth-- == 0)
			break;
		words = 0;
	}
	fclose(script);
	return words;
}

int script_find(const char *keyword, const char *first, const char *second, char out[][256], int most)
{
	return search(keyword, 0, first, second, out, most);
}

int script_nth(const char *keyword, int nth, char out[][256], int most)
{
	return search(keyword, nth, NULL, NULL, out, most);
}

void log_call(const char *format, ...)
{
	const char *script = getenv(SCRIPT_VARIABLE);
	char path[4096], line[1024];
	va_list arguments;
	if (!script)
		return;
	snprintf(path, sizeof path, "%s.calls", script);
	va_start(arguments, format);
	int length = vsnprintf(line, sizeof line - 1, format, arguments);
	va_end(arguments);
	line[length++] = '\n';
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0)
		return;
	if (write(fd, line, (size_t)length) < 0)
		abort();
	close(fd);
}
